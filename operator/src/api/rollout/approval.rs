//! The `RegistryApproval` kind: a person's word on one step of one roll-out.

#![expect(
    clippy::duplicated_attributes,
    reason = "each column of `kubectl get` has a name and a type"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::ApprovalStep;

/// A person's word on one step of one roll-out. It cannot be changed, only deleted.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "RegistryApproval",
    plural = "registryapprovals",
    shortname = "rapp",
    namespaced,
    derive = "PartialEq",
    doc = "RegistryApproval is a person's word on one step of one roll-out of a Registry.",
    printcolumn(
        name = "Rollout",
        type_ = "string",
        json_path = ".spec.rolloutRef.name",
        description = "The roll-out."
    ),
    printcolumn(name = "Step", type_ = "string", json_path = ".spec.step", description = "The step."),
    printcolumn(
        name = "Decision",
        type_ = "string",
        json_path = ".spec.decision",
        description = "The word."
    ),
    printcolumn(
        name = "By",
        type_ = "string",
        json_path = ".spec.approvedBy",
        description = "Whose word it is."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf")
        .message("an approval cannot be changed: delete it, and create another one")
)]
pub struct RegistryApprovalSpec {
    /// The roll-out.
    pub rollout_ref: RolloutRef,

    /// Digest of the image that is approved, as the roll-out says under `spec.to`. An approval of another image counts
    /// for nothing. Absent only where the roll-out knows no digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 71, max = 71), regex(pattern = r"^sha256:[a-f0-9]{64}$"))]
    pub digest: Option<String>,

    /// The step.
    pub step: ApprovalStep,

    /// `Approve` or `Reject`.
    pub decision: Decision,

    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub reason: Option<String>,

    /// Name of the person, as the API server knows them. With the chart's admission policy it can be no other.
    #[schemars(length(min = 1, max = 253))]
    pub approved_by: String,
}

/// A `RegistryRollout` in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A person's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decision {
    /// Go on.
    Approve,
    /// Go back.
    Reject,
}
