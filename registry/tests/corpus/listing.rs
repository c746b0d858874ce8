//! Listings of many names that share beginnings and have characters below the slash: in byte order, each once, none
//! left out, on pages of any size, from any place.

use crate::case::{Case, Category, Client, Expect, Surprise};
use crate::content::{EMPTY_INDEX, INDEX, put_manifest, sha256};
use crate::grammar::{encoded, is_name, is_tag};
use crate::random::Random;
use crate::server::Format;
use crate::wire::Request;
use std::collections::BTreeSet;
use std::sync::LazyLock;

const NAMES: usize = 10_000;
const REPOSITORIES: usize = 2_000;
const NAME: &str = "ab/listing";
const PUSHERS: usize = 8;
const WINDOWS: usize = 150;

/// Random names of six letters, three of them joints, that the grammar takes.
fn drawn(seed: u64, count: usize, alphabet: [char; 6], fits: fn(&str) -> bool) -> BTreeSet<String> {
    let mut random = Random::seeded(seed);
    let mut names = BTreeSet::new();
    while names.len() < count {
        let name = random.text(&alphabet, 1, 9);
        if fits(&name) {
            names.insert(name);
        }
    }
    names
}

static REPOSITORY_NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let mut names = drawn(8, REPOSITORIES - 1, ['a', 'b', '-', '.', '_', '/'], is_name);
    names.insert(NAME.to_owned());
    names
});

static TAGS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let mut tags = drawn(9, NAMES - REPOSITORIES - 1, ['a', 'B', '0', '-', '.', '_'], is_tag);
    // The one that every repository has.
    tags.insert("t".to_owned());
    tags
});

/// Pushes every name, several clients at a time.
fn prepare(client: &mut Client) -> Result<(), Surprise> {
    let repositories = REPOSITORY_NAMES
        .iter()
        .map(|name| put_manifest(name, "t", INDEX, EMPTY_INDEX));
    let tags: Vec<&String> = TAGS.iter().collect();
    let tags = tags.chunks(10).map(|ten| {
        let query: Vec<String> = ten.iter().map(|tag| format!("tag={tag}")).collect();
        let reference = format!("{}?{}", sha256(EMPTY_INDEX.as_bytes()), query.join("&"));
        put_manifest(NAME, &reference, INDEX, EMPTY_INDEX)
    });
    let all: Vec<Request> = repositories.chain(tags).collect();
    let start = |share: &[Request]| {
        let (mut beside, share) = (client.beside(), share.to_vec());
        std::thread::spawn(move || {
            share
                .iter()
                .try_for_each(|push| beside.ask(push, &Expect::status(201)).map(drop))
        })
    };
    let pushers: Vec<_> = all.chunks(all.len().div_ceil(PUSHERS)).map(start).collect();
    pushers
        .into_iter()
        .try_for_each(|pusher| pusher.join().map_err(|_panic| "a pusher died".to_owned())?)
}

/// A list and where it is.
#[derive(Clone, Copy, PartialEq)]
enum List {
    Catalog,
    Tags,
}

impl List {
    fn path(self) -> String {
        match self {
            Self::Catalog => "/v2/_catalog".to_owned(),
            Self::Tags => format!("/v2/{NAME}/tags/list"),
        }
    }

    fn names(self) -> &'static BTreeSet<String> {
        match self {
            Self::Catalog => &REPOSITORY_NAMES,
            Self::Tags => &TAGS,
        }
    }

    /// One page and the way to the next.
    fn page(self, client: &mut Client, target: &str) -> Result<(Vec<String>, Option<String>), Surprise> {
        let answer = client.ask(&Request::new("GET", target), &Expect::status(200))?;
        let body = answer.json().unwrap_or_default();
        let list = &body[if self == Self::Catalog { "repositories" } else { "tags" }];
        let names = list
            .as_array()
            .ok_or("no list")?
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned));
        let next = answer.header("link").map(|link| {
            link.strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""))
        });
        match next {
            Some(None) => Err(format!("link {:?}", answer.header("link"))),
            Some(Some(next)) => Ok((names.collect(), Some(next.to_owned()))),
            None => Ok((names.collect(), None)),
        }
    }
}

/// Every page of `n` names, one after another.
fn walk(list: List, n: Option<usize>) -> Case {
    let what = format!("{} by {n:?}", list.path());
    Case::play(what, move |client| {
        let mut target = list.path() + &n.map(|n| format!("?n={n}")).unwrap_or_default();
        let mut found = Vec::new();
        loop {
            let (page, next) = list.page(client, &target)?;
            if n.is_some_and(|n| page.len() > n || (next.is_some() && page.len() < n.min(1000))) {
                return Err(format!("a page of {}", page.len()));
            }
            found.extend(page);
            match next {
                Some(next) if found.len() < 2 * NAMES => target = next,
                _ => break,
            }
        }
        let names = list.names();
        let told = || format!("{} names instead of {}, or another order", found.len(), names.len());
        found.iter().eq(names).then_some(()).ok_or_else(told)
    })
}

/// One page from a place that may be no name at all.
fn window(list: List, seed: u64) -> Case {
    let mut random = Random::seeded(seed);
    let after = random.text(&['a', 'b', 'B', '0', '-', '.', '_', '/', '!', '~', 'é'], 0, 6);
    let n = *random.pick(&[1, 2, 10, 99]);
    Case::play(format!("{} after {after:?}", list.path()), move |client| {
        let (page, _) = list.page(
            client,
            &format!("{}?n={n}&last={}", list.path(), encoded(after.as_bytes())),
        )?;
        let right: Vec<&String> = list
            .names()
            .iter()
            .filter(|name| name.as_bytes() > after.as_bytes())
            .take(n)
            .collect();
        (page.iter().eq(right.iter().copied()))
            .then_some(())
            .ok_or_else(|| format!("{page:?} instead of {right:?}"))
    })
}

#[test]
fn ten_thousand_names_are_listed_in_byte_order_each_once() {
    let mut cases = Vec::new();
    for list in [List::Catalog, List::Tags] {
        cases.extend([None, Some(70), Some(100), Some(999), Some(10_000), Some(1_000_000)].map(|n| walk(list, n)));
        cases.extend((0..WINDOWS as u64).map(|seed| window(list, seed)));
    }
    // Ten thousand pushes are for one server.
    let formats = &[Format::Json];
    Category {
        prepare,
        formats,
        ..Category::new("names for listing", cases)
    }
    .hold();
}
