//! Killed at each call that makes bytes or names durable, one after the other, through a whole push with its tag and an
//! upload that is given up.

use crate::serve::program;
use crate::server::Disk;
use crate::shim::{self, Shim};
use std::path::Path;

/// What nothing refers to goes with the first look.
const AT_ONCE: [(&str, &str); 3] = [
    ("BERTH_GC_DELAYS_DEFAULT", "0s"),
    ("BERTH_GC_QUARANTINE", "0s"),
    ("BERTH_GC_LEASE", "1s"),
];
const BLOB: usize = 60_000;
/// More calls than a start and a push make.
const MOST: u32 = 100;

/// Nothing that has to be is missing or damaged, before and after the garbage is collected.
fn is_sound(data: &Path) {
    for arguments in [["scrub", "--verify"], ["gc", "--once"], ["scrub", "--verify"]] {
        let mut command = program(data, &arguments);
        let ran = command.envs(AT_ONCE).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stdout);
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{arguments:?}: {told}{errors}");
    }
}

#[tokio::test]
async fn killed_at_each_call_that_makes_something_durable_the_server_keeps_what_it_acknowledged() {
    let (folder, library) = (tempfile::tempdir().unwrap(), shim::build());
    let data = folder.path().join("data");
    let shim = Shim {
        library: &library.path().join("shim.so"),
        root: folder.path(),
    };
    let mut disk = Disk::start(&data, &mut program(&data, &["serve"]));
    assert!(disk.push_image(0, BLOB).await.is_some());
    disk.serve.signal("TERM");
    disk.serve.ends();
    let (mut promised, mut killed) = (disk.promised(), 0);
    for call in 1..MOST {
        let mut whole = false;
        let started = Disk::try_start(&data, &mut shim.killing_at(call, program(&data, &["serve"])));
        if let Ok(mut disk) = started {
            disk.expect(promised.clone());
            whole = disk.push_image(call.into(), BLOB).await.is_some() && disk.give_up_an_upload(BLOB).await.is_some();
            promised = disk.promised();
            disk.serve.signal("KILL");
            disk.serve.ends();
        }
        let mut after = Disk::start(&data, &mut program(&data, &["serve"]));
        after.serves(&promised).await;
        after.serve.signal("TERM");
        after.serve.ends();
        if whole {
            break;
        }
        killed += 1;
    }
    assert!((10..MOST - 1).contains(&killed), "{killed} calls");
    is_sound(&data);
    Disk::start(&data, &mut program(&data, &["serve"]))
        .serves(&promised)
        .await;
}
