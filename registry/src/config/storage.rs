//! Where the bytes are, and who may fetch them there.

use super::problem::Problem;
use super::values::Values;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use ipnet::IpNet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the bytes are.
#[derive(Debug, Clone)]
pub enum Storage {
    /// A folder.
    Filesystem {
        /// The folder.
        root: PathBuf,
    },
    /// A bucket of S3.
    S3(S3),
    /// A container of Azure's Blob Storage.
    Azure(Azure),
    /// A bucket of Google Cloud Storage.
    Gcs(Gcs),
}

/// A bucket and how to reach it.
#[derive(Clone)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The server's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The server's URL as clients reach it.
    pub public_endpoint: Option<String>,
    /// A prefix of every key.
    pub root_directory: String,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// Absent: web identity or instance profile.
    pub access_key_id: Option<String>,
    /// Goes with it.
    pub secret_access_key: Option<String>,
    /// `sha256`, `crc64nvme` or `none`.
    pub checksum: String,
    /// All parts of an object but the last must be of one size.
    pub equal_parts: bool,
}

/// A container and how to reach it.
#[derive(Clone)]
pub struct Azure {
    /// Its name.
    pub container: String,
    /// The storage account.
    pub account: String,
    /// The service's URL, where it is not Azure's.
    pub endpoint: Option<String>,
    /// A prefix of every key.
    pub root_directory: String,
    /// One of the account's keys.
    pub access_key: Option<String>,
    /// A shared access signature.
    pub sas_token: Option<String>,
}

/// A bucket and how to reach it.
#[derive(Debug, Clone)]
pub struct Gcs {
    /// Its name.
    pub bucket: String,
    /// The service's URL, where it is not Google's.
    pub endpoint: Option<String>,
    /// A prefix of every key.
    pub root_directory: String,
    /// The service account's key file.
    pub service_account_file: Option<PathBuf>,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Azure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Azure")
            .field("container", &self.container)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Which clients fetch blobs from the store themselves.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// Which.
    pub mode: RedirectMode,
    /// How long the URL that they get is good for.
    pub lifetime: Duration,
    /// The edge that they are sent to in place of the store.
    pub edge: Option<Edge>,
}

/// Which clients fetch blobs from the store themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectMode {
    /// None.
    Never,
    /// Every one.
    Always,
    /// Those that are in both lists; an empty list is not looked at.
    Matching {
        /// Beginnings of `User-Agent`.
        user_agents: Vec<String>,
        /// Their networks.
        networks: Vec<IpNet>,
    },
}

/// An edge in front of the bucket.
#[derive(Clone)]
pub struct Edge {
    /// Where the bucket's root is, as clients reach it.
    pub base_url: String,
    /// The name that the edge has for the key.
    pub key_name: String,
    /// The key's bytes.
    pub key: Vec<u8>,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

const PLACES: [&str; 4] = ["storage.filesystem", "storage.s3", "storage.azure", "storage.gcs"];

pub(super) fn storage(values: &Values, default_root: PathBuf) -> Storage {
    let text = |path: &str| values.text(path).unwrap_or_default();
    if values.section("storage.s3").is_some() {
        return Storage::S3(S3 {
            bucket: text("storage.s3.bucket"),
            region: text("storage.s3.region"),
            endpoint: values.text("storage.s3.endpoint"),
            public_endpoint: values.text("storage.s3.public_endpoint"),
            root_directory: text("storage.s3.root_directory"),
            path_style: values.switch("storage.s3.path_style"),
            access_key_id: values.text("storage.s3.access_key_id"),
            secret_access_key: values.text("storage.s3.secret_access_key"),
            checksum: text("storage.s3.checksum"),
            equal_parts: values.switch("storage.s3.equal_parts"),
        });
    }
    if values.section("storage.azure").is_some() {
        return Storage::Azure(Azure {
            container: text("storage.azure.container"),
            account: text("storage.azure.account"),
            endpoint: values.text("storage.azure.endpoint"),
            root_directory: text("storage.azure.root_directory"),
            access_key: values.text("storage.azure.access_key"),
            sas_token: values.text("storage.azure.sas_token"),
        });
    }
    if values.section("storage.gcs").is_some() {
        return Storage::Gcs(Gcs {
            bucket: text("storage.gcs.bucket"),
            endpoint: values.text("storage.gcs.endpoint"),
            root_directory: text("storage.gcs.root_directory"),
            service_account_file: values.path("storage.gcs.service_account_file"),
        });
    }
    let root = values.path("storage.filesystem.root_directory").unwrap_or(default_root);
    Storage::Filesystem { root }
}

pub(super) fn redirect(values: &Values) -> Redirect {
    let list = |path: &str| -> Vec<String> {
        let text = values.text(path).unwrap_or_default();
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(str::to_owned).collect()
    };
    let mode = match values.text("storage.redirect.mode").as_deref() {
        Some("always") => RedirectMode::Always,
        Some("matching") => RedirectMode::Matching {
            user_agents: list("storage.redirect.user_agents"),
            networks: values.networks("storage.redirect.networks"),
        },
        _ => RedirectMode::Never,
    };
    let edge = values.text("storage.redirect.base_url").map(|base_url| Edge {
        base_url,
        key_name: values.text("storage.redirect.key_name").unwrap_or_default(),
        key: key(values).unwrap_or_default(),
    });
    Redirect {
        mode,
        lifetime: values.duration("storage.redirect.lifetime"),
        edge,
    }
}

/// The key's bytes, when it is given as it should be.
fn key(values: &Values) -> Option<Vec<u8>> {
    let text = values.text("storage.redirect.key")?;
    BASE64_URL_SAFE.decode(text.trim()).ok().filter(|key| key.len() >= 16)
}

/// What is wrong: where it was given, the setting, and what to do.
pub(super) fn contradictions(values: &Values) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut say = |place: Option<&str>, path: &str, message: String| {
        found.push(Problem {
            place: place.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            message,
        });
    };
    let given: Vec<&str> = PLACES
        .into_iter()
        .filter(|place| values.section(place).is_some())
        .collect();
    if let [.., last] = given[..]
        && given.len() > 1
    {
        let message = format!(
            "{} are all given; keep the one that holds the blobs",
            given.join(" and ")
        );
        say(values.section(last), "storage", message);
    }
    for (section, name, what) in [
        ("storage.s3", "storage.s3.bucket", "the bucket"),
        ("storage.azure", "storage.azure.container", "the container"),
        ("storage.azure", "storage.azure.account", "the storage account"),
        ("storage.gcs", "storage.gcs.bucket", "the bucket"),
    ] {
        if values.section(section).is_some() && values.text(name).is_none() {
            let message = format!("is missing; name {what}, or leave {section} out for local files");
            say(values.section(section), name, message);
        }
    }
    for (one, other) in [
        ("storage.s3.access_key_id", "storage.s3.secret_access_key"),
        ("storage.redirect.key_name", "storage.redirect.key"),
        ("storage.redirect.base_url", "storage.redirect.key"),
        ("storage.redirect.base_url", "storage.redirect.key_name"),
    ] {
        for (given, missing) in [(one, other), (other, one)] {
            if values.place(given).is_some() && values.place(missing).is_none() {
                say(
                    values.place(given),
                    missing,
                    format!("is missing; {given} is of no use without it"),
                );
            }
        }
    }
    if let (Some(place), Some(_)) = (
        values.place("storage.azure.access_key"),
        values.place("storage.azure.sas_token"),
    ) {
        let message = "storage.azure.sas_token is given too; keep one of the two".to_owned();
        say(Some(place), "storage.azure.access_key", message);
    }
    found.extend(redirect_contradictions(values));
    found
}

fn redirect_contradictions(values: &Values) -> Vec<Problem> {
    let problem = |path: &str, message: &str| Problem {
        place: values.place(path).unwrap_or_default().to_owned(),
        path: path.to_owned(),
        message: message.to_owned(),
    };
    let mut found = Vec::new();
    let mode = values.text("storage.redirect.mode").unwrap_or_default();
    let lists = ["storage.redirect.user_agents", "storage.redirect.networks"];
    let listed = lists.into_iter().find(|list| values.place(list).is_some());
    match (mode.as_str(), listed) {
        ("matching", None) => {
            let message = "`matching` needs storage.redirect.user_agents or storage.redirect.networks";
            found.push(problem("storage.redirect.mode", message));
        }
        ("never" | "always", Some(list)) => {
            found.push(problem(
                list,
                "is only looked at when storage.redirect.mode is `matching`",
            ));
        }
        _ => {}
    }
    let remote = PLACES[1..].iter().any(|place| values.section(place).is_some());
    if mode != "never" && !remote {
        let message = "needs storage.s3, storage.azure or storage.gcs: clients cannot fetch local files themselves";
        found.push(problem("storage.redirect.mode", message));
    }
    if values.place("storage.redirect.key").is_some() && key(values).is_none() {
        let message = "must be at least 16 bytes in URL-safe base64, such as `head -c 16 /dev/urandom | base64 | tr +/ -_` prints";
        found.push(problem("storage.redirect.key", message));
    }
    if values.section("storage.azure").is_some()
        && mode != "never"
        && values.place("storage.azure.sas_token").is_some()
        && values.place("storage.redirect.base_url").is_none()
    {
        let message =
            "cannot sign URLs for clients; use an access key or an identity, or set storage.redirect.mode to `never`";
        found.push(problem("storage.azure.sas_token", message));
    }
    found
}
