//! Random images, indexes and referrers: what a collection leaves is what the roots reach, no more and no less.

use super::world::{HOUR, World, hasty};
use crate::support::content::sha256;
use berth_registry::distribution::collect::{Event, Wanted};
use berth_registry::distribution::{Rules, Sparse};
use oci::{Digest, media_type};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::sync::mpsc::channel;

const REPOSITORIES: [&str; 2] = ["team/app", "other/deep/app"];
const MANIFESTS: usize = 30;

/// A manifest as the test knows it.
#[derive(Debug)]
struct Node {
    repository: usize,
    digest: Digest,
    children: Vec<Digest>,
    blobs: Vec<Digest>,
    subject: Option<Digest>,
    tags: BTreeSet<String>,
}

struct Graph {
    random: StdRng,
    nodes: Vec<Node>,
}

fn descriptor(media_type: &str, digest: &Digest, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

impl Graph {
    /// The content of a blob that many images share: the first is empty, the second the empty object.
    fn content(number: usize) -> Vec<u8> {
        match number {
            0 => Vec::new(),
            1 => b"{}".to_vec(),
            other => format!("blob {other}").into_bytes(),
        }
    }

    async fn grow(&mut self, world: &World) {
        for number in 0..MANIFESTS {
            let repository = self.random.random_range(0..REPOSITORIES.len());
            let others: Vec<Digest> = self.of(repository).map(|node| node.digest).collect();
            let lists = !others.is_empty() && self.random.random_bool(0.3);
            let (body, media_type, children, blobs) = if lists {
                self.index(number, &others)
            } else {
                self.image(world, repository, number).await
            };
            let (mut body, subject) = (body, self.subject(&others));
            if let Some(subject) = subject {
                body["subject"] = descriptor(media_type::OCI_MANIFEST, &subject, 2);
            }
            let tag = self
                .random
                .random_bool(0.4)
                .then(|| format!("t{}", self.random.random_range(0..6)));
            let body = body.to_string();
            let digest = world
                .push_manifest(REPOSITORIES[repository], tag.as_deref(), media_type, &body)
                .await;
            for node in self.nodes.iter_mut().filter(|node| node.repository == repository) {
                node.tags.retain(|other| Some(other) != tag.as_ref());
            }
            self.nodes.push(Node {
                repository,
                digest,
                children,
                blobs,
                subject,
                tags: tag.into_iter().collect(),
            });
        }
    }

    fn of(&self, repository: usize) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.repository == repository)
    }

    /// One that is there, one that is not, or none.
    fn subject(&mut self, others: &[Digest]) -> Option<Digest> {
        match self.random.random_range(0..6) {
            0 => others.choose(&mut self.random).copied(),
            1 => Some(sha256(b"never pushed")),
            _ => None,
        }
    }

    fn index(&mut self, number: usize, others: &[Digest]) -> (Value, &'static str, Vec<Digest>, Vec<Digest>) {
        let wanted = self.random.random_range(1..4);
        let children: Vec<Digest> = others.sample(&mut self.random, wanted).copied().collect();
        let docker = self.random.random_bool(0.3);
        let (list, listed) = if docker {
            (media_type::DOCKER_LIST, media_type::DOCKER_MANIFEST)
        } else {
            (media_type::OCI_INDEX, media_type::OCI_MANIFEST)
        };
        let mut entries: Vec<Value> = children.iter().map(|child| descriptor(listed, child, 2)).collect();
        // A child that was never pushed makes a sparse index.
        if self.random.random_bool(0.2) {
            entries.push(descriptor(listed, &sha256(format!("absent {number}").as_bytes()), 2));
        }
        let body = json!({"schemaVersion": 2, "mediaType": list, "manifests": entries,
            "annotations": {"number": number.to_string()}});
        (body, list, children, Vec::new())
    }

    async fn image(
        &mut self,
        world: &World,
        repository: usize,
        number: usize,
    ) -> (Value, &'static str, Vec<Digest>, Vec<Digest>) {
        let wanted = self.random.random_range(1..5);
        let mut chosen: Vec<usize> = (0..12).sample(&mut self.random, wanted);
        // The same blob as config and as layer.
        chosen.push(chosen[0]);
        let mut blobs = Vec::new();
        for number in chosen {
            blobs.push(world.push_blob(REPOSITORIES[repository], &Self::content(number)).await);
        }
        let docker = self.random.random_bool(0.3);
        let (manifest, config, layer) = if docker {
            (
                media_type::DOCKER_MANIFEST,
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            )
        } else {
            (
                media_type::OCI_MANIFEST,
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar",
            )
        };
        let layers: Vec<Value> = blobs[1..].iter().map(|blob| descriptor(layer, blob, 2)).collect();
        let body = json!({"schemaVersion": 2, "mediaType": manifest, "config": descriptor(config, &blobs[0], 2),
            "layers": layers, "annotations": {"number": number.to_string()}});
        (body, manifest, Vec::new(), blobs)
    }

    /// Deletes some tags and some manifests.
    async fn prune(&mut self, world: &World) {
        for node in &mut self.nodes {
            for tag in std::mem::take(&mut node.tags) {
                if self.random.random_bool(0.5) {
                    world.delete(REPOSITORIES[node.repository], &tag).await;
                } else {
                    node.tags.insert(tag);
                }
            }
        }
        for _ in 0..3 {
            let chosen = self.random.random_range(0..self.nodes.len());
            let node = self.nodes.remove(chosen);
            world.delete(REPOSITORIES[node.repository], node.digest).await;
            // An index that listed it is sparse now.
            for other in self
                .nodes
                .iter_mut()
                .filter(|other| other.repository == node.repository)
            {
                other.children.retain(|child| *child != node.digest);
            }
        }
    }

    /// What the tags reach: through indexes downwards, through subjects upwards.
    fn live(&self) -> BTreeSet<(usize, Digest)> {
        let mut live: BTreeSet<(usize, Digest)> = BTreeSet::new();
        loop {
            let before = live.len();
            for node in &self.nodes {
                let attached = node
                    .subject
                    .is_some_and(|subject| live.contains(&(node.repository, subject)));
                if !node.tags.is_empty() || attached || live.contains(&(node.repository, node.digest)) {
                    live.insert((node.repository, node.digest));
                    live.extend(node.children.iter().map(|child| (node.repository, *child)));
                }
            }
            if live.len() == before {
                return live;
            }
        }
    }
}

async fn foreseen(world: &World) -> Vec<(String, String, Option<String>)> {
    let (sender, mut receiver) = channel(1000);
    let wanted = Wanted { dry_run: true };
    let (totals, candidates) = tokio::join!(
        async {
            let totals = world.distribution.collect(wanted, 100, &sender).await.unwrap();
            drop(sender);
            totals
        },
        async {
            let mut candidates = Vec::new();
            while let Some(event) = receiver.recv().await {
                if let Event::WouldGo(candidate) = event {
                    candidates.push((candidate.kind, candidate.digest, candidate.repository));
                }
            }
            candidates
        }
    );
    assert_eq!(
        totals.manifests + totals.blob_links + totals.blobs,
        candidates.len() as u64
    );
    candidates
}

/// Rows of manifests, of links and of blobs.
async fn rows(world: &World) -> [usize; 3] {
    let count = async |sql| usize::try_from(world.count(sql).await).unwrap();
    [
        count("SELECT count(*) FROM manifests").await,
        count("SELECT count(*) FROM blob_links").await,
        count("SELECT count(*) FROM blobs").await,
    ]
}

async fn everything_is_collected(world: &World) {
    world.collect().await;
    world.reap().await;
    // What uploads of the same bytes have left behind waits for a minute.
    world.clock.advance(HOUR);
    world.reap().await;
}

/// Manifests and blobs are there or not, as the test says.
async fn compare(world: &World, graph: &Graph, live: &BTreeSet<(usize, Digest)>) {
    for node in &graph.nodes {
        let expected = live.contains(&(node.repository, node.digest));
        let there = world.has_manifest(REPOSITORIES[node.repository], node.digest).await;
        assert_eq!(there, expected, "{node:?}");
        for blob in node.blobs.iter().filter(|_| expected) {
            assert!(world.has_blob(REPOSITORIES[node.repository], *blob).await, "{blob}");
        }
    }
}

async fn collected_as_the_test_would(seed: u64) {
    let rules = Rules {
        sparse: Sparse::All,
        ..Rules::default()
    };
    let world = World::new(hasty(), rules).await;
    let mut graph = Graph {
        random: StdRng::seed_from_u64(seed),
        nodes: Vec::new(),
    };
    graph.grow(&world).await;
    graph.prune(&world).await;
    world.clock.advance(HOUR);
    let (live, before) = (graph.live(), rows(&world).await);

    let foreseen = foreseen(&world).await;
    assert_eq!(rows(&world).await, before, "a dry run changes nothing");
    everything_is_collected(&world).await;

    compare(&world, &graph, &live).await;
    let blobs = expected_blobs(&graph, &live);
    let distinct: BTreeSet<Digest> = blobs.iter().map(|(_, blob)| *blob).collect();
    let after = rows(&world).await;
    assert_eq!(after, [live.len(), blobs.len(), distinct.len()]);
    assert!(world.files().is_none_or(|files| files == distinct.len()));
    let gone = before.iter().sum::<usize>() - after.iter().sum::<usize>();
    assert_eq!(foreseen.len(), gone, "the dry run told of all that went");
    nothing_waits(&world).await;
}

/// The blobs of each repository that its live manifests name.
fn expected_blobs(graph: &Graph, live: &BTreeSet<(usize, Digest)>) -> BTreeSet<(usize, Digest)> {
    let mut blobs = BTreeSet::new();
    for node in &graph.nodes {
        if live.contains(&(node.repository, node.digest)) {
            blobs.extend(node.blobs.iter().map(|blob| (node.repository, *blob)));
        }
    }
    blobs
}

async fn nothing_waits(world: &World) {
    assert_eq!(world.count("SELECT count(*) FROM reviews").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM tombstones").await, 0);
}

#[tokio::test]
async fn a_collection_leaves_what_the_roots_reach_and_nothing_else() {
    for seed in 0..8 {
        println!("seed {seed}");
        Box::pin(collected_as_the_test_would(seed)).await;
    }
}
