//! The configuration, as a file and as variables: settings or complaints, never a panic, never a secret shown.
#![no_main]
#![allow(
    dead_code,
    unreachable_pub,
    unused,
    missing_docs,
    reason = "a part of another crate, not all of it used"
)]

use libfuzzer_sys::fuzz_target;

#[path = "../../registry/src/config/mod.rs"]
mod config;

use config::{SETTINGS, Sources, environment_name};

fuzz_target!(|text: &str| {
    let setting = &SETTINGS[text.len() % SETTINGS.len()];
    let of_file = Sources {
        file: Some(("berth.yaml".into(), text.to_owned())),
        ..Sources::default()
    };
    let of_environment = Sources {
        environment: vec![(environment_name(setting.path), text.to_owned())],
        ..Sources::default()
    };
    for sources in [of_file, of_environment] {
        match config::load(&sources) {
            Ok(loaded) => {
                for setting in SETTINGS {
                    let _shown = loaded.shown(setting);
                }
            }
            Err(problems) => assert!(!problems.to_string().is_empty()),
        }
    }
});
