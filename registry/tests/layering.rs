//! The layout of the crate, held against its source: the tier table, the three doors, and no file that nothing names.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's tool stops where it fails"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules and the modules that each may use. Arrows go down only; modules of one tier do not know one another.
const MAY_USE: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &["server", "metadata", "config", "telemetry", "clock", "flaws", "release"],
    ),
    (
        "server",
        &[
            "http",
            "gc",
            "distribution",
            "metadata",
            "blobs",
            "config",
            "telemetry",
            "clock",
            "staging",
            "syncs",
        ],
    ),
    (
        "http",
        &[
            "distribution",
            "metadata",
            "blobs",
            "clock",
            "flaws",
            "release",
            "staging",
        ],
    ),
    ("gc", &["distribution", "staging"]),
    ("distribution", &["metadata", "blobs", "clock", "staging"]),
    ("metadata", &["clock", "flaws", "release", "staging", "syncs"]),
    ("blobs", &["staging", "syncs"]),
    ("config", &[]),
    ("telemetry", &["release"]),
    ("release", &["flaws"]),
    ("flaws", &[]),
    ("clock", &[]),
    ("staging", &[]),
    ("syncs", &[]),
];

/// Crates that only some modules may name.
const DOORS: &[(&str, &[&str])] = &[
    ("sqlx", &["metadata"]),
    ("rusqlite", &["metadata"]),
    ("object_store", &["blobs"]),
    ("axum", &["http", "server"]),
    ("hyper", &["server"]),
];

struct Source {
    module: String,
    path: PathBuf,
    text: String,
}

fn crate_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of source") {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn sources() -> Vec<Source> {
    let root = crate_folder().join("src");
    let read = |path: PathBuf| {
        let below = path.strip_prefix(&root).unwrap();
        let module = below.components().next().unwrap().as_os_str().to_string_lossy();
        let text = fs::read_to_string(&path).unwrap();
        Source {
            module: module.trim_end_matches(".rs").to_owned(),
            path,
            text,
        }
    };
    files_below(&root)
        .into_iter()
        .map(read)
        .filter(|source| source.module != "lib")
        .collect()
}

/// The modules of this crate that a file names, in `use` lines and in paths; comments do not count.
fn named_modules(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut named = BTreeSet::new();
    for root in ["crate::", "berth_registry::"] {
        for (_, rest) in code.match_indices(root).map(|(at, _)| code.split_at(at + root.len())) {
            match rest.strip_prefix('{') {
                Some(list) => named.extend(top_level_names(list)),
                None => named.extend(first_word(rest)),
            }
        }
    }
    named
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// The first words of the entries of a `{…}` list, nested lists passed over.
fn top_level_names(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut start) = (1, Vec::new(), true);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => start = true,
            c if start && depth == 1 && (c.is_alphabetic() || c == '_') => {
                names.extend(first_word(&list[at..]));
                start = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

#[test]
fn arrows_between_modules_go_down_only() {
    let tiers: BTreeSet<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(module, _)| *module == source.module)
            .unwrap_or_else(|| panic!("{} is in no tier", source.path.display()));
        for named in named_modules(&source.text) {
            let ours = tiers.contains(named.as_str());
            if ours && named != source.module && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{} uses {named}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn sql_the_store_and_axum_stay_behind_their_doors() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (door, modules) in DOORS {
            let named = source.text.contains(&format!("{door}::"));
            if named && !modules.contains(&source.module.as_str()) {
                wrong.push(format!("{} uses {door}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_is_named_by_a_mod_line() {
    let mut orphans = Vec::new();
    for folder in ["src", "oci/src", "model/src", "tests/it"] {
        let root = crate_folder().join(folder);
        for path in files_below(&root) {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let folder = path.parent().unwrap();
            let (name, above) = if stem == "mod" {
                (
                    folder.file_name().unwrap().to_string_lossy().into_owned(),
                    folder.parent().unwrap(),
                )
            } else {
                (stem, folder)
            };
            if ["lib", "main"].contains(&name.as_str()) {
                continue;
            }
            let declared = ["mod.rs", "lib.rs", "main.rs", "stores.rs"].iter().any(|file| {
                let text = fs::read_to_string(above.join(file)).unwrap_or_default();
                text.contains(&format!("mod {name};"))
            });
            if !declared {
                orphans.push(path);
            }
        }
    }
    assert!(orphans.is_empty(), "{orphans:#?}");
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.text.lines().count() > 600)
        .map(|s| s.path)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_reading_of_use_lines_sees_lists_paths_and_nested_lists() {
    let text =
        "use crate::{blobs::{self, keys}, clock};\nlet x = crate::config::load();\n// crate::http is not named\n";

    let named = named_modules(text);

    assert_eq!(named, ["blobs", "clock", "config"].map(str::to_owned).into());
}
