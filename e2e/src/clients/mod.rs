//! Clients of registries, real ones: each pushes, pulls and does whatever else it can.
//!
//! The demo uses skopeo and the kubelet alone; the stage `clients` uses all of `CLIENTS`, one file each, and checks
//! after every operation at the registry itself that what was pushed is there, whole.

use anyhow::Result;

pub(crate) mod access_log;
mod buildah;
mod buildkit;
mod containerd;
mod cosign;
mod crane;
mod docker;
mod fixtures;
mod helm;
mod kubelet;
pub(crate) mod matrix;
mod oras;
mod podman;
mod regctl;
mod relay;
mod remote;
pub(crate) mod site;
mod skopeo;

use crate::tools::clients::Programs;
pub use kubelet::run_pod;
use matrix::Cell;
use site::Site;
pub use skopeo::{PulledImage, pull, push};

/// What every client is asked to do. One that has no such operation says so, and what it has in its place.
trait Client {
    /// As it calls itself.
    fn version(&self, site: &Site<'_>) -> Result<String>;
    /// An image, whole.
    fn push(&self, site: &Site<'_>) -> Result<Cell>;
    /// The image that was pushed.
    fn pull(&self, site: &Site<'_>) -> Result<Cell>;
    /// The tags of a repository, or the repositories.
    fn list(&self, site: &Site<'_>) -> Result<Cell>;
    /// The image into another repository, without its layers being sent again.
    fn copy(&self, site: &Site<'_>) -> Result<Cell>;
    /// An index of images for several kinds of processor, there and back.
    fn index(&self, site: &Site<'_>) -> Result<Cell>;
    /// A push that is cut off in the middle of a layer.
    fn cut_push(&self, site: &Site<'_>) -> Result<Cell>;
    /// A pull that is cut off in the middle of a layer.
    fn cut_pull(&self, site: &Site<'_>) -> Result<Cell>;
    /// What this client asks of a registry that others do not.
    fn habits(&self, site: &Site<'_>) -> Result<Cell>;
    /// A tag or a manifest.
    fn delete(&self, site: &Site<'_>) -> Result<Cell>;
}

/// Makes a client ready; its server, if it has one, lives as long as the value.
type Start = fn(&Programs, &Site<'_>) -> Result<Box<dyn Client>>;

/// Every client, in the order of the table.
const CLIENTS: &[(&str, Start)] = &[
    ("docker", docker::start),
    ("containerd", containerd::start),
    ("containerd2", containerd::start_second),
    ("buildkit", buildkit::start),
    ("podman", podman::start),
    ("buildah", buildah::start),
    ("skopeo", skopeo::start),
    ("crane", crane::start),
    ("regctl", regctl::start),
    ("oras", oras::start),
    ("helm", helm::start),
    ("cosign", cosign::start),
];
