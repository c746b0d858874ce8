//! What a user may say about when a roll-out may start.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::span::Span;

/// When a roll-out must wait.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockSettings {
    /// Name of the lock: of all Registries with the same one, one is rolled out at a time. It is the Lease
    /// `berth-rollout-<group>`, which a pipeline outside may hold too. Absent: no lock but the Registry's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub group: Option<String>,

    /// Namespace of the Lease. Absent: the Registry's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,

    /// How long to wait for the lock before the roll-out is given up. Absent: `4h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<Span>,

    /// When no roll-out may start. One that has begun goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub freeze_windows: Vec<FreezeWindow>,
}

/// A time in which no roll-out starts: every time that `schedule` says, for `duration`; or once, between `from` and `to`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.schedule) != (has(self.from) || has(self.to))")
        .message("a window comes again, with schedule and duration, or once, with from and to: set the one or the other"),
    validation = Rule::new("has(self.schedule) == has(self.duration)")
        .message("a window that comes again needs schedule and duration: set both"),
    validation = Rule::new("has(self.from) == has(self.to)")
        .message("a window that comes once needs from and to: set both")
)]
pub struct FreezeWindow {
    /// When it begins, in the five fields of cron: `0 17 * * 5` is every Friday at 17:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 9, max = 64),
        regex(pattern = r"^([0-9A-Za-z*/,?-]+ +){4}[0-9A-Za-z*/,?-]+$")
    )]
    pub schedule: Option<String>,

    /// How long it lasts each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,

    /// When it begins, such as `2026-12-20T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 20, max = 32),
        regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$")
    )]
    pub from: Option<String>,

    /// When it ends, such as `2027-01-04T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 20, max = 32),
        regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$")
    )]
    pub to: Option<String>,

    /// Time zone of `schedule`, such as `Europe/Vienna`. Absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z][A-Za-z0-9_+/-]*$"))]
    pub time_zone: Option<String>,

    /// Why; it is shown while a roll-out waits.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// The lock that a roll-out holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockHeld {
    /// Namespace and name of the Lease.
    #[schemars(length(max = 320))]
    pub lease: String,

    /// Who holds it, as the Lease says.
    #[schemars(length(max = 320))]
    pub holder: String,

    /// The fencing token: UID and number of transitions of the Lease. Jobs carry it.
    #[schemars(length(max = 128))]
    pub token: String,

    /// Since when it is held, as the Lease says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}
