//! Passwords inside values that are shown.

use url::Url;

const MASK: &str = "***";

/// True for a text that may carry a password, however broken it is: better not repeated.
pub(super) fn may_hold_one(text: &str) -> bool {
    text.contains('@') || text.to_lowercase().contains("password=")
}

/// The text, and where it is a URL with a password, the URL without it.
pub(super) fn masked(text: &str) -> String {
    if !may_hold_one(text) {
        return text.to_owned();
    }
    match Url::parse(text) {
        Ok(url) => masked_url(url).unwrap_or_else(|| text.to_owned()),
        Err(_) => text.to_owned(),
    }
}

/// `None` when there is nothing to mask.
fn masked_url(mut url: Url) -> Option<String> {
    let before_the_host = url.password().is_some();
    // Only a URL without a host refuses a password.
    if before_the_host && url.set_password(Some(MASK)).is_err() {
        return Some(MASK.to_owned());
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let among_the_parameters = pairs.iter().any(|(name, _)| is_password(name));
    if among_the_parameters {
        let shown = |(name, value): (String, String)| {
            let value = if is_password(&name) { MASK.to_owned() } else { value };
            (name, value)
        };
        url.query_pairs_mut().clear().extend_pairs(pairs.into_iter().map(shown));
    }
    (before_the_host || among_the_parameters).then(|| url.to_string())
}

fn is_password(parameter: &str) -> bool {
    parameter.to_lowercase().ends_with("password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_before_the_host_is_masked() {
        assert_eq!(
            masked("postgres://berth:hunter2@db:5432/berth"),
            "postgres://berth:***@db:5432/berth"
        );
    }

    #[test]
    fn a_password_among_the_parameters_is_masked() {
        assert_eq!(
            masked("postgres://db/berth?user=berth&password=hunter2&sslmode=require"),
            "postgres://db/berth?user=berth&password=***&sslmode=require"
        );
        assert!(!masked("postgres://db/berth?Password=hunter2").contains("hunter2"));
    }

    #[test]
    fn what_holds_no_password_is_shown_as_it_was_written() {
        for text in [
            "postgres://db/berth?sslmode=require",
            "postgres://berth@db/berth",
            "sqlite:/data/a@b/berth.sqlite3",
            "info,berth_registry=debug",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
