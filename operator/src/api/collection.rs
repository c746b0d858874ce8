//! What a Registry does about deletion and garbage, who may use it, and what becomes of its images when it is deleted.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span::Span;

/// How garbage is collected. What is absent is as `docs/garbage-collection.md` says.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.enabled) || self.enabled || !(has(self.interval) || has(self.batch) || has(self.budget))")
        .message("pods do not collect garbage with gc.enabled false, so interval, batch and budget would have no effect: remove them, or remove enabled")
)]
pub struct Collection {
    /// Whether pods collect garbage while they serve. `false` where `berth-registry gc` does it. Absent: they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// How often a pod looks for garbage once it has done all that was due, from `100ms` to `1h`. Absent: `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,

    /// The most items of one transaction. Absent: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub batch: Option<i32>,

    /// What becomes of manifests without a tag: `Collect`, or `Keep` for clients that know digests. Absent: `Collect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untagged: Option<Untagged>,

    /// How long what may have become garbage is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delays: Option<Delays>,

    /// How long a layer stays for a client that was told that it need not upload it, from `1s` to `24h`. Absent: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,

    /// How long an object outlives its row: longer than a restored backup of the database is old. Absent: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Span>,

    /// How much all pods together collect in an hour. Absent: any amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// What becomes of manifests without a tag: `Collect`, or `Keep` for clients that know digests. Absent: `Collect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Untagged {
    /// They are collected.
    Collect,
    /// They stay.
    Keep,
}

/// How long what may have become garbage is left alone, by what happened to it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delays {
    /// Whatever happened, unless said otherwise. Absent: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Span>,
    /// A layer was uploaded or mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob_upload: Option<Span>,
    /// A manifest was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_upload: Option<Span>,
    /// A tag was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_switch: Option<Span>,
    /// A tag was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_delete: Option<Span>,
    /// A manifest was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_delete: Option<Span>,
    /// An index was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_list_delete: Option<Span>,
    /// A layer was deleted from a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob_unlink: Option<Span>,
}

/// How much is collected in an hour.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Manifests and layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_000_000_000_i64))]
    pub objects_per_hour: Option<i64>,

    /// Their bytes, such as `500GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 4, max = 16), regex(pattern = r"^[1-9][0-9]*(MiB|GiB)$"))]
    pub bytes_per_hour: Option<String>,
}

/// What clients may delete, and how long it can be brought back.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// How long a deleted tag or manifest can be restored, up to `365d`; it takes its space so long. Absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,

    /// Whether clients may delete tags. Absent: they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<bool>,

    /// Whether clients may delete manifests by their digests. Absent: they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<bool>,

    /// Whether clients may take a layer that no manifest names from a repository. Absent: they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<bool>,
}

/// What becomes of the volume that the operator claimed when the Registry is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays, and a Registry of the same name takes it up again.
    #[default]
    Retain,
    /// It is deleted with all images.
    Delete,
}

/// Who may use the registry. Today it has one kind; further kinds of authentication have their place here.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// `Open`: whoever reaches the registry may push, pull and delete.
    pub kind: AuthKind,
}

/// How users are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthKind {
    /// Not at all.
    Open,
}
