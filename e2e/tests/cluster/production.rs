//! A Registry with PostgreSQL and S3: its replicas share everything.

use anyhow::Result;
use e2e::{
    cluster::HOST,
    http::Request,
    servers::{Postgres, Release, SeaweedFs},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::Namespace;

/// The spec of a registry on these servers, with its Secrets applied.
fn production_spec(namespace: &Namespace, postgres: &Postgres, s3: &SeaweedFs) -> Result<Value> {
    postgres.sql("postgres", "CREATE ROLE berth LOGIN PASSWORD 'berth'")?;
    postgres.sql("postgres", "CREATE DATABASE berth OWNER berth")?;
    namespace.apply_secret("database", &[("username", "berth"), ("password", "berth")])?;
    let keys = [
        ("access-key-id", SeaweedFs::ACCESS_KEY_ID),
        ("secret-access-key", SeaweedFs::SECRET_ACCESS_KEY),
    ];
    namespace.apply_secret("bucket", &keys)?;
    let database = json!({
        "host": HOST.to_string(), "port": postgres.port(), "name": "berth", "sslMode": "disable",
        "credentialsRef": {"name": "database"},
    });
    let bucket = json!({
        "bucket": SeaweedFs::BUCKET, "endpoint": s3.endpoint(), "credentialsRef": {"name": "bucket"},
    });
    Ok(json!({"replicas": 2, "database": {"postgres": database}, "storage": {"s3": bucket}}))
}

#[test]
fn an_upload_begun_on_one_replica_is_finished_on_the_other() {
    let namespace = Namespace::new("production").unwrap();
    let postgres = Postgres::start(&namespace.cache, Release::Newest, HOST.into(), &namespace.log).unwrap();
    let s3 = SeaweedFs::start(&namespace.cache, HOST.into(), &namespace.log).unwrap();
    let spec = production_spec(&namespace, &postgres, &s3).unwrap();
    namespace.apply_registry("registry", &spec).unwrap();
    namespace.wait_until_ready("registry").unwrap();
    let pods = namespace.serving_pods("registry").unwrap();
    let addresses: Vec<&str> = pods
        .iter()
        .map(|pod| pod["status"]["podIP"].as_str().unwrap())
        .collect();
    let [one, other] = addresses[..] else {
        panic!("two replicas serve, not {addresses:?}")
    };
    let blob: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&blob)));

    let begun = Request::new("POST", &format!("http://{one}:5000/v2/team/app/blobs/uploads/"))
        .send()
        .unwrap();
    let location = path_of(begun.expect_status(202).unwrap().header("location").unwrap());
    let (half, rest) = blob.split_at(blob.len() / 2);
    let sent = Request::new("PATCH", &format!("http://{one}:5000{location}"))
        .body(half)
        .send()
        .unwrap();
    let location = path_of(sent.expect_status(202).unwrap().header("location").unwrap());
    let separator = if location.contains('?') { '&' } else { '?' };
    let last = format!("http://{other}:5000{location}{separator}digest={digest}");
    let finished = Request::new("PUT", &last)
        .header("Content-Type", "application/octet-stream")
        .body(rest)
        .send();
    finished.unwrap().expect_status(201).unwrap();

    for address in [one, other] {
        let blob_address = format!("http://{address}:5000/v2/team/app/blobs/{digest}");
        let pulled = Request::new("GET", &blob_address)
            .send()
            .unwrap()
            .expect_status(200)
            .unwrap();
        assert!(pulled.body == blob, "{address} gives back what was sent");
    }
    let (sample, image) = namespace.push(&namespace.service("registry").unwrap()).unwrap();
    namespace.run_pod(&sample, &image).unwrap();
}

/// The path of a Location header, which may be a whole address.
fn path_of(location: &str) -> String {
    let after_scheme = location.split_once("://").map(|(_, rest)| rest);
    after_scheme
        .and_then(|rest| rest.find('/').map(|slash| rest[slash..].to_owned()))
        .unwrap_or_else(|| location.to_owned())
}
