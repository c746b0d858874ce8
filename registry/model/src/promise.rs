//! What must hold at every moment.

use crate::client::Client;
use crate::collector::{Collector, Reaper};
use crate::rows::{Blob, KEYS, Link, Manifest, Rows, Session, Set, Subject};
use crate::state::{Protocol, State};

/// A property and its name.
pub type Promise = (&'static str, fn(&Protocol, &State) -> bool);

/// All of them.
pub const ALL: &[Promise] = &[
    ("N1 what was acknowledged can be pulled whole", acknowledged_is_whole),
    ("N2 the object of every blob is there", objects_are_there),
    ("I1 what a manifest names is there", references_hold),
    ("I3 every object is known to a row", objects_are_known),
    ("I4 what nothing refers to has a review", garbage_is_reviewed),
    (
        "I5 who was promised a blob is not told that it is unknown",
        words_are_kept,
    ),
    ("I6 what was deleted can be restored whole", deletions_can_be_undone),
    ("I7 what refers to an image stays as long as that", referrers_stay),
    ("N3 at rest nothing is left over", rest_is_clean),
];

/// What must come about in some scenario: else the others would hold because nothing happens.
pub const COMES_ABOUT: &[Promise] = &[
    ("every client is through with its script", |_, state| {
        state.clients.iter().all(|client| *client == Client::Done)
    }),
    ("the object of the start is deleted", |_, state| !state.store.has(0_u8)),
    ("a blob is back under another key", |_, state| {
        state.rows.blobs[0].is_some_and(|key| key != 0) && !state.store.has(0_u8)
    }),
    ("an index is tagged", |_, state| state.rows.tagged(Manifest::Index)),
    (
        "a copy took the database's place, and an object has gone since",
        |_, state| state.rolled_back && !state.store.has(0_u8),
    ),
    ("a signature is there and its image is not", |_, state| {
        state.rows.manifests.has(Manifest::Signature) && !state.rows.manifests.has(Manifest::Image)
    }),
    ("a deletion is undone", |protocol, state| {
        let has_restored = state.clients[0] == Client::At { operation: 2, step: 0 };
        let nobody_pushed = state.rows.sessions == <[Session; KEYS.len()]>::default();
        protocol.scenario.retention && has_restored && nobody_pushed && state.rows.tagged(Manifest::Image)
    }),
    ("everything is at rest and empty", |_, state| {
        state.store == Set::default() && state.rows.blobs == [None, None]
    }),
];

fn acknowledged_is_whole(protocol: &Protocol, state: &State) -> bool {
    let rows = &state.rows;
    rows.acknowledged == rows.tags
        && rows
            .tags
            .into_iter()
            .flatten()
            .all(|manifest| is_whole(protocol, state, manifest))
}

fn is_whole(protocol: &Protocol, state: &State, manifest: Manifest) -> bool {
    let rows = &state.rows;
    let complete = match manifest {
        Manifest::Image => image_is_whole(protocol, state),
        Manifest::Signature => true,
        Manifest::Index if rows.sparse => true,
        Manifest::Index => rows.manifests.has(Manifest::Image) && image_is_whole(protocol, state),
    };
    rows.manifests.has(manifest) && complete
}

fn image_is_whole(protocol: &Protocol, state: &State) -> bool {
    let mut named = Link::ALL.into_iter().filter(|link| protocol.scenario.image.has(*link));
    named.all(|link| state.rows.links.has(link) && bytes_are_there(state, link.blob()))
}

fn bytes_are_there(state: &State, blob: Blob) -> bool {
    let key = state.rows.blobs[blob as usize];
    key.is_some_and(|key| state.store.has(key))
}

fn objects_are_there(_: &Protocol, state: &State) -> bool {
    let mut rows = Blob::ALL
        .into_iter()
        .filter(|blob| state.rows.exists(Subject::Blob(*blob)));
    rows.all(|blob| bytes_are_there(state, blob))
}

fn references_hold(protocol: &Protocol, state: &State) -> bool {
    let mut manifests = Manifest::ALL
        .into_iter()
        .filter(|manifest| state.rows.manifests.has(*manifest));
    manifests.all(|manifest| is_whole(protocol, state, manifest))
}

/// A rollback makes objects unknown whose rows were not copied: they are the scrub's.
fn objects_are_known(_: &Protocol, state: &State) -> bool {
    state.rolled_back
        || KEYS
            .into_iter()
            .all(|key| !state.store.has(key) || state.rows.knows(key))
}

fn garbage_is_reviewed(protocol: &Protocol, state: &State) -> bool {
    let collecting = state.collectors.iter().any(|collector| *collector != Collector::Idle);
    if collecting || state.clients.iter().any(|client| client.is_active()) {
        return true;
    }
    let rows = &state.rows;
    let mut there = Subject::ALL.into_iter().filter(|subject| rows.exists(*subject));
    there.all(|subject| {
        let retained = matches!(subject, Subject::Manifest(manifest) if rows.hidden.has(manifest));
        retained
            || rows.attached(subject)
            || rows.referenced(subject, protocol.scenario.image)
            || rows.reviews.has(subject)
    })
}

fn referrers_stay(_: &Protocol, state: &State) -> bool {
    !state.rows.signed || state.rows.manifests.has(Manifest::Signature)
}

fn deletions_can_be_undone(protocol: &Protocol, state: &State) -> bool {
    let rows = &state.rows;
    let hidden = Manifest::ALL.into_iter().filter(|manifest| rows.hidden.has(*manifest));
    let lost = rows.lost.into_iter().flatten();
    hidden.chain(lost).all(|manifest| is_whole(protocol, state, manifest))
}

fn words_are_kept(_: &Protocol, state: &State) -> bool {
    !state.clients.contains(&Client::Deceived)
}

fn rest_is_clean(protocol: &Protocol, state: &State) -> bool {
    let at_rest = state.clients.iter().all(|client| !client.is_active())
        && state.collectors.iter().all(|collector| *collector == Collector::Idle)
        && state.reapers.iter().all(|reaper| *reaper == Reaper::Idle)
        && nothing_is_due(&state.rows);
    if !at_rest || state.rolled_back {
        return true;
    }
    let rows = &state.rows;
    let mut there = Subject::ALL.into_iter().filter(|subject| rows.exists(*subject));
    let known = rows
        .blobs
        .iter()
        .flatten()
        .fold(Set::default(), |all, key| all.with(*key));
    there.all(|subject| rows.attached(subject) || rows.referenced(subject, protocol.scenario.image))
        && state.store == known
}

fn nothing_is_due(rows: &Rows) -> bool {
    let retained = !rows.hidden.is_empty() || rows.lost != [None, None];
    !retained && rows.reviews.is_empty() && rows.tombstones.is_empty() && !rows.sessions.contains(&Session::Open)
}
