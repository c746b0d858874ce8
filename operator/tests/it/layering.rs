//! Who may ask the API server, the clock or chance.

use std::path::Path;

use crate::root;

/// Each source file, its path below `operator/src` and its text without comments and tests.
fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let top = root().join("operator/src");
    collect(&top, &top, &mut sources);
    sources
}

fn collect(top: &Path, folder: &Path, sources: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(top, &path, sources);
        } else if !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let code = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            sources.push((path.strip_prefix(top).unwrap().display().to_string(), code));
        }
    }
}

#[test]
fn only_one_file_sends_requests_to_the_api_server() {
    let words = [
        "Api::namespaced",
        "Api::all",
        "Api::default_namespaced",
        ".patch_status(",
        "client.request",
    ];
    let elsewhere: Vec<_> = sources()
        .into_iter()
        .filter(|(path, code)| {
            !["cluster.rs", "plugin/api.rs"].contains(&path.as_str()) && words.iter().any(|word| code.contains(word))
        })
        .map(|(path, _)| path)
        .collect();

    assert!(
        elsewhere.is_empty(),
        "only cluster.rs checks the table of permissions (the plugin has the rights of its user): {elsewhere:?}"
    );
}

#[test]
fn decisions_know_neither_the_api_server_nor_the_clock_nor_chance() {
    let effects = [
        "registry/mod.rs",
        "registry/observe.rs",
        "registry/apply.rs",
        "registry/companions/read.rs",
        "registry/companions/write.rs",
    ];
    let top = ["ownership.rs", "content_hash.rs", "events.rs", "labels.rs", "rbac.rs"];
    let words = [
        "crate::cluster",
        "crate::clock",
        "crate::context",
        "kube::Client",
        "Timestamp::now",
        "rand::",
        "async ",
    ];
    for (path, code) in sources() {
        let is_pure = top.contains(&path.as_str())
            || path.starts_with("api/")
            || path.starts_with("analysis/")
            || [
                "notify/events.rs",
                "notify/payload.rs",
                "channel/choose.rs",
                "channel/credentials.rs",
                "channel/reference.rs",
                "channel/signature.rs",
                "channel/told.rs",
                "plugin/ask.rs",
                "plugin/near.rs",
                "plugin/refusal.rs",
                "plugin/screen.rs",
                "plugin/doctor/cluster.rs",
                "plugin/doctor/finding.rs",
            ]
            .contains(&path.as_str())
            || path.starts_with("plugin/view/")
            || path.starts_with("plugin/doctor/judge/")
            || (path.starts_with("locks/") && path != "locks/act.rs")
            || (path.starts_with("registry/") && !effects.contains(&path.as_str()));
        let found: Vec<_> = words.iter().filter(|word| is_pure && code.contains(**word)).collect();

        assert!(found.is_empty(), "{path} is to be pure, but has {found:?}");
    }
}
