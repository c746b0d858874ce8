//! The sections `gc` and `deletion` of the configuration file; pure.

use std::time::Duration;

use serde_json::{Value, json};

use super::storage::given;
use crate::api::Registry;
use crate::api::collection::{Budget, Collection, Delays, Deletion, Untagged};
use crate::api::span::Span;

/// A year: the longest time that any of these takes.
const YEAR: Duration = Duration::from_hours(365 * 24);

pub(super) fn gc(gc: &Collection) -> Value {
    given([
        ("enabled", gc.enabled.map(|enabled| json!(enabled))),
        ("interval", span(gc.interval.as_ref())),
        ("batch", gc.batch.map(|batch| json!(batch))),
        ("untagged", gc.untagged.map(untagged)),
        ("delays", gc.delays.as_ref().map(delays)),
        ("lease", span(gc.lease.as_ref())),
        ("quarantine", span(gc.quarantine.as_ref())),
        ("budget", gc.budget.as_ref().map(budget)),
    ])
}

fn untagged(untagged: Untagged) -> Value {
    json!(match untagged {
        Untagged::Collect => "collect",
        Untagged::Keep => "keep",
    })
}

fn delays(delays: &Delays) -> Value {
    given([
        ("default", span(delays.default.as_ref())),
        ("blob_upload", span(delays.blob_upload.as_ref())),
        ("manifest_upload", span(delays.manifest_upload.as_ref())),
        ("tag_switch", span(delays.tag_switch.as_ref())),
        ("tag_delete", span(delays.tag_delete.as_ref())),
        ("manifest_delete", span(delays.manifest_delete.as_ref())),
        ("manifest_list_delete", span(delays.manifest_list_delete.as_ref())),
        ("blob_unlink", span(delays.blob_unlink.as_ref())),
    ])
}

fn budget(budget: &Budget) -> Value {
    given([
        (
            "objects_per_hour",
            budget.objects_per_hour.map(|objects| json!(objects)),
        ),
        (
            "bytes_per_hour",
            budget.bytes_per_hour.as_ref().map(|bytes| json!(bytes)),
        ),
    ])
}

pub(super) fn deletion(deletion: &Deletion) -> Value {
    given([
        ("retention", span(deletion.retention.as_ref())),
        ("tags", deletion.tags.map(|may| json!(may))),
        ("manifests", deletion.manifests.map(|may| json!(may))),
        ("blobs", deletion.blobs.map(|may| json!(may))),
    ])
}

fn span(span: Option<&Span>) -> Option<Value> {
    span.map(|span| json!(span.0))
}

/// Lengths of time outside what the registry takes: it would not start.
pub(super) fn problems(registry: &Registry) -> Vec<String> {
    let gc = registry.spec.gc.clone().unwrap_or_default();
    let delays = gc.delays.unwrap_or_default();
    let deletion = registry.spec.deletion.clone().unwrap_or_default();
    let redirect = registry
        .spec
        .storage
        .as_ref()
        .and_then(|storage| storage.redirect.clone());
    let (none, hour, day) = (Duration::ZERO, Duration::from_hours(1), Duration::from_hours(24));
    let lifetime = redirect.and_then(|redirect| redirect.lifetime);
    let bounded = [
        ("gc.interval", gc.interval, Duration::from_millis(100), hour),
        ("gc.lease", gc.lease, Duration::from_secs(1), day),
        ("gc.quarantine", gc.quarantine, none, YEAR),
        ("gc.delays.default", delays.default, none, YEAR),
        ("gc.delays.blobUpload", delays.blob_upload, none, YEAR),
        ("gc.delays.manifestUpload", delays.manifest_upload, none, YEAR),
        ("gc.delays.tagSwitch", delays.tag_switch, none, YEAR),
        ("gc.delays.tagDelete", delays.tag_delete, none, YEAR),
        ("gc.delays.manifestDelete", delays.manifest_delete, none, YEAR),
        ("gc.delays.manifestListDelete", delays.manifest_list_delete, none, YEAR),
        ("gc.delays.blobUnlink", delays.blob_unlink, none, YEAR),
        ("deletion.retention", deletion.retention, none, YEAR),
        ("storage.redirect.lifetime", lifetime, Duration::from_mins(1), 12 * hour),
    ];
    let outside = bounded.into_iter().filter_map(|(field, told, least, most)| {
        let told = told?;
        let length = told.duration();
        (length < least || length > most).then(|| {
            format!(
                "spec.{field} is {}: it takes from {} to {}",
                told.0,
                humantime::format_duration(least),
                days(most)
            )
        })
    });
    outside.collect()
}

/// `365d` rather than humantime's `1year`, which leaves out the leap day.
fn days(length: Duration) -> String {
    if length == YEAR {
        "365d".to_owned()
    } else {
        humantime::format_duration(length).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures;

    #[test]
    fn what_is_absent_is_left_to_the_registry() {
        let told = gc(&serde_json::from_value(json!({
            "untagged": "Keep", "delays": {"tagDelete": "7d"}, "budget": {"bytesPerHour": "500GiB"},
        }))
        .unwrap());

        assert_eq!(
            told,
            json!({"untagged": "keep", "delays": {"tag_delete": "7d"}, "budget": {"bytes_per_hour": "500GiB"}})
        );
    }

    #[test]
    fn a_length_of_time_that_the_registry_would_not_start_with_is_refused_with_its_bounds() {
        let registry = fixtures::registry(&json!({"gc": {"interval": "2h"}, "deletion": {"retention": "400d"}}));

        assert_eq!(
            problems(&registry),
            [
                "spec.gc.interval is 2h: it takes from 100ms to 1h",
                "spec.deletion.retention is 400d: it takes from 0s to 365d"
            ]
        );
    }
}
