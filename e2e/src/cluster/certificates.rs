//! The cluster's certificates and keys, made with the `openssl` program.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use serde_json::json;

use crate::shell;

const LIMIT: Duration = Duration::from_secs(30);

/// What the server certificate of the API server and the kubelet is valid for.
const NAMES: &str = "DNS:localhost,DNS:node,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
                     DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:10.96.0.1,IP:10.244.0.1";

/// Writes into `folder`: `ca`, `server` and `admin` (`.crt`, `.key`), and `accounts` (`.key`, `.pub`).
///
/// # Errors
/// When openssl is not there or fails.
pub(crate) fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    make_all(folder).context("make the cluster's certificates")
}

fn make_all(folder: &Path) -> Result<()> {
    openssl(
        folder,
        &certificate("ca", "/CN=berth-cluster"),
        &["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
    )?;
    let names = format!("subjectAltName={NAMES}");
    let by_ca = [
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
    ];
    openssl(
        folder,
        &certificate("server", "/CN=node"),
        &[&by_ca[..], &[&names]].concat(),
    )?;
    let usage = "extendedKeyUsage=clientAuth";
    openssl(
        folder,
        &certificate("admin", "/O=system:masters/CN=admin"),
        &[&by_ca[..], &[usage]].concat(),
    )?;
    let key = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        "accounts.key",
    ];
    openssl(folder, &key.map(str::to_owned), &[])?;
    openssl(
        folder,
        &["pkey", "-in", "accounts.key", "-pubout", "-out", "accounts.pub"].map(str::to_owned),
        &[],
    )
}

fn certificate(name: &str, subject: &str) -> Vec<String> {
    let fixed = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "3650",
    ];
    let own = [
        "-subj",
        subject,
        "-keyout",
        &format!("{name}.key"),
        "-out",
        &format!("{name}.crt"),
    ]
    .map(str::to_owned);
    fixed.map(str::to_owned).into_iter().chain(own).collect()
}

fn openssl(folder: &Path, arguments: &[String], more: &[&str]) -> Result<()> {
    shell::read(
        Command::new("openssl").current_dir(folder).args(arguments).args(more),
        LIMIT,
    )?;
    Ok(())
}

/// A kubeconfig for `server` that acts as the administrator whose certificate is in `folder`.
pub(super) fn kubeconfig(folder: &Path, server: &str, context: &str) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    let cluster = json!({"server": server, "certificate-authority": file("ca.crt")});
    let user = json!({"client-certificate": file("admin.crt"), "client-key": file("admin.key")});
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    });
    format!("{kubeconfig:#}\n")
}
