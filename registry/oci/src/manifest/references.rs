//! The one enumeration of what a manifest refers to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Manifest;
use crate::media_type::{is_manifest, is_non_distributable};
use crate::{Descriptor, Digest};

/// In which role something is referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferenceKind {
    /// The config of an image: a blob.
    Config,
    /// A layer of an image: a blob.
    Layer,
    /// An entry of an index that is a manifest.
    Child,
    /// An entry of an index that is a blob, as in older build caches.
    IndexBlob,
}

/// One thing a manifest refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceTo {
    /// In which role.
    pub kind: ReferenceKind,
    /// Its address.
    pub digest: Digest,
    /// Its size as the manifest claims it, in bytes; not compared with what is stored.
    pub size: u64,
    /// Its type as the manifest claims it.
    pub media_type: String,
    /// Whether it has to be in the repository before the manifest is.
    pub must_exist: bool,
}

/// What `manifest` refers to, each pair of digest and kind once.
pub(super) fn of(manifest: &Manifest) -> Vec<ReferenceTo> {
    let config = manifest
        .config
        .iter()
        .map(|config| reference(ReferenceKind::Config, config));
    let layers = manifest
        .layers
        .iter()
        .map(|layer| reference(ReferenceKind::Layer, layer));
    let entries = manifest.manifests.iter().map(|entry| {
        let is_child = is_manifest(&entry.media_type);
        reference(
            if is_child {
                ReferenceKind::Child
            } else {
                ReferenceKind::IndexBlob
            },
            entry,
        )
    });
    fold(config.chain(layers).chain(entries))
}

fn reference(kind: ReferenceKind, to: &Descriptor) -> ReferenceTo {
    ReferenceTo {
        kind,
        digest: to.digest,
        size: to.size,
        media_type: to.media_type.clone(),
        must_exist: !may_live_elsewhere(kind, to),
    }
}

/// Layers that clients fetch from another place are not pushed (image-spec "Non-Distributable Layers").
///
/// An index entry that is a blob is a layer too.
fn may_live_elsewhere(kind: ReferenceKind, to: &Descriptor) -> bool {
    match kind {
        ReferenceKind::Layer | ReferenceKind::IndexBlob => !to.urls.is_empty() || is_non_distributable(&to.media_type),
        ReferenceKind::Config | ReferenceKind::Child => false,
    }
}

fn fold(all: impl Iterator<Item = ReferenceTo>) -> Vec<ReferenceTo> {
    let mut folded: Vec<ReferenceTo> = Vec::new();
    let mut places = HashMap::new();
    for reference in all {
        match places.entry((reference.digest, reference.kind)) {
            Entry::Occupied(place) => {
                let first: &mut ReferenceTo = &mut folded[*place.get()];
                first.must_exist |= reference.must_exist;
            }
            Entry::Vacant(place) => {
                place.insert(folded.len());
                folded.push(reference);
            }
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::{Value, json};

    use super::{ReferenceKind, ReferenceTo};
    use crate::media_type::{
        DOCKER_FOREIGN_LAYER, DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER,
        OCI_LAYER_GZIP, OCI_MANIFEST, OCI_NONDISTRIBUTABLE_LAYER,
    };
    use crate::{Algorithm, Digest, Manifest};

    fn entry(media_type: &str, content: &str) -> Value {
        json!({"mediaType": media_type, "digest": digest(content).to_string(), "size": content.len()})
    }

    fn digest(content: &str) -> Digest {
        Digest::of(Algorithm::Sha256, content.as_bytes())
    }

    fn elsewhere(mut entry: Value) -> Value {
        entry["urls"] = json!(["https://example.com/layer"]);
        entry
    }

    fn references(body: &Value) -> Vec<ReferenceTo> {
        Manifest::parse(None, body.to_string().as_bytes()).unwrap().references()
    }

    fn image(config: &Value, layers: &[Value]) -> Vec<ReferenceTo> {
        references(&json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    fn index(manifests: &[Value]) -> Vec<ReferenceTo> {
        references(&json!({"schemaVersion": 2, "manifests": manifests}))
    }

    fn to(kind: ReferenceKind, media_type: &str, content: &str, must_exist: bool) -> ReferenceTo {
        let size = content.len() as u64;
        ReferenceTo {
            kind,
            digest: digest(content),
            size,
            media_type: media_type.to_owned(),
            must_exist,
        }
    }

    #[test]
    fn an_image_refers_to_its_config_and_then_its_layers() {
        let found = image(&entry(OCI_CONFIG, "c"), &[entry(OCI_LAYER, "b"), entry(OCI_LAYER, "a")]);

        assert_eq!(
            found,
            [
                to(ReferenceKind::Config, OCI_CONFIG, "c", true),
                to(ReferenceKind::Layer, OCI_LAYER, "b", true),
                to(ReferenceKind::Layer, OCI_LAYER, "a", true),
            ]
        );
    }

    #[test]
    fn a_repeated_layer_is_one_reference() {
        let found = image(
            &entry(OCI_CONFIG, "c"),
            &[entry(OCI_LAYER, "a"), entry(OCI_LAYER_GZIP, "a")],
        );

        assert_eq!(found[1..], [to(ReferenceKind::Layer, OCI_LAYER, "a", true)]);
    }

    #[test]
    fn one_blob_as_config_and_as_layer_is_two_references() {
        let found = image(&entry(OCI_EMPTY, "{}"), &[entry(OCI_EMPTY, "{}")]);

        assert_eq!(
            found,
            [
                to(ReferenceKind::Config, OCI_EMPTY, "{}", true),
                to(ReferenceKind::Layer, OCI_EMPTY, "{}", true)
            ]
        );
    }

    #[test]
    fn a_layer_that_lives_elsewhere_need_not_exist() {
        let layers = [
            elsewhere(entry(OCI_LAYER, "with urls")),
            entry(OCI_NONDISTRIBUTABLE_LAYER, "oci"),
            entry(DOCKER_FOREIGN_LAYER, "docker"),
        ];

        assert!(
            image(&entry(OCI_CONFIG, "c"), &layers)[1..]
                .iter()
                .all(|layer| !layer.must_exist)
        );
    }

    #[test]
    fn an_empty_list_of_urls_is_none() {
        let mut layer = entry(OCI_LAYER, "a");
        layer["urls"] = json!([]);

        assert!(image(&entry(OCI_CONFIG, "c"), &[layer])[1].must_exist);
    }

    #[test]
    fn a_config_must_exist_wherever_it_says_it_lives() {
        assert!(image(&elsewhere(entry(OCI_NONDISTRIBUTABLE_LAYER, "c")), &[])[0].must_exist);
    }

    #[test]
    fn a_repeated_layer_must_exist_if_any_mention_must() {
        let ordinary = entry(OCI_LAYER, "a");
        let foreign = entry(DOCKER_FOREIGN_LAYER, "a");
        for layers in [[ordinary.clone(), foreign.clone()], [foreign, ordinary]] {
            let found = image(&entry(OCI_CONFIG, "c"), &layers);
            assert_eq!((found.len(), found[1].must_exist), (2, true));
        }
    }

    #[test]
    fn an_index_refers_to_children_of_each_manifest_type() {
        for media_type in [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST] {
            let found = index(&[elsewhere(entry(media_type, "m"))]);
            assert_eq!(found, [to(ReferenceKind::Child, media_type, "m", true)]);
        }
    }

    #[test]
    fn an_index_entry_of_another_type_is_a_blob() {
        let cache = "application/vnd.buildkit.cacheconfig.v0";
        let found = index(&[
            entry(OCI_LAYER, "a"),
            entry(cache, "b"),
            elsewhere(entry(OCI_LAYER, "c")),
        ]);

        assert_eq!(
            found,
            [
                to(ReferenceKind::IndexBlob, OCI_LAYER, "a", true),
                to(ReferenceKind::IndexBlob, cache, "b", true),
                to(ReferenceKind::IndexBlob, OCI_LAYER, "c", false),
            ]
        );
    }

    #[test]
    fn a_subject_is_no_reference() {
        let body = json!({"schemaVersion": 2, "manifests": [], "subject": entry(OCI_MANIFEST, "s")});
        assert_eq!(references(&body), []);
    }

    #[test]
    fn the_same_hash_under_two_algorithms_is_two_references() {
        let mut other = entry(OCI_LAYER, "a");
        other["digest"] = json!(Digest::of(Algorithm::Sha512, b"a").to_string());

        assert_eq!(image(&entry(OCI_CONFIG, "c"), &[entry(OCI_LAYER, "a"), other]).len(), 3);
    }

    fn entries() -> impl Strategy<Value = Vec<Value>> {
        let types = [OCI_MANIFEST, DOCKER_LIST, OCI_LAYER, OCI_NONDISTRIBUTABLE_LAYER, "x"];
        vec((select(types.to_vec()), "[ab]{0,2}", any::<bool>()), 0..8).prop_map(|drawn| {
            let entry = |(media_type, content, foreign): (&str, String, bool)| {
                if foreign {
                    elsewhere(entry(media_type, &content))
                } else {
                    entry(media_type, &content)
                }
            };
            drawn.into_iter().map(entry).collect()
        })
    }

    /// The same question asked of the JSON itself: which digests stand in it outside `subject`, and where.
    fn mentioned(body: &Value) -> BTreeMap<String, usize> {
        let lists = ["layers", "manifests"]
            .into_iter()
            .filter_map(|list| body[list].as_array())
            .flatten();
        let mut found = BTreeMap::new();
        for entry in lists.chain(body.get("config")) {
            *found.entry(entry["digest"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        found
    }

    proptest! {
        #[test]
        fn every_digest_in_an_index_is_referred_to(entries in entries()) {
            let body = json!({"schemaVersion": 2, "manifests": entries, "subject": entry(OCI_MANIFEST, "subject")});

            let found: BTreeMap<String, usize> =
                references(&body).iter().map(|reference| (reference.digest.to_string(), 1)).collect();

            prop_assert!(found.keys().eq(mentioned(&body).keys()));
        }

        #[test]
        fn every_digest_in_an_image_is_referred_to(entries in entries()) {
            let body = json!({"schemaVersion": 2, "config": entry("x", "a"), "layers": entries});

            let found = references(&body);

            let digests: BTreeMap<String, usize> =
                found.iter().map(|reference| (reference.digest.to_string(), 1)).collect();
            prop_assert!(digests.keys().eq(mentioned(&body).keys()));
            let mut roles: Vec<_> = found.iter().map(|reference| (reference.digest, reference.kind)).collect();
            roles.sort_unstable();
            roles.dedup();
            prop_assert_eq!(roles.len(), found.len());
        }
    }
}
