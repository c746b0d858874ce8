//! How garbage is collected, as the settings say.

use super::values::Values;
use std::time::Duration;

/// Collection of garbage.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Whether this server does it while it serves.
    pub enabled: bool,
    /// How often it looks, once everything is done.
    pub interval: Duration,
    /// The most items of a transaction.
    pub batch: u32,
    /// Whether manifests without a tag stay.
    pub keep_untagged: bool,
    /// How long what may be garbage is left alone.
    pub delays: Delays,
    /// How long a client may rely on "you need not upload this".
    pub lease: Duration,
    /// How long an object outlives its row.
    pub quarantine: Duration,
    /// Manifests and blobs that may go in an hour.
    pub objects_per_hour: Option<u64>,
    /// Their bytes.
    pub bytes_per_hour: Option<u64>,
}

/// Delays by what happened.
#[derive(Debug, Clone, Copy)]
pub struct Delays {
    /// A blob was uploaded or mounted.
    pub blob_upload: Duration,
    /// A manifest was pushed.
    pub manifest_upload: Duration,
    /// A tag was moved.
    pub tag_switch: Duration,
    /// A tag was deleted.
    pub tag_delete: Duration,
    /// A manifest was deleted.
    pub manifest_delete: Duration,
    /// An index was deleted.
    pub manifest_list_delete: Duration,
    /// A blob was deleted from a repository.
    pub blob_unlink: Duration,
}

pub(super) fn collection(values: &Values) -> Collection {
    Collection {
        enabled: values.switch("gc.enabled"),
        interval: values.duration("gc.interval"),
        batch: values.number("gc.batch"),
        keep_untagged: values.text("gc.untagged").as_deref() == Some("keep"),
        delays: Delays {
            blob_upload: delay(values, "gc.delays.blob_upload"),
            manifest_upload: delay(values, "gc.delays.manifest_upload"),
            tag_switch: delay(values, "gc.delays.tag_switch"),
            tag_delete: delay(values, "gc.delays.tag_delete"),
            manifest_delete: delay(values, "gc.delays.manifest_delete"),
            manifest_list_delete: delay(values, "gc.delays.manifest_list_delete"),
            blob_unlink: delay(values, "gc.delays.blob_unlink"),
        },
        lease: values.duration("gc.lease"),
        quarantine: values.duration("gc.quarantine"),
        objects_per_hour: values
            .text("gc.budget.objects_per_hour")
            .and_then(|text| text.parse().ok()),
        bytes_per_hour: values.optional_bytes("gc.budget.bytes_per_hour"),
    }
}

/// One that is not given is the default for all.
fn delay(values: &Values, path: &str) -> Duration {
    let given = if values.text(path).is_some() {
        path
    } else {
        "gc.delays.default"
    };
    values.duration(given)
}
