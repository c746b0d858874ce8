//! Settings gathered from their sources, each checked for its kind.

use super::document::{self, Node, Shape};
use super::problem::Problem;
use super::secrets;
use super::setting::{Kind, Setting};
use super::settings::{self, SETTINGS};
use super::{Sources, environment_name};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// A value and where it came from.
#[derive(Debug, Clone)]
struct Given {
    text: String,
    place: String,
}

/// Every setting that was given, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    given: BTreeMap<&'static str, Given>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// Variables of the test suite and of the demo, and those that Kubernetes makes for a Service called `berth`.
const NOT_SETTINGS: &[&str] = &["BERTH_CACHE", "BERTH_TEST_", "BERTH_SERVICE_", "BERTH_PORT"];

impl Values {
    pub(super) fn gather(sources: &Sources) -> Self {
        let mut values = Self::default();
        if let Some((path, text)) = &sources.file {
            values.take_file(path, text);
        }
        for (name, value) in &sources.environment {
            values.take_variable(name, value);
        }
        for (path, flag, value) in &sources.flags {
            if let Some(setting) = settings::find(path) {
                values.take(setting, value.clone(), (*flag).to_owned());
            }
        }
        values
    }

    fn take_file(&mut self, file: &Path, text: &str) {
        let file = file.display().to_string();
        match document::parse(text) {
            Ok(root) => self.take_node(&file, "", &root),
            Err((line, message)) => {
                let place = line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"));
                self.problem(place, "", format!("is not YAML that can be read: {message}"));
            }
        }
    }

    fn take_node(&mut self, file: &str, path: &str, node: &Node) {
        let place = format!("{file}:{}", node.line);
        match (&node.shape, settings::find(path)) {
            (Shape::Map(entries), None) => {
                for (key, below) in entries {
                    self.take_key(file, path, key, below);
                }
            }
            (Shape::Empty, _) => {}
            (Shape::Scalar(text), Some(setting)) => self.take(setting, text.clone(), place),
            (Shape::List | Shape::Map(_), Some(_)) => self.problem(place, path, "wants one value".to_owned()),
            (Shape::List | Shape::Scalar(_), None) => {
                let keys = settings::keys_below(path).join(", ");
                self.problem(place, path, format!("wants keys below it: {keys}"));
            }
        }
    }

    fn take_key(&mut self, file: &str, above: &str, key: &str, node: &Node) {
        let path = if above.is_empty() {
            key.to_owned()
        } else {
            format!("{above}.{key}")
        };
        if settings::find(&path).is_some() || settings::is_section(&path) {
            return self.take_node(file, &path, node);
        }
        let known = settings::keys_below(above);
        let remedy = settings::nearest(key, known.iter().copied()).map_or_else(
            || format!("known here: {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        self.problem(format!("{file}:{}", node.line), &path, format!("unknown key; {remedy}"));
    }

    fn take_variable(&mut self, name: &str, value: &str) {
        if !name.starts_with("BERTH_") || NOT_SETTINGS.iter().any(|other| name.starts_with(other)) {
            return;
        }
        if let Some(setting) = SETTINGS.iter().find(|setting| environment_name(setting.path) == name) {
            return self.take(setting, value.to_owned(), name.to_owned());
        }
        let known: Vec<String> = SETTINGS.iter().map(|setting| environment_name(setting.path)).collect();
        let near = settings::nearest(name, known.iter().map(String::as_str));
        let remedy = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let message = format!("no setting has this variable{remedy}");
        self.warnings.push(Problem {
            place: name.to_owned(),
            path: String::new(),
            message,
        });
    }

    fn take(&mut self, setting: &'static Setting, text: String, place: String) {
        match check(setting.kind, &text) {
            Ok(()) => {
                self.given.insert(setting.path, Given { text, place });
            }
            Err(wanted) => {
                let shown = if setting.is_secret() || secrets::may_hold_one(&text) {
                    "the value".to_owned()
                } else {
                    format!("`{text}`")
                };
                self.problem(place, setting.path, format!("{shown} is not {wanted}"));
            }
        }
    }

    fn problem(&mut self, place: String, path: &str, message: String) {
        self.problems.push(Problem {
            place,
            path: path.to_owned(),
            message,
        });
    }

    /// Where a setting was given, if it was.
    pub(super) fn place(&self, path: &str) -> Option<&str> {
        self.given.get(path).map(|given| given.place.as_str())
    }

    /// Where the first setting of a section was given, if one was.
    pub(super) fn section(&self, section: &str) -> Option<&str> {
        let below = |path: &&'static str| path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
        self.given
            .iter()
            .find(|(path, _)| below(path))
            .map(|(_, given)| given.place.as_str())
    }

    /// The value of a setting, or its default.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let default = || settings::find(path).map(|setting| setting.default.to_owned());
        self.given
            .get(path)
            .map(|given| given.text.clone())
            .or_else(default)
            .filter(|text| !text.is_empty())
    }

    pub(super) fn path(&self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    pub(super) fn address(&self, path: &str) -> SocketAddr {
        let text = self.text(path).unwrap_or_default();
        text.parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(super) fn duration(&self, path: &str) -> Duration {
        humantime::parse_duration(&self.text(path).unwrap_or_default()).unwrap_or_default()
    }

    pub(super) fn number(&self, path: &str) -> u32 {
        self.text(path).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    pub(super) fn bytes(&self, path: &str) -> u64 {
        self.text(path).and_then(|text| read_bytes(&text)).unwrap_or_default()
    }

    pub(super) fn networks(&self, path: &str) -> Vec<IpNet> {
        self.text(path)
            .map(|text| text.split(',').filter_map(network).collect())
            .unwrap_or_default()
    }

    /// Bytes; `None` for a setting that is not given and has no default.
    pub(super) fn optional_bytes(&self, path: &str) -> Option<u64> {
        self.text(path).as_deref().and_then(read_bytes)
    }

    pub(super) fn url(&self, path: &str) -> Option<Url> {
        self.text(path).and_then(|text| Url::parse(&text).ok())
    }

    pub(super) fn switch(&self, path: &str) -> bool {
        self.text(path).is_some_and(|text| text == "true")
    }
}

/// `Err` says what would be right.
fn check(kind: Kind, text: &str) -> Result<(), String> {
    let right = match kind {
        Kind::Text | Kind::Secret | Kind::Path => !text.trim().is_empty(),
        Kind::Address => text.parse::<SocketAddr>().is_ok(),
        Kind::Duration(least, most) => is_duration(text, least, most),
        Kind::Number(least, most) => text.parse::<u64>().is_ok_and(|number| (least..=most).contains(&number)),
        Kind::Bytes(least, most) => {
            let (read, bounds) = (read_bytes(text), (read_bytes(least), read_bytes(most)));
            read.is_some() && bounds.0 <= read && read <= bounds.1
        }
        Kind::Switch => matches!(text, "true" | "false"),
        Kind::Word(words) => words.contains(&text),
        Kind::DatabaseUrl => {
            is_url(text, &["postgres", "postgresql"]) || text.strip_prefix("sqlite:").is_some_and(|p| !p.is_empty())
        }
        Kind::HttpUrl => is_url(text, &["http", "https"]),
        Kind::Networks => text.split(',').all(|part| network(part).is_some()),
    };
    if right { Ok(()) } else { Err(wanted(kind)) }
}

/// A range, or the range of one address.
fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn is_duration(text: &str, least: &str, most: &str) -> bool {
    let read = |text| humantime::parse_duration(text).ok();
    read(text).is_some_and(|length| read(least) <= Some(length) && Some(length) <= read(most))
}

/// A number of bytes such as `256MiB`.
pub(crate) fn read_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    Url::parse(text).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host())
}

fn wanted(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Secret | Kind::Path => "a text; leave the key out for the default".to_owned(),
        Kind::Address => "an address and a port such as `0.0.0.0:5000` or `[::]:5000`".to_owned(),
        Kind::Duration(least, most) => format!("a length of time from {least} to {most}; units are s, m, h and d"),
        Kind::Number(least, most) => format!("a whole number from {least} to {most}"),
        Kind::Bytes(least, most) => {
            format!("a number of bytes from {least} to {most}; units are KiB, MiB and GiB")
        }
        Kind::Switch => "`true` or `false`".to_owned(),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        Kind::DatabaseUrl => "`postgres://host:port/name` or `sqlite:<path>`".to_owned(),
        Kind::HttpUrl => "a URL such as `https://s3.example.com`".to_owned(),
        Kind::Networks => "addresses and ranges such as `10.0.0.0/8, fd00::/8, 192.0.2.7`".to_owned(),
    }
}
