//! The power goes: what was synced is there, and of the rest nothing, or any part.
//!
//! A shim before the C library (`shim.c`) writes down what a server changes on its disk. From that a disk is made as it may
//! be found after a loss of power at a place in the journal: a file has the bytes that were there at its last sync, a folder
//! the names; in every second case chance adds some of what was never synced. A server on it must serve what was
//! acknowledged before that place.

#![expect(clippy::panic, reason = "a test's tool stops where it fails")]

use crate::serve::program;
use crate::server::Disk;
use crate::shim::{self, Shim};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const BLOB: usize = 60_000;
const IMAGES: u64 = 6;

/// One change, as the shim wrote it down.
struct Change {
    kind: u8,
    path: PathBuf,
    at: usize,
    bytes: Vec<u8>,
}

/// Reads one record, and where the next one begins; `None` at the end, or where the last one is cut off.
fn change(journal: &[u8], from: usize) -> Option<(Change, usize)> {
    let mut at = from;
    let mut take = |length: usize| {
        let taken = journal.get(at..at + length)?;
        at += length;
        Some(taken)
    };
    let kind = take(1)?[0];
    let place = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let named = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let path = PathBuf::from(String::from_utf8(take(named as usize)?.to_vec()).ok()?);
    let length = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let bytes = take(length as usize)?.to_vec();
    let at_place = usize::try_from(place).ok()?;
    Some((
        Change {
            kind,
            path,
            at: at_place,
            bytes,
        },
        at,
    ))
}

/// What a file has, and what of it is on the disk.
#[derive(Default)]
struct Contents {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Changes since the last sync.
    loose: Vec<(usize, Option<Vec<u8>>)>,
}

fn apply(to: &mut Vec<u8>, at: usize, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            to.resize(to.len().max(at + bytes.len()), 0);
            to[at..at + bytes.len()].copy_from_slice(bytes);
        }
        None => to.resize(at, 0),
    }
}

/// What a name stands for: a folder, or the contents with this number.
#[derive(Clone, Copy)]
enum Node {
    Folder,
    File(usize),
}

type Names = BTreeMap<PathBuf, Node>;

/// A disk with what is in the system's memory.
#[derive(Default)]
struct Model {
    contents: Vec<Contents>,
    now: Names,
    synced: Names,
    /// What was done in each folder since its last sync: the name, and what it stands for afterwards.
    loose: BTreeMap<PathBuf, Vec<(PathBuf, Option<Node>)>>,
}

impl Model {
    fn name(&mut self, path: &Path, stands_for: Option<Node>) {
        put(&mut self.now, path, stands_for);
        let folder = path.parent().unwrap().to_path_buf();
        let loose = self.loose.entry(folder).or_default();
        loose.push((path.to_path_buf(), stands_for));
    }

    fn file(&mut self, path: &Path) -> &mut Contents {
        let Node::File(number) = self.now[path] else {
            panic!("{} is a folder", path.display());
        };
        &mut self.contents[number]
    }

    fn take(&mut self, change: Change) {
        let Change { kind, path, at, bytes } = change;
        match kind {
            b'C' => {
                self.contents.push(Contents::default());
                self.name(&path, Some(Node::File(self.contents.len() - 1)));
            }
            b'D' => self.name(&path, Some(Node::Folder)),
            b'W' | b'T' => {
                let bytes = (kind == b'W').then_some(bytes);
                let file = self.file(&path);
                apply(&mut file.now, at, bytes.as_deref());
                file.loose.push((at, bytes));
            }
            b'S' => self.sync(&path),
            b'R' | b'L' => {
                let stands_for = self.now[&path];
                let to = PathBuf::from(String::from_utf8(bytes).unwrap());
                self.name(&to, Some(stands_for));
                if kind == b'R' {
                    self.name(&path, None);
                }
            }
            b'U' => self.name(&path, None),
            unknown => panic!("{unknown} is no change"),
        }
    }

    fn sync(&mut self, path: &Path) {
        if let Some(Node::File(number)) = self.now.get(path) {
            let file = &mut self.contents[*number];
            file.synced.clone_from(&file.now);
            file.loose.clear();
            return;
        }
        for (path, stands_for) in self.loose.remove(path).unwrap_or_default() {
            put(&mut self.synced, &path, stands_for);
        }
    }

    /// Adds to what is synced: the first few names of each folder, and of each file any writes.
    fn keep_some(&mut self, chance: &mut Chance) {
        for changes in self.loose.values() {
            let kept = chance.below(changes.len() + 1);
            for (path, stands_for) in &changes[..kept] {
                put(&mut self.synced, path, *stands_for);
            }
        }
        for file in &mut self.contents {
            let loose = std::mem::take(&mut file.loose);
            let kept = loose.iter().filter(|_| chance.below(2) == 0);
            kept.for_each(|(at, bytes)| apply(&mut file.synced, *at, bytes.as_deref()));
        }
    }

    /// What is on the disk, and with `chance` a part of what is not synced.
    fn lay_down(mut self, from: &Path, to: &Path, mut chance: Option<Chance>) {
        if let Some(chance) = &mut chance {
            self.keep_some(chance);
        }
        let mut folders = BTreeSet::from([from.to_path_buf()]);
        for (path, stands_for) in &self.synced {
            // A name in a folder that has none itself cannot be found.
            if !folders.contains(path.parent().unwrap()) {
                continue;
            }
            let place = to.join(path.strip_prefix(from).unwrap());
            match stands_for {
                Node::Folder => {
                    std::fs::create_dir(&place).unwrap();
                    folders.insert(path.clone());
                }
                // Memory that processes share does not outlive them.
                Node::File(_) if path.to_string_lossy().ends_with("-shm") => {}
                Node::File(number) => std::fs::write(&place, &self.contents[*number].synced).unwrap(),
            }
        }
    }
}

fn put(names: &mut Names, path: &Path, stands_for: Option<Node>) {
    match stands_for {
        Some(stands_for) => drop(names.insert(path.to_path_buf(), stands_for)),
        None => drop(names.remove(path)),
    }
}

/// Numbers that are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// The disk as it may be when the power goes with this much of the journal written; gives the number of changes.
fn disk_at(journal: &[u8], from: &Path, to: &Path, chance: Option<Chance>) -> usize {
    let (mut model, mut at, mut changes) = (Model::default(), 0, 0);
    while let Some((change, next)) = change(journal, at) {
        model.take(change);
        (at, changes) = (next, changes + 1);
    }
    model.lay_down(from, to, chance);
    changes
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_loss_of_power() {
    let (folder, library) = (tempfile::tempdir().unwrap(), shim::build());
    let (before, journal) = (folder.path().join("before"), folder.path().join("journal"));
    std::fs::create_dir(&before).unwrap();
    let data = before.join("data");
    let shim = Shim {
        library: &library.path().join("shim.so"),
        root: &before,
    };
    let mut disk = Disk::start(&data, &mut shim.writing_to(&journal, program(&data, &["serve"])));
    // How much was written when how much had been acknowledged.
    let mut places = Vec::new();
    for seed in 0..IMAGES {
        let before = std::fs::metadata(&journal).unwrap().len();
        let promised = disk.promised();
        assert!(disk.push_image(seed, BLOB).await.is_some());
        let after = std::fs::metadata(&journal).unwrap().len();
        let between = Chance(seed + 1).below(usize::try_from(after - before).unwrap()) as u64;
        places.extend([(before + between, promised), (after, disk.promised())]);
    }
    let written = std::fs::read(&journal).unwrap();
    for (case, (place, promised)) in places.into_iter().enumerate() {
        for chance in [None, Some(Chance(case as u64 + 77))] {
            let to = folder.path().join("after");
            std::fs::create_dir(&to).unwrap();
            let place = usize::try_from(place).unwrap();
            assert!(
                disk_at(&written[..place], &before, &to, chance) > 260,
                "the journal is whole"
            );

            let found = Disk::start(&to.join("data"), &mut program(&to.join("data"), &["serve"]));

            found.serves(&promised).await;
            drop(found);
            std::fs::remove_dir_all(&to).unwrap();
        }
    }
}
