//! Measures by class of route: what a canary is judged by.
//!
//! Every counter exists from the start, at zero: a series that is born with its first failure hides that failure from
//! whoever asks how much it grew. And a request only finds its counters by two numbers.

use super::endpoint::{Deleted, Endpoint};
use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Bounds that objectives may name, in seconds.
const SECONDS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0,
];
/// Those codes that say something by themselves, and classes of the others.
const CODES: [&str; 8] = ["2xx", "3xx", "401", "403", "404", "429", "4xx", "5xx"];
/// Of times nobody asks more than whether it was a failure.
const OUTCOMES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// A class of route, and whether it reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    ManifestRead,
    ManifestWrite,
    BlobRead,
    BlobUploadRead,
    BlobUpload,
    AdminRead,
    Admin,
}

impl Class {
    const ALL: [Self; 7] = [
        Self::ManifestRead,
        Self::ManifestWrite,
        Self::BlobRead,
        Self::BlobUploadRead,
        Self::BlobUpload,
        Self::AdminRead,
        Self::Admin,
    ];

    fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::ManifestRead => ("manifest_read", "read"),
            Self::ManifestWrite => ("manifest_write", "write"),
            Self::BlobRead => ("blob_read", "read"),
            Self::BlobUploadRead => ("blob_upload", "read"),
            Self::BlobUpload => ("blob_upload", "write"),
            Self::AdminRead => ("admin", "read"),
            Self::Admin => ("admin", "write"),
        }
    }
}

/// The word for metrics and logs, and the class. What is no endpoint is `none`.
pub(super) fn kind(endpoint: Option<&Endpoint>, method: &Method) -> (&'static str, Class) {
    let Some(endpoint) = endpoint else {
        let reads = method == Method::GET || method == Method::HEAD;
        return ("none", if reads { Class::AdminRead } else { Class::Admin });
    };
    let class = match endpoint {
        Endpoint::GetManifest(..)
        | Endpoint::HeadManifest(..)
        | Endpoint::Tags(..)
        | Endpoint::Referrers(..)
        | Endpoint::Catalog => Class::ManifestRead,
        Endpoint::PutManifest(..) | Endpoint::Delete(_, Deleted::Manifest(_)) => Class::ManifestWrite,
        Endpoint::GetBlob(..) | Endpoint::HeadBlob(..) => Class::BlobRead,
        Endpoint::StartUpload(..)
        | Endpoint::AppendUpload(..)
        | Endpoint::FinishUpload(..)
        | Endpoint::CancelUpload(..) => Class::BlobUpload,
        Endpoint::UploadStatus(..) => Class::BlobUploadRead,
        Endpoint::Ping => Class::AdminRead,
        Endpoint::Delete(_, Deleted::Blob(_)) => Class::Admin,
    };
    (endpoint.name(), class)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    class: &'static str,
    method: &'static str,
    code: &'static str,
}

/// The counters of every class, in the order of `Class`.
#[derive(Debug, Clone)]
pub(super) struct ClassMetrics(Arc<[OfClass]>);

#[derive(Debug)]
struct OfClass {
    requests: [Counter; CODES.len()],
    seconds: [Histogram; OUTCOMES.len()],
}

impl ClassMetrics {
    pub(super) fn register(registry: &mut Registry, subject: &[(&'static str, &str)]) -> Self {
        let requests = Family::<Labels, Counter>::default();
        let seconds = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(SECONDS));
        let classes = Class::ALL.map(|it| {
            let (class, method) = it.labels();
            let labels = |code| Labels { class, method, code };
            OfClass {
                requests: CODES.map(|code| requests.get_or_create(&labels(code)).clone()),
                seconds: OUTCOMES.map(|code| seconds.get_or_create(&labels(code)).clone()),
            }
        });
        let owned = |&(name, value): &(&'static str, &str)| (Cow::Borrowed(name), Cow::Owned(value.to_owned()));
        let registry = registry.sub_registry_with_labels(subject.iter().map(owned));
        registry.register(
            "class_requests",
            "Requests answered, by class of route, whether they read or write, and status code",
            requests,
        );
        registry.register_with_unit(
            "class_duration",
            "Time until the head of the answer, without the time in which the client was waited for, by class of route",
            Unit::Seconds,
            seconds,
        );
        Self(Arc::new(classes))
    }

    /// Counts a request that the server itself needed `took` for.
    pub(super) fn answered(&self, class: Class, code: u16, took: Duration) {
        let (code, outcome) = places(code);
        let class = &self.0[class as usize];
        class.requests[code].inc();
        class.seconds[outcome].observe(took.as_secs_f64());
    }
}

/// Where a status code is in `CODES` and in `OUTCOMES`.
fn places(code: u16) -> (usize, usize) {
    match code {
        0..300 => (0, 0),
        300..400 => (1, 1),
        401 => (2, 2),
        403 => (3, 2),
        404 => (4, 2),
        429 => (5, 2),
        400..500 => (6, 2),
        500.. => (7, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    fn shown(answers: &[(Class, u16)]) -> String {
        let mut registry = Registry::default();
        let metrics = ClassMetrics::register(&mut registry, &[("stage", "canary")]);
        for &(class, code) in answers {
            metrics.answered(class, code, Duration::from_millis(30));
        }
        let mut shown = String::new();
        encode(&mut shown, &registry).unwrap();
        shown
    }

    #[test]
    fn every_series_is_there_before_the_first_request() {
        let shown = shown(&[]);

        for class in Class::ALL {
            let (class, method) = class.labels();
            for code in CODES {
                let series = format!("{{stage=\"canary\",class=\"{class}\",method=\"{method}\",code=\"{code}\"}} 0\n");
                assert!(
                    shown.contains(&format!("class_requests_total{series}")),
                    "{series}{shown}"
                );
            }
        }
    }

    #[test]
    fn each_code_is_counted_where_it_belongs() {
        for (code, label, outcome) in [
            (200, "2xx", "2xx"),
            (202, "2xx", "2xx"),
            (307, "3xx", "3xx"),
            (401, "401", "4xx"),
            (403, "403", "4xx"),
            (404, "404", "4xx"),
            (416, "4xx", "4xx"),
            (429, "429", "4xx"),
            (500, "5xx", "5xx"),
            (503, "5xx", "5xx"),
        ] {
            let shown = shown(&[(Class::BlobRead, code)]);
            let labels = "stage=\"canary\",class=\"blob_read\",method=\"read\",code=";

            assert!(
                shown.contains(&format!("class_requests_total{{{labels}\"{label}\"}} 1\n")),
                "{code}"
            );
            let count = format!("class_duration_seconds_count{{{labels}\"{outcome}\"}} 1\n");
            assert!(shown.contains(&count), "{code}");
        }
    }

    #[test]
    fn a_class_is_found_at_its_own_place() {
        for (place, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
        }
    }
}
