//! More of what goes wrong between the registry and its bucket (`faults.rs` has the first half): refusals, lost and late
//! requests, flipped bits, names that are missing or wrong, stale answers, listings that lie, a slow line.

use crate::support::content::{bytes, sha256};
use crate::support::objects::{Objects, append_to};
use crate::support::proxy::{Call, Fault, Proxy, registry_behind_a_proxy};
use crate::support::stores::{count, execute};
use crate::support::{TestRegistry, header};
use berth_registry::blobs::{BlobStore, Options, keys};
use berth_registry::clock::Clock;
use berth_registry::config::Storage;
use berth_registry::distribution::scrub::DeleteUnknown;
use berth_registry::distribution::{Distribution, Limits, Rules};
use berth_registry::server::scrub::{Event, Report, Scrub, Verify, scrub};
use berth_registry::server::store_target;
use futures::future::select;
use oci::Digest;
use reqwest::{Method, Response, StatusCode};
use std::time::Duration;
use tokio::sync::mpsc::channel;
use uuid::Uuid;

const REPOSITORY: &str = "team/app";
const SMALL: usize = 100_000;
const LARGE: usize = 19 * 1024 * 1024;
const ALWAYS: usize = 1000;
const STORING: [(Call, usize); 3] = [(Call::Put, SMALL), (Call::Part, LARGE), (Call::Complete, LARGE)];

async fn push(registry: &TestRegistry, upload: &str, content: &[u8]) -> Response {
    let path = format!("{upload}?digest={}", sha256(content));
    let request = registry.request(Method::PUT, &path).body(content.to_vec());
    request.send().await.unwrap()
}

fn blob(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}

async fn holds(registry: &TestRegistry, content: &[u8]) {
    let answer = registry.get(&blob(&sha256(content))).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.unwrap() == content);
}

/// 503 while the store refuses, whatever it says; afterwards the same session goes on.
async fn refused_and_then_taken(statuses: &[u16]) {
    let (registry, proxy) = registry_behind_a_proxy().await;
    for (seed, status) in (0..).zip(statuses) {
        let (call, size) = STORING[usize::try_from(seed).unwrap() % STORING.len()];
        let content = bytes(seed, size);
        let upload = registry.open_upload(REPOSITORY).await;
        proxy.plan(call, Fault::Says(*status), ALWAYS);

        let refused = push(&registry, &upload, &content).await;

        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{call:?} {status}");
        assert!(!header(&refused, "retry-after").is_empty());
        proxy.mend();
        assert_eq!(push(&registry, &upload, &content).await.status(), StatusCode::CREATED);
        holds(&registry, &content).await;
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_our_fault_and_not_the_clients() {
    refused_and_then_taken(&[403, 401, 403]).await;
}

#[tokio::test]
async fn a_bucket_that_is_full_is_503_and_has_room_again_later() {
    refused_and_then_taken(&[507, 507, 507]).await;
}

#[tokio::test]
async fn a_store_that_throttles_or_fails_now_and_then_fails_no_push() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    for (seed, status) in (0..).zip([429, 500, 502, 503, 504, 500]) {
        let (call, size) = STORING[usize::try_from(seed).unwrap() % STORING.len()];
        let content = bytes(seed, size);
        let upload = registry.open_upload(REPOSITORY).await;
        proxy.plan(call, Fault::Says(status), 2);

        let pushed = push(&registry, &upload, &content).await;

        assert_eq!(pushed.status(), StatusCode::CREATED, "{call:?} {status}");
        proxy.all_went_wrong();
        holds(&registry, &content).await;
    }
}

#[tokio::test]
async fn a_client_that_gives_up_on_a_silent_store_can_push_again_at_once() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    let calls = [Fault::Held, Fault::ReplyHeld].map(|fault| STORING.map(|(call, size)| (fault, call, size)));
    for (seed, (fault, call, size)) in (0..).zip(calls.concat()) {
        let content = bytes(seed, size);
        let upload = registry.open_upload(REPOSITORY).await;
        proxy.plan(call, fault, 1);
        let first = Box::pin(push(&registry, &upload, &content));
        // The first is dropped when the request has got to the proxy, and before there is a reply.
        drop(select(first, Box::pin(proxy.holds_a_reply())).await);

        // Where the body was not read to its end, the server does not see that the client has gone: the session is still
        // taken, and another one is not.
        let again = push(&registry, &upload, &content).await;
        if again.status() != StatusCode::CREATED {
            assert_eq!(again.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{fault:?} {call:?}");
            registry.push_blob(REPOSITORY, &content).await;
        }
        holds(&registry, &content).await;
    }
}

#[tokio::test]
async fn a_bit_that_flips_on_its_way_into_the_store_makes_no_blob_or_is_found() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    for (seed, (call, size)) in (0..).zip(&STORING[..2]) {
        let content = bytes(seed, *size);
        let upload = registry.open_upload(REPOSITORY).await;
        proxy.plan(*call, Fault::BitFlipped, ALWAYS);

        let pushed = push(&registry, &upload, &content).await;

        proxy.mend();
        if matches!(registry.config.storage, Storage::S3(_)) {
            assert_eq!(pushed.status(), StatusCode::SERVICE_UNAVAILABLE, "{call:?}");
            assert_eq!(push(&registry, &upload, &content).await.status(), StatusCode::CREATED);
        } else {
            // Only requests to S3 carry a sum of their body. Elsewhere TLS is what protects it; a scrub finds it.
            execute(&registry.config, "UPDATE blobs SET created_at = 1").await;
            let thorough = Scrub {
                verify: Some(Verify::default()),
                force: true,
                ..Scrub::default()
            };
            assert_eq!(scrubbed(&registry, &thorough).await.corrupt, 1, "{call:?}");
            registry.push_blob(REPOSITORY, &content).await;
        }
        holds(&registry, &content).await;
    }
}

#[tokio::test]
async fn a_part_without_a_name_or_with_a_wrong_one_never_makes_a_blob_of_other_bytes() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    for (seed, fault) in (0..).zip([Fault::NoEtag, Fault::WrongEtag]) {
        let content = bytes(seed, LARGE);
        let upload = registry.open_upload(REPOSITORY).await;
        proxy.plan(Call::Part, fault, ALWAYS);

        let pushed = push(&registry, &upload, &content).await;

        proxy.mend();
        if pushed.status() != StatusCode::CREATED {
            assert_eq!(pushed.status(), StatusCode::SERVICE_UNAVAILABLE, "{fault:?}");
            registry.push_blob(REPOSITORY, &content).await;
        }
        holds(&registry, &content).await;
    }
}

#[tokio::test]
async fn an_error_that_comes_with_bytes_is_an_error() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    let content = bytes(1, SMALL);
    let digest = registry.push_blob(REPOSITORY, &content).await;

    proxy.plan(Call::Read, Fault::ErrorWithBytes, ALWAYS);
    let failed = registry.get(&blob(&digest)).await;
    proxy.mend();

    assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
    holds(&registry, &content).await;
}

#[tokio::test]
async fn an_object_that_the_store_does_not_show_yet_is_503_and_is_not_taken_for_lost() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    let content = bytes(1, SMALL);
    let digest = registry.push_blob(REPOSITORY, &content).await;
    proxy.plan(Call::Read, Fault::NotFound, ALWAYS);
    proxy.plan(Call::Head, Fault::NotFound, ALWAYS);

    let stale = registry.get(&blob(&digest)).await;
    let upload = registry.open_upload(REPOSITORY).await;
    let unproved = push(&registry, &upload, b"other").await;
    proxy.mend();

    assert_eq!(stale.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unproved.status(), StatusCode::SERVICE_UNAVAILABLE);
    holds(&registry, &content).await;
    assert_eq!(push(&registry, &upload, b"other").await.status(), StatusCode::CREATED);
    // The server that met it is done with looking at it when it has stopped.
    let config = registry.config.clone();
    let _folder = registry.stop_and_keep().await;
    assert_eq!(
        count(&config, "SELECT count(*) FROM blobs WHERE corrupt_at IS NOT NULL").await,
        0
    );
}

#[tokio::test]
async fn a_write_that_arrives_late_harms_nothing_and_is_found() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    let content = bytes(1, SMALL);
    let upload = registry.open_upload(REPOSITORY).await;
    proxy.plan(Call::Put, Fault::Late, ALWAYS);
    assert_eq!(
        push(&registry, &upload, &content).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    proxy.mend();
    assert_eq!(push(&registry, &upload, &content).await.status(), StatusCode::CREATED);
    // Forgotten long ago, its objects deleted: and only now the first requests get there.
    execute(&registry.config, "DELETE FROM tombstones").await;
    execute(&registry.config, "DELETE FROM upload_sessions").await;

    let delivered = proxy.deliver_late().await;

    assert!(delivered.iter().all(StatusCode::is_success), "{delivered:?}");
    holds(&registry, &content).await;
    let report = scrubbed(&registry, &Scrub::default()).await;
    assert_eq!((report.blobs, report.missing, report.corrupt), (1, 0, 0));
    assert_eq!((report.objects, report.unknown), (2, 1));
}

async fn scrubbed(registry: &TestRegistry, wanted: &Scrub) -> Report {
    let mut config = registry.config.clone();
    config.admin.listen = registry.server().admin;
    let (sender, _receiver) = channel::<Event>(1000);
    scrub(&config, wanted, &sender).await.unwrap()
}

#[tokio::test]
async fn a_listing_that_lacks_objects_marks_and_deletes_nothing() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    for seed in 0..5 {
        registry.push_blob(REPOSITORY, &bytes(seed, 1000)).await;
    }
    execute(&registry.config, "UPDATE blobs SET created_at = 1").await;
    proxy.plan(Call::List, Fault::EmptyList, ALWAYS);

    let report = scrubbed(&registry, &Scrub::default()).await;

    assert_eq!((report.blobs, report.missing, report.marked), (5, 0, 0));
    assert_eq!(report.objects, 0);
    proxy.mend();
    assert!(scrubbed(&registry, &Scrub::default()).await.is_clean());
}

#[tokio::test]
async fn a_listing_with_objects_twice_in_another_order_or_without_some_deletes_nothing_that_has_a_row() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    for seed in 0..5 {
        registry.push_blob(REPOSITORY, &bytes(seed, 1000)).await;
    }
    let objects = Objects::open(&registry.config).await;
    let clock = Clock::standing_at(Clock::default().now());
    // Every object is old.
    clock.advance(Duration::from_hours(24 * 30));
    let (limits, rules) = (Limits::default(), Rules::default());
    let late = Distribution::new(objects.metadata.clone(), objects.store.clone(), clock, limits, rules);
    let wanted = Scrub {
        delete: Some(DeleteUnknown {
            older_than: Duration::from_hours(24 * 7),
            objects: 100,
            bytes: 1_000_000,
        }),
        force: true,
        ..Scrub::default()
    };
    for fault in [Fault::ListTwice, Fault::ListHalved] {
        proxy.plan(Call::List, fault, ALWAYS);
        let (sender, _receiver) = channel::<Event>(1000);

        let report = late.scrub(&wanted, &sender).await.unwrap();

        assert_eq!((report.missing, report.marked, report.deleted), (0, 0, 0), "{fault:?}");
        proxy.mend();
    }
    for seed in 0..5 {
        holds(&registry, &bytes(seed, 1000)).await;
    }
}

#[tokio::test]
async fn a_store_whose_clock_is_not_ours_is_named_as_that() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    let content = bytes(1, SMALL);
    let upload = registry.open_upload(REPOSITORY).await;
    proxy.plan(Call::Put, Fault::Skewed, ALWAYS);
    proxy.plan(Call::List, Fault::Skewed, ALWAYS);

    let refused = push(&registry, &upload, &content).await;
    let opened = BlobStore::open(&store_target(&registry.config.storage), &Options::default()).await;

    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let told = opened.unwrap_err().to_string();
    assert!(told.contains("clock") && told.contains("NTP"), "{told}");
    proxy.mend();
    assert_eq!(push(&registry, &upload, &content).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_deletion_that_fails_is_told_and_tried_again() {
    let (registry, proxy): (TestRegistry, Proxy) = registry_behind_a_proxy().await;
    let objects = Objects::open(&registry.config).await;
    let key = keys::of_upload(Uuid::new_v4());
    append_to(&objects.store, &key, b"garbage").await;
    let mut refusals = vec![Fault::Says(403), Fault::Says(500)];
    if matches!(registry.config.storage, Storage::S3(_)) {
        refusals.push(Fault::EachRefused);
    }
    for refusal in refusals {
        proxy.plan(Call::Delete, refusal, ALWAYS);
        assert!(objects.store.delete(&key).await.is_err(), "{refusal:?}");
        proxy.mend();
        assert_eq!(objects.store.size(&key).await.unwrap(), Some(7));
    }
    // The store does it, and nobody hears of it: done all the same.
    proxy.plan(Call::Delete, Fault::ReplyLost, 1);

    objects.store.delete(&key).await.unwrap();

    proxy.all_went_wrong();
    assert_eq!(objects.store.size(&key).await.unwrap(), None);
}

#[tokio::test]
async fn an_upload_whose_parts_the_store_does_not_give_up_is_aborted_later() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    if matches!(registry.config.storage, Storage::Azure(_)) {
        // Azure has no such call: blocks that no list names go by themselves.
        return;
    }
    let upload = registry.open_upload(REPOSITORY).await;
    let begun = registry.request(Method::PATCH, &upload).body(bytes(1, LARGE));
    assert_eq!(begun.send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(registry.delete(&upload).await.status(), StatusCode::NO_CONTENT);
    // The server's own collector is too early for it.
    let objects = Objects::open(&registry.config).await;
    let clock = Clock::standing_at(Clock::default().now());
    clock.advance(Duration::from_hours(24 * 30));
    let (limits, rules) = (Limits::default(), Rules::default());
    let late = Distribution::new(
        objects.metadata.clone(),
        objects.store.clone(),
        clock.clone(),
        limits,
        rules,
    );
    proxy.plan(Call::Abort, Fault::Says(403), ALWAYS);

    let refused = late.reap(100).await.unwrap();

    let multiparts = "SELECT count(*) FROM tombstones WHERE multipart_id IS NOT NULL AND attempts = 1";
    assert!(refused.errors > 0, "{refused:?}");
    assert_eq!(count(&registry.config, multiparts).await, 1);
    assert_eq!(proxy.obeyed(Call::Abort), 0);
    proxy.mend();
    clock.advance(Duration::from_hours(1));
    assert_eq!(late.reap(100).await.unwrap().errors, 0);
    assert_eq!(proxy.obeyed(Call::Abort), 1);
    assert_eq!(count(&registry.config, "SELECT count(*) FROM tombstones").await, 0);
}

#[tokio::test]
async fn a_slow_line_is_waited_for() {
    let (registry, proxy) = registry_behind_a_proxy().await;
    let content = bytes(1, 300_000);
    registry.push_blob(REPOSITORY, &content).await;

    proxy.plan(Call::Read, Fault::Slow, 1);

    holds(&registry, &content).await;
    proxy.all_went_wrong();
}
