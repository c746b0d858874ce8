//! How a version reaches the pods: what a user may say about it, and what a roll-out leaves behind.

pub mod analysis;
pub mod approval;
pub mod lock;
pub mod migrations;
pub mod phase;
pub mod record;
pub mod settings;
pub mod status;

pub use analysis::{AnalysisSettings, ApdexObjective, ErrorRatio, OnNoData, PrometheusSettings, RouteClass};
pub use approval::{Decision, RegistryApproval, RegistryApprovalSpec};
pub use lock::{FreezeWindow, LockSettings};
pub use migrations::{MigrationMode, MigrationSettings, PostMigrations, PostPolicy, PreMigrations};
pub use phase::Phase;
pub use record::{RegistryRollout, RegistryRolloutSpec, RegistryRolloutStatus};
pub use settings::{
    ApprovalSettings, ApprovalStep, Bake, CanarySettings, Requirement, RollbackMode, RollbackSettings, RolloutSettings,
    Strategy,
};
pub use status::{RollbackFloor, RolloutState};
