//! Renewal of the certificate in force.

use super::*;
use crate::config::ClientAuth;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::path::Path;
use tempfile::TempDir;

const NOW: i64 = 1_800_000_000;

struct Pair {
    certificate: String,
    key: String,
}

fn pair(expires: i32) -> Pair {
    let mut parameters = CertificateParams::new(vec!["registry.test".to_owned()]).unwrap();
    parameters.not_after = date_time_ymd(expires, 1, 1);
    let key = KeyPair::generate().unwrap();
    Pair {
        certificate: parameters.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn settings(folder: &Path) -> config::Tls {
    config::Tls {
        certificate_file: folder.join("tls.crt"),
        key_file: folder.join("tls.key"),
        client_auth: ClientAuth::None,
    }
}

fn write(folder: &Path, pair: &Pair) {
    std::fs::write(folder.join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &pair.key).unwrap();
}

async fn opened(pair: &Pair) -> (TempDir, Arc<Tls>, Renewal) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), pair);
    let clock = Clock::standing_at(NOW * 1_000_000);
    let (tls, renewal) = Tls::open(&settings(folder.path()), TlsMetrics::default(), clock)
        .await
        .unwrap();
    (folder, tls, renewal)
}

#[tokio::test]
async fn new_handshakes_use_what_the_files_hold_now() {
    let (folder, tls, mut renewal) = opened(&pair(2030)).await;
    let first = tls.current();
    assert_eq!(renewal.look().await, Looked::Unchanged);

    write(folder.path(), &pair(2031));

    assert_eq!(renewal.look().await, Looked::Renewed);
    assert!(!Arc::ptr_eq(&first, &tls.current()));
    assert_eq!(renewal.expires.map(shown).unwrap(), "2031-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_pair_that_is_half_written_keeps_the_one_before_and_is_told_once() {
    let (folder, tls, mut renewal) = opened(&pair(2030)).await;
    let (first, next) = (tls.current(), pair(2031));

    for half in [&next.certificate[..], &next.certificate[..100], ""] {
        std::fs::write(folder.path().join("tls.crt"), half).unwrap();

        assert_eq!(renewal.look().await, Looked::Unusable, "{half}");
        assert_eq!(renewal.look().await, Looked::Unchanged, "{half}");
        assert!(Arc::ptr_eq(&first, &tls.current()));
    }
    write(folder.path(), &next);
    assert_eq!(renewal.look().await, Looked::Renewed);
}

#[tokio::test]
async fn files_that_are_away_keep_the_pair_in_force_until_they_are_back() {
    let (folder, tls, mut renewal) = opened(&pair(2030)).await;
    let first = tls.current();
    std::fs::remove_file(folder.path().join("tls.key")).unwrap();

    assert_eq!(renewal.look().await, Looked::Unusable);
    assert_eq!(renewal.look().await, Looked::Unchanged);
    assert!(Arc::ptr_eq(&first, &tls.current()));

    write(folder.path(), &pair(2032));
    assert_eq!(renewal.look().await, Looked::Renewed);
}

#[tokio::test]
async fn a_swap_of_symbolic_links_is_a_renewal() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, expires) in [("old", 2030), ("new", 2031)] {
        std::fs::create_dir(at(name)).unwrap();
        write(&at(name), &pair(expires));
    }
    std::os::unix::fs::symlink("old", at("..data")).unwrap();
    let clock = Clock::standing_at(NOW * 1_000_000);
    let (_tls, mut renewal) = Tls::open(&settings(&at("..data")), TlsMetrics::default(), clock)
        .await
        .unwrap();

    std::os::unix::fs::symlink("new", at("..next")).unwrap();
    std::fs::rename(at("..next"), at("..data")).unwrap();

    assert_eq!(renewal.look().await, Looked::Renewed);
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_its_cause_and_a_remedy() {
    let (right, other) = (pair(2030), pair(2031));
    let refusal = async |certificate: &str, key: &str| {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        write(folder.path(), &Pair { certificate, key });
        read(&settings(folder.path())).await.unwrap_err().to_string()
    };

    let mismatch = refusal(&right.certificate, &other.key).await;
    assert!(mismatch.contains("is not the key of the certificate"), "{mismatch}");
    let no_key = refusal(&right.certificate, &right.certificate).await;
    assert!(no_key.contains("holds no private key"), "{no_key}");
    let no_certificate = refusal("", &right.key).await;
    assert!(no_certificate.contains("holds no certificate"), "{no_certificate}");
    let nowhere = read(&settings(Path::new("/nowhere"))).await.unwrap_err().to_string();
    assert!(nowhere.contains("/nowhere/tls.crt cannot be read"), "{nowhere}");
}

#[tokio::test]
async fn an_expired_certificate_is_recognised() {
    let (_folder, _tls, renewal) = opened(&pair(2020)).await;
    let loaded = read(&renewal.settings).await.unwrap();

    assert_eq!(renewal.reminded, Some(NOW), "said at the start");
    assert!(loaded.oddity(NOW).unwrap().contains("has expired"));
    assert!(loaded.oddity(0).unwrap().contains("not valid yet"));
}
