//! Who asks a registry: `kubernetes.io/dockerconfigjson`; pure.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::reference::bare;

/// Key of the Secret.
pub const KEY: &str = ".dockerconfigjson";

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct File {
    auths: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// The login for the registry at `host`; the longest entry that names it and begins `repository` counts.
///
/// # Errors
/// A problem with the file, never its content.
pub fn login(file: &[u8], host: &str, repository: &str) -> Result<Option<Login>, String> {
    let file: File =
        serde_json::from_slice(file).map_err(|_content| format!("{KEY} is no JSON of the form {{\"auths\": …}}"))?;
    let mut entries: Vec<(&str, &Entry)> = file
        .auths
        .iter()
        .filter_map(|(key, entry)| Some((path_of(key, host, repository)?, entry)))
        .collect();
    entries.sort_by_key(|(path, _)| path.len());
    entries.last().map(|(_, entry)| of(entry)).transpose()
}

/// The path of an entry, when it is about that repository.
fn path_of<'k>(key: &'k str, host: &str, repository: &str) -> Option<&'k str> {
    let key = key
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let (named, path) = key.split_once('/').unwrap_or((key, ""));
    let is_hub = bare(host).ends_with("docker.io") && bare(named).ends_with("docker.io");
    let path = if is_hub && matches!(path, "v1" | "v2") {
        ""
    } else {
        path
    };
    let begins = path.is_empty() || repository == path || repository.starts_with(&format!("{path}/"));
    ((named == host || is_hub) && begins).then_some(path)
}

fn of(entry: &Entry) -> Result<Login, String> {
    if !entry.username.is_empty() {
        return Ok(Login {
            username: entry.username.clone(),
            password: entry.password.clone(),
        });
    }
    let decoded = STANDARD
        .decode(entry.auth.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    let (username, password) =
        pair.ok_or_else(|| format!("{KEY} has an entry whose auth is not base64 of user:password"))?;
    Ok(Login {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] =
        br#"{"auths": {"r.example.com": {"auth": "YTpi"}, "r.example.com/team": {"username": "t", "password": "p"},
        "https://index.docker.io/v1/": {"auth": "aDp4"}}}"#;

    fn user(host: &str, repository: &str) -> Option<String> {
        login(FILE, host, repository).unwrap().map(|login| login.username)
    }

    #[test]
    fn the_entry_that_says_most_about_a_repository_counts() {
        assert_eq!(user("r.example.com", "team/app").as_deref(), Some("t"));
        assert_eq!(user("r.example.com", "teams/app").as_deref(), Some("a"));
        assert_eq!(user("registry-1.docker.io", "library/x").as_deref(), Some("h"));
    }

    #[test]
    fn no_other_registry_gets_the_password() {
        assert_eq!(user("r.example.com.evil.org", "team/app"), None);
        assert_eq!(user("r.example.com:5000", "team/app"), None);
    }
}
