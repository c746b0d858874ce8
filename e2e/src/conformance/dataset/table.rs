//! The table of data sets, in the order in which they are pushed.

use serde_json::{Map, Value, json};

use super::{Algorithm, EMPTY, EXAMPLE_1, EXAMPLE_2, MANIFEST, Maker, Needs, OCTETS, Set, Shape, for_platform};
use crate::conformance::content::LAYER_GZIP;

const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

const fn set(name: &'static str, make: fn(&mut Maker<'_>)) -> Set {
    Set {
        name,
        needs: Needs::Nothing,
        make,
    }
}

impl Set {
    const fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }
}

pub(in crate::conformance) const SETS: &[Set] = &[
    set("image", |maker| tagged_image(maker, "image", &Shape::default())),
    set("image-uncompressed", |maker| {
        let shape = Shape {
            compressed: false,
            ..Shape::default()
        };
        tagged_image(maker, "image-uncompressed", &shape);
    }),
    set("large-manifest", large_manifest),
    set("index", |maker| tagged_index(maker, "index", &Shape::default())),
    set("nested-index", nested_index),
    set("empty-index", |maker| {
        let index = maker.index_of(&Shape::default(), &[]);
        maker.tag("index", &index);
    }),
    set("artifact", |maker| {
        tagged_image(maker, "artifact", &Shape::artifact(EXAMPLE_1, EXAMPLE_1));
    }),
    set("artifact-index", |maker| {
        tagged_index(maker, "artifact-index", &Shape::artifact(EXAMPLE_1, EXAMPLE_1));
    }),
    set("artifact-without-layers", |maker| {
        let shape = Shape {
            artifact: Some((EMPTY, true)),
            ..Shape::artifact(EXAMPLE_1, EMPTY)
        };
        tagged_image(maker, "artifact-without-layers", &shape);
    }),
    set("artifacts-with-subject", artifacts_with_subject),
    set("index-with-subject", index_with_subject),
    set("missing-subject", |maker| {
        let shape = Shape {
            subject: Some(maker.absent(MANIFEST, 123)),
            ..Shape::artifact(EXAMPLE_1, EXAMPLE_1)
        };
        tagged_image(maker, "tagged-artifact", &shape);
    }),
    set("data-field", |maker| {
        let shape = Shape {
            embedded: true,
            ..Shape::default()
        };
        tagged_image(maker, "data-field", &shape);
    }),
    set("non-distributable-layers", non_distributable),
    set("custom-fields", |maker| {
        let shape = Shape {
            extra: true,
            ..Shape::default()
        };
        tagged_index(maker, "custom-fields", &shape);
    }),
    set("no-layers", |maker| {
        let shape = Shape {
            layers: 0,
            ..Shape::default()
        };
        tagged_image(maker, "no-layers", &shape);
    }),
    set("sparse", sparse).needs(Needs::Sparse),
    set("sha512", |maker| {
        maker.algorithm = Algorithm::Sha512;
        maker.index(&Shape::default());
    }),
    set("tag-param-sha256", |maker| tags_by_parameter(maker, "tag-param-sha256")).needs(Needs::TagsByParameter),
    set("tag-param-sha512", |maker| {
        maker.algorithm = Algorithm::Sha512;
        tags_by_parameter(maker, "tag-param-sha512");
    })
    .needs(Needs::TagsByParameter),
    set("bad-digest-image", |maker| {
        maker.image(&Shape::default());
        maker.set.manifests[0].bytes.extend_from_slice(b"  ");
        maker.set.corrupt = true;
    }),
];

fn tagged_image(maker: &mut Maker<'_>, tag: &str, shape: &Shape) {
    let image = maker.image(shape);
    maker.tag(tag, &image);
}

fn tagged_index(maker: &mut Maker<'_>, tag: &str, shape: &Shape) {
    let index = maker.index(shape);
    maker.tag(tag, &index);
}

/// 3.9 MB of annotations.
fn large_manifest(maker: &mut Maker<'_>) {
    let annotation = |number| (format!("large-annotation-{number}"), Value::from("A".repeat(10_000)));
    let shape = Shape {
        annotations: (0..390).map(annotation).collect::<Map<_, _>>(),
        ..Shape::default()
    };
    tagged_image(maker, "large-manifest", &shape);
}

fn nested_index(maker: &mut Maker<'_>) {
    let children = [(); 2].map(|()| maker.index(&Shape::default()));
    let index = maker.index_of(&Shape::default(), &children);
    maker.tag("index-of-index", &index);
}

fn artifacts_with_subject(maker: &mut Maker<'_>) {
    let subject = maker.image(&Shape::default());
    maker.tag("image", &subject);
    // Its configuration's media type is what it is listed as.
    maker.image(&Shape {
        subject: Some(subject.clone()),
        ..Shape::default()
    });
    let artifacts = [
        ("tagged-artifact1", EXAMPLE_1, EXAMPLE_1),
        ("tagged-artifact2", EXAMPLE_2, OCTETS),
    ];
    for (tag, artifact_type, layer_type) in artifacts {
        let shape = Shape {
            subject: Some(subject.clone()),
            ..Shape::artifact(artifact_type, layer_type)
        };
        tagged_image(maker, tag, &shape);
    }
}

fn index_with_subject(maker: &mut Maker<'_>) {
    let subject = maker.index(&Shape::default());
    maker.tag("index", &subject);
    let shape = Shape {
        subject: Some(subject),
        ..Shape::artifact(EXAMPLE_1, EXAMPLE_1)
    };
    tagged_index(maker, "tagged-artifact", &shape);
}

fn non_distributable(maker: &mut Maker<'_>) {
    let shape = Shape {
        layers: 1,
        ..Shape::default()
    };
    let mut foreign = |media_type: &str, size| {
        let mut layer = maker.absent(media_type, size);
        let elsewhere = format!("https://store.example.com/blobs/{}", maker.random.word());
        layer["urls"] = json!([elsewhere]);
        layer
    };
    let foreign = [foreign(&format!("{FOREIGN}+gzip"), 123_456), foreign(FOREIGN, 12_345)];
    let own = maker.layer(&shape);
    let config = maker.config(&shape);
    let layers: Vec<Value> = foreign.into_iter().chain([own]).collect();
    let image = maker.image_of(&shape, &config, &layers);
    maker.tag("non-distributable-image", &image);
}

/// An image without one of its layers, and an index without one of its children.
fn sparse(maker: &mut Maker<'_>) {
    let shape = Shape::default();
    let (own, absent) = (maker.layer(&shape), maker.absent(LAYER_GZIP, 200));
    let config = maker.config(&shape);
    let image = maker.image_of(&shape, &config, &[own, absent]);
    maker.tag("sparse-image", &image);
    let child = maker.image(&shape);
    let absent = maker.absent(MANIFEST, 1024);
    let children = [for_platform(child, "amd64"), for_platform(absent, "arm64")];
    let index = maker.index_of(&shape, &children);
    maker.tag("sparse-index", &index);
}

/// Every manifest has a tag of its own, and the index one more.
fn tags_by_parameter(maker: &mut Maker<'_>, name: &str) {
    tagged_index(maker, name, &Shape::default());
    let digests: Vec<String> = maker
        .set
        .manifests
        .iter()
        .map(|manifest| manifest.digest.clone())
        .collect();
    for (number, digest) in digests.into_iter().enumerate() {
        maker.set.tags.push((format!("{name}-{number}"), digest));
    }
    maker.set.tags_by_parameter = true;
}
