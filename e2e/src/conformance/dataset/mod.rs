//! The data sets: images, indexes and artifacts that are pushed, read and deleted as a whole.

use serde_json::{Map, Value, json};

use super::{
    Options,
    content::{Algorithm, CONFIG, EMPTY, INDEX, LAYER, LAYER_GZIP, MANIFEST, OCTETS, Random},
    manifests::Manifest,
};

mod layer;
mod table;

pub(super) use table::SETS;

const EXAMPLE_1: &str = "application/vnd.example.oci.conformance.v1";
const EXAMPLE_2: &str = "application/vnd.example.oci.conformance.v2";

/// What belongs together.
#[derive(Debug, Default)]
pub(super) struct DataSet {
    /// Tags and the digests of their manifests.
    pub(super) tags: Vec<(String, String)>,
    /// By digest; each content once.
    pub(super) blobs: Vec<(String, Vec<u8>)>,
    /// In the order in which they must be pushed.
    pub(super) manifests: Vec<Manifest>,
    /// Subjects and the entries that must be listed for them.
    pub(super) referrers: Vec<(String, Vec<Value>)>,
    /// Tags go along with the manifest.
    pub(super) tags_by_parameter: bool,
    /// The manifests are not those of their digests.
    pub(super) corrupt: bool,
}

/// A data set by name.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) name: &'static str,
    needs: Needs,
    make: fn(&mut Maker<'_>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Sparse,
    TagsByParameter,
}

impl Set {
    pub(super) fn is_in(&self, options: &Options) -> bool {
        match self.needs {
            Needs::Nothing => true,
            Needs::Sparse => options.sparse,
            Needs::TagsByParameter => options.profile.tags_by_parameter(),
        }
    }

    pub(super) fn make(&self, random: &mut Random) -> DataSet {
        let mut maker = Maker::new(random);
        (self.make)(&mut maker);
        maker.set
    }
}

impl DataSet {
    pub(super) fn one_layer_image(random: &mut Random) -> Self {
        let mut maker = Maker::new(random);
        maker.image(&Shape {
            layers: 1,
            ..Shape::default()
        });
        maker.set
    }

    /// The tags of one manifest.
    pub(super) fn tags_of(&self, digest: &str) -> Vec<String> {
        let of = self.tags.iter().filter(|(_, tagged)| tagged == digest);
        of.map(|(tag, _)| tag.clone()).collect()
    }

    pub(super) fn manifest(&self, digest: &str) -> Option<&Manifest> {
        self.manifests.iter().find(|manifest| manifest.digest == digest)
    }
}

/// What kind of image, artifact or index is made.
#[derive(Debug, Clone)]
struct Shape {
    architecture: &'static str,
    /// How many layers.
    layers: usize,
    compressed: bool,
    /// An artifact: the media type of its layers, and whether they are the empty object too.
    artifact: Option<(&'static str, bool)>,
    artifact_type: Option<&'static str>,
    annotations: Map<String, Value>,
    subject: Option<Value>,
    /// Descriptors carry their content.
    embedded: bool,
    /// Unknown members.
    extra: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            architecture: "amd64",
            layers: 2,
            compressed: true,
            artifact: None,
            artifact_type: None,
            annotations: Map::new(),
            subject: None,
            embedded: false,
            extra: false,
        }
    }
}

impl Shape {
    /// An artifact with one layer of 2 KiB.
    fn artifact(artifact_type: &'static str, layer_type: &'static str) -> Self {
        Self {
            layers: 1,
            artifact: Some((layer_type, false)),
            artifact_type: Some(artifact_type),
            ..Self::default()
        }
    }
}

/// Builds one data set.
struct Maker<'r> {
    random: &'r mut Random,
    set: DataSet,
    algorithm: Algorithm,
}

impl<'r> Maker<'r> {
    fn new(random: &'r mut Random) -> Self {
        Self {
            random,
            set: DataSet::default(),
            algorithm: Algorithm::Sha256,
        }
    }

    /// Adds a blob, once; gives its descriptor.
    fn blob(&mut self, media_type: &str, bytes: Vec<u8>, embedded: bool) -> Value {
        let digest = self.algorithm.digest(&bytes);
        let mut descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        if embedded {
            descriptor["data"] = layer::base64(&bytes).into();
        }
        if !self.set.blobs.iter().any(|(known, _)| *known == digest) {
            self.set.blobs.push((digest, bytes));
        }
        descriptor
    }

    fn layer(&mut self, shape: &Shape) -> Value {
        match shape.artifact {
            None => {
                let media_type = if shape.compressed { LAYER_GZIP } else { LAYER };
                let bytes = layer::archive(&self.random.word(), shape.compressed);
                self.blob(media_type, bytes, shape.embedded)
            }
            Some((media_type, false)) => {
                let bytes = self.random.bytes(2048);
                self.blob(media_type, bytes, shape.embedded)
            }
            Some((media_type, true)) => self.blob(media_type, b"{}".to_vec(), shape.embedded),
        }
    }

    /// The configuration of an image. As in the official program it depends on the platform and the number of layers
    /// only, so two images of one data set may share it.
    fn config(&mut self, shape: &Shape) -> Value {
        if shape.artifact.is_some() {
            return self.blob(EMPTY, b"{}".to_vec(), shape.embedded);
        }
        let layers = vec![Algorithm::Sha256.digest(b""); shape.layers];
        let mut config = json!({
            "author": "conformance", "os": "linux", "architecture": shape.architecture,
            "rootfs": {"type": "layers", "diff_ids": layers},
        });
        if shape.extra {
            config[self.random.word()] = self.random.word().into();
        }
        self.blob(CONFIG, config.to_string().into_bytes(), shape.embedded)
    }

    /// Adds an image with its layers and configuration; gives its descriptor.
    fn image(&mut self, shape: &Shape) -> Value {
        let layers: Vec<Value> = (0..shape.layers).map(|_| self.layer(shape)).collect();
        let config = self.config(shape);
        self.image_of(shape, &config, &layers)
    }

    fn image_of(&mut self, shape: &Shape, config: &Value, layers: &[Value]) -> Value {
        let listed_as = shape
            .artifact_type
            .map_or_else(|| config["mediaType"].clone(), Value::from);
        let body = json!({"config": config, "layers": layers});
        self.manifest(MANIFEST, body, shape, Some(listed_as))
    }

    /// Adds an index of images for two architectures, with all they have; gives its descriptor.
    fn index(&mut self, shape: &Shape) -> Value {
        let children = ["amd64", "arm64"].map(|architecture| {
            let child = self.image(&Shape {
                architecture,
                ..shape.clone()
            });
            for_platform(child, architecture)
        });
        self.index_of(shape, &children)
    }

    fn index_of(&mut self, shape: &Shape, children: &[Value]) -> Value {
        let listed_as = shape.artifact_type.map(Value::from);
        self.manifest(INDEX, json!({"manifests": children}), shape, listed_as)
    }

    fn manifest(&mut self, media_type: &str, mut body: Value, shape: &Shape, listed_as: Option<Value>) -> Value {
        let mut annotations = shape.annotations.clone();
        if shape.subject.is_some() && shape.artifact_type.is_some() {
            annotations.insert(
                "org.opencontainers.conformance".to_owned(),
                "hello conformance test".into(),
            );
            annotations.insert(format!("org.example.{}", self.random.word()), self.random.word().into());
        }
        if !annotations.is_empty() {
            body["annotations"] = annotations.clone().into();
        }
        if let Some(artifact_type) = shape.artifact_type {
            body["artifactType"] = artifact_type.into();
        }
        if let Some(subject) = &shape.subject {
            body["subject"] = subject.clone();
        }
        if shape.extra {
            body[self.random.word()] = self.random.word().into();
        }
        // Not in the order in which a program would write the members of a map.
        let body = body.to_string();
        let bytes = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}",{}"#, &body[1..]).into_bytes();
        let mut descriptor = json!({
            "mediaType": media_type, "digest": self.algorithm.digest(&bytes), "size": bytes.len(),
        });
        if shape.embedded {
            descriptor["data"] = layer::base64(&bytes).into();
        }
        self.add(&descriptor, bytes, shape);
        if let Some(subject) = &shape.subject {
            let mut entry = descriptor.clone();
            entry["annotations"] = annotations.into();
            entry["artifactType"] = listed_as.unwrap_or_default();
            self.refer(subject, entry);
        }
        descriptor
    }

    fn add(&mut self, descriptor: &Value, bytes: Vec<u8>, shape: &Shape) {
        self.set.manifests.push(Manifest {
            digest: text(&descriptor["digest"]),
            media_type: text(&descriptor["mediaType"]),
            bytes,
            subject: shape.subject.as_ref().map(|subject| text(&subject["digest"])),
        });
    }

    fn refer(&mut self, subject: &Value, entry: Value) {
        let subject = text(&subject["digest"]);
        match self.set.referrers.iter_mut().find(|(known, _)| *known == subject) {
            Some((_, entries)) => entries.push(entry),
            None => self.set.referrers.push((subject, vec![entry])),
        }
    }

    fn tag(&mut self, tag: &str, descriptor: &Value) {
        self.set.tags.push((tag.to_owned(), text(&descriptor["digest"])));
    }

    /// A descriptor of something that was never pushed.
    fn absent(&mut self, media_type: &str, size: usize) -> Value {
        let digest = self.algorithm.digest(&self.random.bytes(size.min(1024)));
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }
}

fn for_platform(mut descriptor: Value, architecture: &str) -> Value {
    descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
    descriptor
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Profile;

    /// How many checks the official program makes of a data set.
    fn checks(set: &DataSet) -> usize {
        let pieces = set.tags.len() + set.blobs.len() + set.manifests.len();
        5 * pieces + 1 + usize::from(!set.referrers.is_empty())
    }

    #[test]
    fn sparse_content_is_as_much_as_in_the_official_program() {
        let sparse = SETS.iter().find(|set| set.name == "sparse").unwrap();

        assert_eq!(checks(&sparse.make(&mut Random::new())), 46);
    }

    #[test]
    fn configurations_are_shared_as_in_the_official_program() {
        let nested = SETS.iter().find(|set| set.name == "nested-index").unwrap();

        assert_eq!(nested.make(&mut Random::new()).blobs.len(), 8 + 2);
    }

    #[test]
    fn the_large_manifest_is_below_the_limit_of_4_mib() {
        let large = SETS.iter().find(|set| set.name == "large-manifest").unwrap();
        let bytes = large.make(&mut Random::new()).manifests[0].bytes.len();

        assert!((3_900_000..4 * 1024 * 1024).contains(&bytes), "{bytes}");
    }

    #[test]
    fn every_manifest_is_json_and_has_the_digest_that_it_is_pushed_to() {
        for set in SETS {
            let made = set.make(&mut Random::new());
            for manifest in &made.manifests {
                let algorithm = if manifest.digest.starts_with("sha512") {
                    Algorithm::Sha512
                } else {
                    Algorithm::Sha256
                };
                let right = algorithm.digest(&manifest.bytes) == manifest.digest;
                assert_eq!(right, !made.corrupt, "{}", set.name);
                assert!(serde_json::from_slice::<Value>(&manifest.bytes).is_ok(), "{}", set.name);
            }
        }
    }

    #[test]
    fn tags_as_parameters_are_of_the_profile_dev() {
        let with = |profile| {
            SETS.iter()
                .filter(|set| set.is_in(&Options::new(profile, false)))
                .count()
        };

        assert_eq!(with(Profile::Dev), with(Profile::Stable) + 2);
    }
}
