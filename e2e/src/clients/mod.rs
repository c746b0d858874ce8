//! The two clients that a registry is shown with: skopeo, which pushes and pulls, and the kubelet, which pulls.

mod kubelet;
mod skopeo;

pub use kubelet::run_pod;
pub use skopeo::{PulledImage, pull, push};
