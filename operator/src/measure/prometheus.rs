//! The questions to a Prometheus server.
//!
//! All, good and bad requests are asked for separately: a label that is called otherwise then shows as sums that do not
//! add up, not as no failure. All questions are about one moment of the server's own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::reply::{self, Series};
use super::{Flaw, MeasureError, Target, beginning, causes, read_bounded};
use crate::analysis::{Bucket, Counts, Sample};
use crate::api::rollout::RouteClass;

const REQUESTS: &str = "berth_registry_http_class_requests_total";
const SECONDS: &str = "berth_registry_http_class_duration_seconds_bucket";
const PANICS: &str = "berth_registry_http_panics_total";
const INFO: &str = "berth_registry_info";
/// The largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// The longest time between two scrapes that is believed.
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);

/// Where a Prometheus server is, and how it is asked.
#[derive(Clone)]
pub struct PrometheusAccess {
    /// Without `/api/v1`.
    pub url: String,
    /// The bearer token.
    pub token: Option<String>,
    /// Certificate authorities to trust instead of the public ones, in PEM.
    pub ca: Option<Vec<u8>>,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl std::fmt::Debug for PrometheusAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrometheusAccess")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A Prometheus server.
#[derive(Clone, Debug)]
pub struct Prometheus {
    http: reqwest::Client,
    base: String,
}

impl Prometheus {
    /// A client that follows no redirect: a login form is no measurement.
    ///
    /// # Errors
    /// When the certificate authority or the token cannot be used.
    pub fn new(access: &PrometheusAccess) -> Result<Self, MeasureError> {
        let mut headers = reqwest::header::HeaderMap::new();
        if let Some(token) = &access.token {
            let value = format!("Bearer {}", token.trim());
            let mut value = reqwest::header::HeaderValue::from_str(&value).map_err(|_invalid| MeasureError::Token)?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder()
            .timeout(access.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .default_headers(headers);
        if let Some(pem) = &access.ca {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(MeasureError::Settings)?;
            builder = builder.tls_certs_only(authorities);
        }
        Ok(Self {
            http: builder.build().map_err(MeasureError::Settings)?,
            base: access.url.trim_end_matches('/').to_owned(),
        })
    }

    /// Counts the requests to the pods of `target`.
    ///
    /// # Errors
    /// When one of the questions is not answered, or not with what can be understood whole.
    pub async fn sample(&self, target: &Target) -> Result<Sample, MeasureError> {
        let time = self.time().await?;
        let questions = Questions::new(target);
        let ask = async |query: String, labels: &[&str]| self.vector(&query, labels, time).await;
        let (total, good, bad, codes, latency, ages, up, seen, panics) = futures::try_join!(
            ask(questions.requests("class", ""), &["class"]),
            ask(questions.requests("class", ",code!~\"5..\""), &["class"]),
            ask(questions.requests("class", ",code=~\"5..\""), &["class"]),
            ask(
                questions.requests("class, code", ",code=~\"401|403|404\""),
                &["class", "code"]
            ),
            ask(questions.latency(), &["class", "le"]),
            ask(questions.ages(), &["replica"]),
            ask(questions.up(), &["replica"]),
            ask(questions.scrapes(), &["replica"]),
            ask(questions.panics(), &[]),
        )?;
        let query = questions.requests("class", "");
        let flawed = |flaw| MeasureError::Flawed {
            query: query.clone(),
            flaw,
        };
        let classes = classes(&total, &good, &bad, &codes, &latency).map_err(flawed)?;
        let targets = heard_of(target, &ages, &up);
        Ok(Sample {
            age: targets.1,
            interval: interval(questions.window, &seen),
            targets_seen: targets.0,
            targets_expected: u32::try_from(target.pods.len()).unwrap_or(u32::MAX),
            // Requests to pods that are there, without a count of panics: the counter is missing, and nothing must pass.
            panics: match panics.values().next() {
                Some(count) => *count,
                None if classes.is_empty() || targets.0 == 0 => 0.0,
                None => f64::NAN,
            },
            classes,
            query,
        })
    }

    async fn time(&self) -> Result<f64, MeasureError> {
        let body = self.ask("time()", None).await?;
        reply::scalar(&body).map_err(|flaw| MeasureError::Flawed {
            query: "time()".to_owned(),
            flaw,
        })
    }

    async fn vector(&self, query: &str, labels: &[&str], time: f64) -> Result<Series, MeasureError> {
        let body = self.ask(query, Some(time)).await?;
        reply::vector(&body, labels, time).map_err(|flaw| MeasureError::Flawed {
            query: query.to_owned(),
            flaw,
        })
    }

    async fn ask(&self, query: &str, time: Option<f64>) -> Result<Vec<u8>, MeasureError> {
        let url = format!("{}/api/v1/query", self.base);
        let mut request = self.http.get(&url).query(&[("query", query)]);
        if let Some(time) = time {
            request = request.query(&[("time", format!("{time:.3}"))]);
        }
        let answer = request.send().await.map_err(|error| MeasureError::Unreachable {
            url: url.clone(),
            why: causes(&error.without_url()),
        })?;
        let status = answer.status().as_u16();
        let body = read_bounded(&url, answer, ANSWER_BYTES).await?;
        if status == 200 {
            return Ok(body);
        }
        let body = beginning(&String::from_utf8_lossy(&body));
        Err(MeasureError::Status { url, status, body })
    }
}

/// The questions about one target.
struct Questions {
    selector: String,
    window: Duration,
}

impl Questions {
    fn new(target: &Target) -> Self {
        let mut selector = format!("registry={},stage={}", quoted(&target.registry), quoted(target.stage));
        if let Some(version) = &target.version {
            selector = format!("{selector},version={}", quoted(version));
        }
        Self {
            selector,
            window: Duration::from_secs(target.window.as_secs().max(1)),
        }
    }

    fn requests(&self, by: &str, also: &str) -> String {
        let (selector, window) = (&self.selector, self.window.as_secs());
        format!("sum by ({by}) (increase({REQUESTS}{{{selector}{also}}}[{window}s]))")
    }

    fn latency(&self) -> String {
        let (selector, window) = (&self.selector, self.window.as_secs());
        format!("sum by (class, le) (increase({SECONDS}{{{selector},code!~\"5..\"}}[{window}s]))")
    }

    /// Instant queries would show what is five minutes old as if it were new.
    fn ages(&self) -> String {
        format!("max by (replica) (time() - timestamp({INFO}{{{}}}))", self.selector)
    }

    fn up(&self) -> String {
        format!(
            "max by (replica) (up * on (job, instance) group_left (replica) {INFO}{{{}}})",
            self.selector
        )
    }

    fn scrapes(&self) -> String {
        let (selector, window) = (&self.selector, self.window.as_secs());
        format!("max by (replica) (count_over_time({INFO}{{{selector}}}[{window}s]))")
    }

    fn panics(&self) -> String {
        let (selector, window) = (&self.selector, self.window.as_secs());
        format!(
            "sum(increase({PANICS}[{window}s]) * on (job, instance) group_left () max by (job, instance) ({INFO}{{{selector}}}))"
        )
    }
}

fn quoted(value: &str) -> String {
    format!(
        "\"{}\"",
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
    )
}

fn classes(
    total: &Series,
    good: &Series,
    bad: &Series,
    codes: &Series,
    latency: &Series,
) -> Result<BTreeMap<RouteClass, Counts>, Flaw> {
    let names: BTreeSet<&String> = [total, good, bad, codes, latency]
        .iter()
        .flat_map(|series| series.keys().filter_map(|key| key.first()))
        .collect();
    let mut classes = BTreeMap::new();
    for name in names {
        let class = RouteClass::ALL.into_iter().find(|class| class.as_str() == name);
        let class = class.ok_or_else(|| Flaw::Labels(format!("class={name:?}")))?;
        let one = |series: &Series| series.get(std::slice::from_ref(name)).copied().unwrap_or(0.0);
        let code = |code: &str| {
            codes
                .get([name.clone(), code.to_owned()].as_slice())
                .copied()
                .unwrap_or(0.0)
        };
        let counts = Counts {
            total: one(total),
            good: one(good),
            bad: one(bad),
            unauthorized: code("401"),
            forbidden: code("403"),
            missing: code("404"),
            latency: buckets(latency, name)?,
        };
        classes.insert(class, counts);
    }
    Ok(classes)
}

/// The buckets of one class, in rising order. `1` and `1.0` are the same bound, and one server may know both.
fn buckets(latency: &Series, class: &str) -> Result<Vec<Bucket>, Flaw> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for (key, count) in latency.iter().filter(|(key, _)| key[0] == class) {
        let le = match key[1].as_str() {
            "+Inf" => f64::INFINITY,
            text => text
                .parse()
                .map_err(|_not_a_number| Flaw::Labels(format!("le={text:?}")))?,
        };
        match buckets.iter_mut().find(|bucket| bucket.le.to_bits() == le.to_bits()) {
            Some(bucket) => bucket.count += count,
            None => buckets.push(Bucket { le, count: *count }),
        }
    }
    buckets.sort_by(|left, right| left.le.total_cmp(&right.le));
    Ok(buckets)
}

/// How many of the pods the server hears of, and the age of what it heard from the one that it heard of least recently.
fn heard_of(target: &Target, ages: &Series, up: &Series) -> (u32, Option<Duration>) {
    let mut seen = 0;
    let mut oldest: Option<Duration> = None;
    for pod in &target.pods {
        let key = [pod.name.clone()];
        let is_up = up.get(key.as_slice()).is_some_and(|up| *up >= 1.0);
        if let Some(age) = ages.get(key.as_slice()).filter(|_| is_up) {
            seen += 1;
            oldest = oldest.max(Some(Duration::from_secs_f64(age.min(1e9))));
        }
    }
    (seen, oldest)
}

/// How often the server scrapes, from how often it did.
fn interval(window: Duration, scrapes: &Series) -> Duration {
    let most = scrapes.values().copied().fold(1.0, f64::max);
    Duration::from_secs_f64(window.as_secs_f64() / most).min(LONGEST_INTERVAL)
}
