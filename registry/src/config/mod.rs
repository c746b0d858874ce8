//! What the program was told: one YAML file, `BERTH_…` environment variables and flags, read once at the start.
//!
//! Flags win over the environment, the environment over the file, the file over the defaults. Everything that is wrong
//! is reported at once, with its place and what to do about it.

mod collection;
mod document;
mod listener;
mod parts;
mod problem;
mod secrets;
mod setting;
mod settings;
mod storage;
mod values;

pub use collection::{Collection, Delays};
pub use listener::{Addressing, ClientAuth, Http, Tls};
pub use parts::{Admin, Config, Database, Deletion, Log, LogFormat, Manifests, Metrics, Sparse, Uploads};
pub use problem::{Problem, Problems};
pub use setting::Setting;
pub use settings::{SETTINGS, environment_name};
pub use storage::{Azure, Edge, Gcs, Redirect, RedirectMode, S3, Storage};

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use values::Values;

pub(crate) use values::read_bytes;

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file's path and text.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables; those that do not begin with `BERTH_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Settings given as flags: path of the setting, name of the flag, value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// Takes the environment of this process and the file, if one is named.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(file: Option<&Path>) -> Result<Self, Problems> {
        let file = file
            .map(|path| {
                let text = std::fs::read_to_string(path).map_err(|source| Problems::unreadable(path, &source))?;
                Ok((path.to_path_buf(), text))
            })
            .transpose()?;
        // An empty variable counts as one that is not set; one that is not text cannot be ours.
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let environment = std::env::vars_os()
            .filter_map(text)
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Ok(Self {
            file,
            environment,
            flags: Vec::new(),
        })
    }
}

/// Settings that hold together, and what is odd about them all the same.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Things that are probably not meant, such as an unknown `BERTH_…` variable.
    pub warnings: Vec<Problem>,
    values: Values,
}

impl Loaded {
    /// What is in force for a setting, for people to read: never a secret.
    pub fn shown(&self, setting: &Setting) -> String {
        match (self.values.text(setting.path), setting.is_secret()) {
            (None, _) => "-".to_owned(),
            (Some(_), true) => "(secret)".to_owned(),
            (Some(text), false) => secrets::masked(&text),
        }
    }
}

/// Reads the settings from their sources.
///
/// # Errors
/// Every unknown key, wrong type and contradiction, at once.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut values = Values::gather(sources);
    let (config, contradictions) = parts::build(&values);
    let mut problems = std::mem::take(&mut values.problems);
    problems.extend(contradictions);
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok(Loaded {
        config,
        warnings: std::mem::take(&mut values.warnings),
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Sources {
        Sources {
            file: Some(("berth.yaml".into(), text.to_owned())),
            ..Sources::default()
        }
    }

    fn complaints(sources: &Sources) -> String {
        load(sources).unwrap_err().to_string()
    }

    #[test]
    fn nothing_at_all_is_a_whole_configuration() {
        let config = load(&Sources::default()).unwrap().config;

        assert_eq!(config.http.listen.to_string(), "127.0.0.1:5000");
        assert_eq!(config.admin.listen.to_string(), "127.0.0.1:5001");
        assert!(matches!(config.database, Database::Sqlite { ref path } if path.ends_with("berth-data/berth.sqlite3")));
        assert!(matches!(config.storage, Storage::Filesystem { ref root } if root.ends_with("berth-data/blobs")));
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_line_and_a_remedy() {
        let told = complaints(&file(
            "http:\n  lisen: 127.0.0.1:80\n  drain_timeout: soon\ndatabase:\n  max_connections: 0\nstorag: {}\n",
        ));

        assert!(
            told.contains("berth.yaml:2: http.lisen: unknown key; did you mean `listen`?"),
            "{told}"
        );
        assert!(
            told.contains("berth.yaml:3: http.drain_timeout: `soon` is not a length of time"),
            "{told}"
        );
        assert!(
            told.contains("berth.yaml:5: database.max_connections: `0` is not a whole number from 1"),
            "{told}"
        );
        assert!(
            told.contains("berth.yaml:6: storag: unknown key; did you mean `storage`?"),
            "{told}"
        );
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_the_environment_over_the_file() {
        let mut sources = file("http: {listen: '127.0.0.1:1'}\nadmin: {listen: '127.0.0.1:1'}\nlog: {level: warn}\n");
        sources.environment = vec![
            ("BERTH_HTTP_LISTEN".into(), "127.0.0.1:2".into()),
            ("BERTH_ADMIN_LISTEN".into(), "127.0.0.1:4".into()),
        ];
        sources.flags = vec![("http.listen", "--listen", "127.0.0.1:3".into())];

        let config = load(&sources).unwrap().config;

        assert_eq!(config.http.listen.port(), 3);
        assert_eq!(config.admin.listen.port(), 4);
        assert_eq!(config.log.level, "warn");
    }

    #[test]
    fn contradictions_are_told_with_both_sides() {
        let told = complaints(&file(
            "storage:\n  filesystem: {root_directory: /b}\n  s3: {bucket: b, access_key_id: k}\nadmin: {listen: '127.0.0.1:5000'}\n",
        ));

        assert!(told.contains("storage.filesystem and storage.s3"), "{told}");
        assert!(told.contains("storage.s3.secret_access_key"), "{told}");
        assert!(told.contains("admin.listen"), "{told}");
    }

    #[test]
    fn a_wrong_shape_is_told_and_not_a_panic() {
        assert!(complaints(&file("http: 5\n")).contains("berth.yaml:1: http: wants keys below it"));
        assert!(complaints(&file("data_dir: [a]\n")).contains("berth.yaml:1: data_dir: wants one value"));
        assert!(complaints(&file("http: {listen: :\n")).contains("berth.yaml"));
        assert!(complaints(&file("- a\n")).contains("berth.yaml"));
    }

    #[test]
    fn an_unknown_variable_is_a_warning() {
        let environment = vec![("BERTH_HTTP_LISEN".to_owned(), "x".to_owned())];

        let loaded = load(&Sources {
            environment,
            ..Sources::default()
        })
        .unwrap();

        assert!(loaded.warnings[0].to_string().contains("BERTH_HTTP_LISTEN"));
    }

    #[test]
    fn every_setting_has_an_environment_variable_of_its_own() {
        let mut names: Vec<String> = SETTINGS.iter().map(|setting| environment_name(setting.path)).collect();
        let all = names.len();
        names.sort();
        names.dedup();

        assert_eq!(names.len(), all);
    }

    #[test]
    fn an_error_never_shows_a_secret() {
        let told = complaints(&file(
            "http: {secret: [hunter2]}\nstorage: {s3: {secret_access_key: hunter2}}\n",
        ));

        assert!(!told.contains("hunter2"), "{told}");
    }
    #[test]
    fn no_error_repeats_a_url_that_may_hold_a_password() {
        for url in [
            "postgre://u:hunter2@h/db",
            "postgres:/u:hunter2@h",
            "u:hunter2@h/db",
            "postgre://h/db?password=hunter2",
            "h/db?Password=hunter2",
        ] {
            let told = complaints(&file(&format!(
                "database: {{url: '{url}'}}\nhttp: {{listen: '{url}'}}\n"
            )));

            assert!(told.contains("database.url: the value is not `postgres://"), "{told}");
            assert!(told.contains("http.listen: the value is not an address"), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn the_settings_in_force_are_shown_without_passwords() {
        let loaded = load(&file(
            "database: {url: 'postgres://u:hunter2@h/db?password=hunter2'}\n\
             storage: {s3: {bucket: b, endpoint: 'http://k:hunter2@h:9000'}}\n",
        ))
        .unwrap();

        let shown: Vec<String> = SETTINGS.iter().map(|setting| loaded.shown(setting)).collect();

        assert!(
            shown.contains(&"postgres://u:***@h/db?password=***".to_owned()),
            "{shown:?}"
        );
        assert!(!shown.concat().contains("hunter2"), "{shown:?}");
        assert!(matches!(loaded.config.database, Database::Postgres { ref url, .. } if url.contains("u:hunter2@h")));
    }

    #[test]
    fn one_delay_is_for_everything_that_has_none_of_its_own() {
        let delays = load(&file("gc: {delays: {default: 2h, tag_delete: 0s}}\n"))
            .unwrap()
            .config
            .collection
            .delays;

        assert_eq!(delays.tag_delete, std::time::Duration::ZERO);
        assert_eq!(delays.blob_upload, std::time::Duration::from_hours(2));
        let day = load(&Sources::default())
            .unwrap()
            .config
            .collection
            .delays
            .manifest_upload;
        assert_eq!(day, std::time::Duration::from_hours(24));
    }

    #[test]
    fn a_value_means_what_its_setting_says_and_not_what_yaml_guesses() {
        let config = load(&file(
            "http: {secret: 000042}\nstorage: {s3: {bucket: 0123, region: 1e3, root_directory: 1_000, \
             access_key_id: 0x10, secret_access_key: 007}}\nlog: {level: off}\n",
        ))
        .unwrap()
        .config;

        assert_eq!(config.http.secret.as_deref(), Some("000042"));
        assert_eq!(config.log.level, "off");
        let Storage::S3(s3) = config.storage else {
            panic!("a bucket was named")
        };
        assert_eq!((s3.bucket.as_str(), s3.region.as_str()), ("0123", "1e3"));
        assert_eq!(s3.root_directory, "1_000");
        assert_eq!(s3.access_key_id.as_deref(), Some("0x10"));
        assert_eq!(s3.secret_access_key.as_deref(), Some("007"));
    }

    #[test]
    fn a_switch_takes_true_and_false_only() {
        let with = |word: &str| load(&file(&format!("storage: {{s3: {{bucket: b, path_style: {word}}}}}\n")));

        assert!(matches!(with("true").unwrap().config.storage, Storage::S3(s3) if s3.path_style));
        assert!(matches!(with("false").unwrap().config.storage, Storage::S3(s3) if !s3.path_style));
        for word in ["yes", "off", "True", "1"] {
            let told = with(word).unwrap_err().to_string();
            assert!(
                told.contains(&format!("path_style: `{word}` is not `true` or `false`")),
                "{told}"
            );
        }
    }

    #[test]
    fn lengths_and_numbers_beyond_their_bounds_are_refused_with_the_bounds() {
        let told = complaints(&file(
            "http: {drain_timeout: 25h}\nuploads: {expiry: 59m}\ndatabase: {partitions: 129}\n",
        ));

        assert!(told.contains("`25h` is not a length of time from 0s to 24h"), "{told}");
        assert!(told.contains("`59m` is not a length of time from 1h to 30d"), "{told}");
        assert!(told.contains("`129` is not a whole number from 1 to 128"), "{told}");
        assert!(complaints(&file("uploads: {expiry: 31d}\n")).contains("from 1h to 30d"));
        for fits in ["0s", "24h"] {
            load(&file(&format!("http: {{drain_timeout: {fits}}}\n"))).unwrap();
        }
        for fits in ["1h", "30d"] {
            load(&file(&format!("uploads: {{expiry: {fits}}}\n"))).unwrap();
        }
    }
}
