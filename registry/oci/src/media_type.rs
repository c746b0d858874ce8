//! Media types the registry has to know (image-spec "Media Types" and Docker's schema 2).
//!
//! Everything else is text: an artifact may have any type, and a closed list would refuse tomorrow's.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker schema 2 image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker schema 2 manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker schema 1 manifest; refused.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker schema 1 manifest with a signature; refused.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// The two-byte empty JSON object that artifacts without a config point at.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// OCI layer, plain tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, tar compressed with gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, tar compressed with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker layer, tar compressed with gzip.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer that is fetched from elsewhere.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// OCI layer that is fetched from elsewhere, plain tar.
pub const OCI_NONDISTRIBUTABLE_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// The manifest types accepted by the registry.
pub const MANIFESTS: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

const NON_DISTRIBUTABLE_FAMILIES: [&str; 2] = [
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
];

/// Whether content of this type is stored as a manifest.
pub fn is_manifest(media_type: &str) -> bool {
    MANIFESTS.contains(&essence(media_type))
}

/// Whether content of this type may live elsewhere, so that clients do not push it.
pub fn is_non_distributable(media_type: &str) -> bool {
    NON_DISTRIBUTABLE_FAMILIES
        .iter()
        .any(|family| media_type.starts_with(family))
}

/// The type without its parameters.
pub fn essence(media_type: &str) -> &str {
    media_type
        .split_once(';')
        .map_or(media_type, |(essence, _)| essence)
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_types_are_manifests_with_or_without_parameters() {
        for media_type in MANIFESTS {
            assert!(is_manifest(media_type));
            assert!(is_manifest(&format!("{media_type}; charset=utf-8")));
        }
        for media_type in [
            DOCKER_SCHEMA1,
            DOCKER_SCHEMA1_SIGNED,
            OCI_CONFIG,
            OCI_EMPTY,
            OCI_LAYER,
            "",
            "application/json",
        ] {
            assert!(!is_manifest(media_type), "{media_type}");
        }
    }

    #[test]
    fn every_compression_of_a_foreign_layer_is_non_distributable() {
        for base in [
            OCI_NONDISTRIBUTABLE_LAYER,
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
        ] {
            for compression in ["", "+gzip", "+zstd", ".gzip"] {
                assert!(is_non_distributable(&format!("{base}{compression}")));
            }
        }
        assert!(is_non_distributable(DOCKER_FOREIGN_LAYER));
        for media_type in [
            OCI_LAYER,
            OCI_LAYER_GZIP,
            OCI_LAYER_ZSTD,
            DOCKER_LAYER,
            OCI_MANIFEST,
            "",
        ] {
            assert!(!is_non_distributable(media_type), "{media_type}");
        }
    }
}
