//! Answers of the query API, read strictly; pure.
//!
//! What a lenient reader takes for an answer (the last of several series, a partial sum, a page of a login form) is how
//! a bad version passes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Flaw, beginning};

/// How far the time of an answer may be from the time that was asked for, in seconds.
const TIME: f64 = 1.0;

/// Series by the values of the labels that were asked for, in their order.
pub type Series = BTreeMap<Vec<String>, f64>;

#[derive(Deserialize)]
struct Reply {
    status: String,
    #[serde(default)]
    data: Option<Answered>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    result_type: String,
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Element {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// Reads an instant vector that has exactly these labels, evaluated at `time`.
///
/// # Errors
/// When the answer is anything else.
pub fn vector(body: &[u8], labels: &[&str], time: f64) -> Result<Series, Flaw> {
    let result = answered(body, "vector")?;
    let elements: Vec<Element> = read(result)?;
    let mut series = Series::new();
    for element in elements {
        let key: Option<Vec<String>> = labels.iter().map(|label| element.metric.get(*label).cloned()).collect();
        let key = key.filter(|key| key.len() == element.metric.len());
        let key = key.ok_or_else(|| Flaw::Labels(format!("{:?}", element.metric)))?;
        if (element.value.0 - time).abs() > TIME {
            return Err(Flaw::Time);
        }
        let told = format!("{key:?}");
        if series.insert(key, count(&element.value.1)?).is_some() {
            return Err(Flaw::Several(told));
        }
    }
    Ok(series)
}

/// Reads a scalar: the server's own time.
///
/// # Errors
/// When the answer is anything else.
pub fn scalar(body: &[u8]) -> Result<f64, Flaw> {
    let value: (f64, String) = read(answered(body, "scalar")?)?;
    count(&value.1)
}

fn answered(body: &[u8], wanted: &str) -> Result<serde_json::Value, Flaw> {
    let reply: Reply = serde_json::from_slice(body).map_err(|error| {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
        Flaw::NotAnAnswer(format!("{error}; it begins with `{}`", beginning(&text)))
    })?;
    if reply.status != "success" {
        return Err(Flaw::Refused(beginning(&reply.error.unwrap_or(reply.status))));
    }
    if !reply.warnings.is_empty() {
        return Err(Flaw::Partial(beginning(&reply.warnings.join("; "))));
    }
    let data = reply.data.ok_or_else(|| Flaw::NotAnAnswer("without data".to_owned()))?;
    if data.result_type != wanted {
        return Err(Flaw::Type(beginning(&data.result_type)));
    }
    Ok(data.result)
}

fn read<T: for<'de> Deserialize<'de>>(result: serde_json::Value) -> Result<T, Flaw> {
    serde_json::from_value(result).map_err(|error| Flaw::NotAnAnswer(error.to_string()))
}

fn count(text: &str) -> Result<f64, Flaw> {
    let number: Option<f64> = text.parse().ok();
    let number = number.filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| Flaw::NotACount(beginning(text)))
}
