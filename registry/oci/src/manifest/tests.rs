//! Which bodies are accepted as what, and which are refused why.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Kind, MAX_REFERENCES, Manifest, ManifestError};
use crate::media_type::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, MANIFESTS, OCI_CONFIG, OCI_EMPTY, OCI_INDEX,
    OCI_LAYER, OCI_MANIFEST,
};
use crate::{Algorithm, Descriptor, DescriptorError, Digest};

fn descriptor(media_type: &str, content: &str) -> Value {
    let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
    serde_json::to_value(Descriptor::new(media_type, digest, content.len() as u64)).unwrap()
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "config": descriptor(OCI_CONFIG, "config"),
        "layers": [descriptor(OCI_LAYER, "one"), descriptor(OCI_LAYER, "two")],
    })
}

fn index() -> Value {
    json!({"schemaVersion": 2, "manifests": [descriptor(OCI_MANIFEST, "child")]})
}

/// A body that fits `media_type` and names it.
fn body_of(media_type: &str) -> Value {
    let body = if [OCI_INDEX, DOCKER_LIST].contains(&media_type) {
        index()
    } else {
        image()
    };
    with(body, "mediaType", json!(media_type))
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

fn without(mut body: Value, member: &str) -> Value {
    body.as_object_mut().unwrap().remove(member);
    body
}

fn parse(content_type: impl Into<Option<&'static str>>, body: &Value) -> Result<Manifest, ManifestError> {
    Manifest::parse(content_type.into(), body.to_string().as_bytes())
}

fn refusal(content_type: impl Into<Option<&'static str>>, body: &Value) -> ManifestError {
    parse(content_type, body).expect_err(&body.to_string())
}

#[test]
fn each_of_the_four_types_is_accepted_under_its_name() {
    for media_type in MANIFESTS {
        let manifest = parse(media_type, &body_of(media_type)).unwrap();
        assert_eq!(manifest.media_type, media_type);
        let is_index = [OCI_INDEX, DOCKER_LIST].contains(&media_type);
        assert_eq!(manifest.kind, if is_index { Kind::Index } else { Kind::Image });
    }
}

#[test]
fn oci_bodies_need_not_name_their_type() {
    assert_eq!(parse(OCI_MANIFEST, &image()).unwrap().media_type, OCI_MANIFEST);
    assert_eq!(parse(OCI_INDEX, &index()).unwrap().media_type, OCI_INDEX);
    assert!(parse(OCI_MANIFEST, &with(image(), "mediaType", json!(null))).is_ok());
    assert!(parse(OCI_MANIFEST, &with(image(), "mediaType", json!(""))).is_ok());
}

#[test]
fn docker_bodies_must_name_their_type() {
    let missing = ManifestError::Missing { member: "mediaType" };
    assert_eq!(refusal(DOCKER_MANIFEST, &image()), missing);
    assert_eq!(refusal(DOCKER_LIST, &index()), missing);
}

#[test]
fn parameters_and_case_of_the_header_do_not_count() {
    for header in [
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
        "application/vnd.oci.image.manifest.v1+json;",
        " application/vnd.oci.image.manifest.v1+json ;a=b",
        "Application/vnd.OCI.image.manifest.v1+JSON",
    ] {
        assert_eq!(parse(header, &image()).unwrap().media_type, OCI_MANIFEST, "{header}");
    }
}

#[test]
fn without_a_header_the_body_names_its_type() {
    for media_type in MANIFESTS {
        assert_eq!(parse(None, &body_of(media_type)).unwrap().media_type, media_type);
        assert_eq!(parse("", &body_of(media_type)).unwrap().media_type, media_type);
    }
}

#[test]
fn without_any_name_the_members_tell_the_type() {
    assert_eq!(parse(None, &image()).unwrap().media_type, OCI_MANIFEST);
    assert_eq!(parse(None, &index()).unwrap().media_type, OCI_INDEX);
    assert_eq!(
        parse(None, &with(image(), "layers", json!(null))).unwrap().media_type,
        OCI_MANIFEST
    );
    assert_eq!(
        parse(None, &with(image(), "manifests", json!(null)))
            .unwrap()
            .media_type,
        OCI_MANIFEST
    );
    assert_eq!(refusal(None, &json!({"schemaVersion": 2})), ManifestError::Undeclared);
    assert_eq!(refusal(None, &without(image(), "layers")), ManifestError::Undeclared);
    assert_eq!(refusal(None, &without(image(), "config")), ManifestError::Undeclared);
}

#[test]
fn other_types_are_refused() {
    for header in [
        "application/json",
        "application/octet-stream",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.oci.image.manifest.v1",
        "application/vnd.oci.image.manifest.v1+json, text/plain",
        "*/*",
        "junk",
    ] {
        assert_eq!(
            refusal(header, &image()),
            ManifestError::unsupported(header),
            "{header}"
        );
    }
    let in_body = with(image(), "mediaType", json!("application/json"));
    assert_eq!(refusal(None, &in_body), ManifestError::unsupported("application/json"));
}

#[test]
fn docker_schema_1_is_refused_by_name_and_by_version() {
    for media_type in [DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED] {
        assert_eq!(
            refusal(media_type, &json!({"schemaVersion": 1})),
            ManifestError::SchemaOne
        );
        assert_eq!(refusal(None, &body_of(media_type)), ManifestError::SchemaOne);
    }
    let unnamed = json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": []});
    assert_eq!(refusal(None, &unnamed), ManifestError::SchemaOne);
    assert_eq!(refusal(DOCKER_MANIFEST, &unnamed), ManifestError::SchemaOne);
}

#[test]
fn header_and_body_must_name_one_type() {
    for declared in MANIFESTS {
        for in_body in MANIFESTS.into_iter().filter(|&in_body| in_body != declared) {
            assert_eq!(
                refusal(declared, &body_of(in_body)),
                ManifestError::mismatch(declared, in_body)
            );
        }
    }
    let parametrised = "application/vnd.oci.image.manifest.v1+json; charset=utf-8";
    let body = with(image(), "mediaType", json!(parametrised));
    assert_eq!(
        refusal(OCI_MANIFEST, &body),
        ManifestError::mismatch(OCI_MANIFEST, parametrised)
    );
}

#[test]
fn schema_version_must_be_the_number_2() {
    for version in [
        json!(null),
        json!("2"),
        json!(3),
        json!(0),
        json!(-2),
        json!(2.0),
        json!([2]),
        json!(true),
    ] {
        assert_eq!(
            refusal(OCI_MANIFEST, &with(image(), "schemaVersion", version)),
            ManifestError::SchemaVersion
        );
    }
    assert_eq!(
        refusal(OCI_MANIFEST, &without(image(), "schemaVersion")),
        ManifestError::SchemaVersion
    );
}

/// CVE-2021-41190: whatever is named and however, a body with the members of both is refused.
#[test]
fn a_body_that_could_be_read_as_both_is_refused() {
    for (media_type, member) in [
        (OCI_MANIFEST, "manifests"),
        (DOCKER_MANIFEST, "manifests"),
        (OCI_INDEX, "config"),
        (OCI_INDEX, "layers"),
        (DOCKER_LIST, "config"),
        (DOCKER_LIST, "layers"),
    ] {
        let value = match member {
            "config" => [json!({}), descriptor(OCI_CONFIG, "config")],
            _ => [json!([]), json!([descriptor(OCI_LAYER, "one")])],
        };
        for value in value {
            let body = with(body_of(media_type), member, value);
            for header in [Some(media_type), None] {
                assert_eq!(refusal(header, &body), ManifestError::Ambiguous { media_type, member });
            }
        }
        assert!(parse(media_type, &with(body_of(media_type), member, json!(null))).is_ok());
    }
    let both = with(image(), "manifests", json!([]));
    assert_eq!(
        refusal(None, &both),
        ManifestError::Ambiguous {
            media_type: OCI_INDEX,
            member: "config"
        }
    );
}

#[test]
fn a_member_in_another_case_is_refused() {
    for member in [
        "Layers",
        "MANIFESTS",
        "Config",
        "mediatype",
        "schemaversion",
        "layer\u{17f}",
    ] {
        let refused = refusal(OCI_MANIFEST, &with(image(), member, json!([])));
        assert!(
            matches!(&refused, ManifestError::Json { reason } if reason.contains("must be spelt")),
            "{refused}"
        );
    }
}

#[test]
fn a_repeated_member_is_refused() {
    let body = image().to_string().replacen('{', r#"{"layers":[],"#, 1);

    let refused = Manifest::parse(Some(OCI_MANIFEST), body.as_bytes()).unwrap_err();

    assert!(refused.to_string().contains("duplicate field `layers`"), "{refused}");
}

#[test]
fn unknown_members_are_allowed_anywhere() {
    let mut body = with(image(), "org.example.custom", json!({"deep": [1, {"er": null}]}));
    body["config"]["org.example.custom"] = json!([1e300, "\u{0}"]);
    body["layers"][0]["custom"] = json!(true);

    assert!(parse(OCI_MANIFEST, &body).is_ok());
}

#[test]
fn an_image_needs_a_config_and_a_list_of_layers() {
    assert_eq!(
        refusal(OCI_MANIFEST, &without(image(), "config")),
        ManifestError::Missing { member: "config" }
    );
    assert_eq!(
        refusal(OCI_MANIFEST, &with(image(), "config", json!(null))),
        ManifestError::Missing { member: "config" }
    );
    assert_eq!(
        refusal(OCI_MANIFEST, &without(image(), "layers")),
        ManifestError::Missing { member: "layers" }
    );
    for none in [json!([]), json!(null)] {
        assert!(
            parse(OCI_MANIFEST, &with(image(), "layers", none))
                .unwrap()
                .layers
                .is_empty()
        );
    }
}

#[test]
fn an_index_needs_a_list_of_manifests() {
    assert_eq!(
        refusal(OCI_INDEX, &without(index(), "manifests")),
        ManifestError::Missing { member: "manifests" }
    );
    for none in [json!([]), json!(null)] {
        assert!(
            parse(OCI_INDEX, &with(index(), "manifests", none))
                .unwrap()
                .manifests
                .is_empty()
        );
    }
}

#[test]
fn a_broken_descriptor_is_named_by_its_place() {
    let mut body = image();
    body["layers"][1]["size"] = json!(-1);
    let cause = DescriptorError::Size { size: "-1".to_owned() };
    assert_eq!(
        refusal(OCI_MANIFEST, &body),
        ManifestError::descriptor("layers[1]", cause)
    );

    let body = with(index(), "manifests", json!([{}]));
    assert_eq!(refusal(OCI_INDEX, &body).to_string(), "manifests[0]: digest is missing");

    let body = with(image(), "config", json!({}));
    assert_eq!(refusal(OCI_MANIFEST, &body).to_string(), "config: digest is missing");
}

#[test]
fn members_of_the_wrong_json_type_are_refused() {
    for (member, value) in [
        ("config", json!([])),
        ("config", json!("x")),
        ("layers", json!({})),
        ("layers", json!("x")),
        ("layers", json!([null])),
        ("layers", json!([[]])),
        ("annotations", json!([])),
        ("annotations", json!({"a": 1})),
        ("annotations", json!({"a": null})),
        ("mediaType", json!(1)),
        ("artifactType", json!([])),
        ("subject", json!("sha256:x")),
    ] {
        let refused = refusal(OCI_MANIFEST, &with(image(), member, value));
        assert!(matches!(refused, ManifestError::Json { .. }), "{member}: {refused}");
    }
}

#[test]
fn what_is_not_a_json_object_is_refused() {
    let image = image().to_string();
    let with_bom = format!("\u{feff}{image}");
    let twice = format!("{image}{image}");
    for body in [
        "", " ", "{", "null", "[]", "2", "\"x\"", "{}x", "[2,null]", "{\"a\":}", &with_bom, &twice,
    ] {
        let refused = Manifest::parse(Some(OCI_MANIFEST), body.as_bytes()).unwrap_err();
        assert!(matches!(refused, ManifestError::Json { .. }), "{body:?}: {refused}");
    }
}

#[test]
fn a_body_that_is_not_utf_8_is_refused_even_in_members_nobody_reads() {
    let body = image()
        .to_string()
        .replacen('{', "{\"unread\":\"\u{e9}\",", 1)
        .into_bytes();
    let latin_1: Vec<u8> = body.iter().copied().filter(|&byte| byte != 0xc3).collect();

    assert!(Manifest::parse(Some(OCI_MANIFEST), &body).is_ok());
    assert_eq!(
        Manifest::parse(Some(OCI_MANIFEST), &latin_1).unwrap_err(),
        ManifestError::NotUtf8
    );
}

#[test]
fn whitespace_around_the_object_is_allowed() {
    let body = format!("\n\t {} \r\n", image());
    assert!(Manifest::parse(Some(OCI_MANIFEST), body.as_bytes()).is_ok());
}

#[test]
fn four_mebibytes_of_brackets_are_too_deep() {
    for bracket in ["[", "{\"a\":"] {
        let body = bracket.repeat((4 << 20) / bracket.len());
        assert_eq!(
            Manifest::parse(Some(OCI_MANIFEST), body.as_bytes()).unwrap_err(),
            ManifestError::TooDeep
        );
    }
}

#[test]
fn more_references_than_the_limit_are_refused() {
    let layers = |count: usize| with(image(), "layers", json!(vec![descriptor(OCI_LAYER, "one"); count]));

    assert_eq!(
        parse(OCI_MANIFEST, &layers(MAX_REFERENCES)).unwrap().layers.len(),
        MAX_REFERENCES
    );
    let too_many = ManifestError::TooManyReferences {
        member: "layers",
        count: MAX_REFERENCES + 1,
    };
    assert_eq!(refusal(OCI_MANIFEST, &layers(MAX_REFERENCES + 1)), too_many);

    let body = with(index(), "manifests", json!(vec![json!({}); 1_000_000]));
    let too_many = ManifestError::TooManyReferences {
        member: "manifests",
        count: 1_000_000,
    };
    assert_eq!(refusal(OCI_INDEX, &body), too_many);
}

#[test]
fn the_artifact_type_of_an_image_falls_back_to_its_config() {
    let named = with(image(), "artifactType", json!("application/vnd.example"));
    for (body, artifact_type) in [
        (named, "application/vnd.example"),
        (image(), OCI_CONFIG),
        (with(image(), "artifactType", json!("")), OCI_CONFIG),
        (with(image(), "artifactType", json!(null)), OCI_CONFIG),
    ] {
        let manifest = parse(OCI_MANIFEST, &body).unwrap();
        assert_eq!(manifest.artifact_type.as_deref(), Some(artifact_type));
        assert_eq!(manifest.config_media_type.as_deref(), Some(OCI_CONFIG));
    }
}

#[test]
fn the_artifact_type_of_an_index_is_its_own_or_none() {
    let named = with(index(), "artifactType", json!("application/vnd.example"));

    assert_eq!(
        parse(OCI_INDEX, &named).unwrap().artifact_type.as_deref(),
        Some("application/vnd.example")
    );
    let manifest = parse(OCI_INDEX, &index()).unwrap();
    assert_eq!((manifest.artifact_type, manifest.config_media_type), (None, None));
}

#[test]
fn an_artifact_type_with_control_characters_is_refused() {
    let refused = refusal(OCI_INDEX, &with(index(), "artifactType", json!("a\r\nb")));
    assert!(matches!(refused, ManifestError::ArtifactType { .. }));
}

#[test]
fn a_subject_is_read_from_images_and_indexes() {
    let subject = descriptor(OCI_MANIFEST, "subject");
    let digest = Digest::of(Algorithm::Sha256, b"subject");
    for (media_type, body) in [(OCI_MANIFEST, image()), (OCI_INDEX, index())] {
        let manifest = parse(media_type, &with(body, "subject", subject.clone())).unwrap();
        assert_eq!(manifest.subject.and_then(|subject| subject.supported()), Some(digest));
    }
}

#[test]
fn only_the_digest_of_a_subject_is_checked_and_only_its_grammar() {
    let digest = "blake3:af1349b9f5f9a1a6a0404dea36dcc949";
    let body = with(image(), "subject", json!({"digest": digest, "size": -1}));
    assert_eq!(parse(OCI_MANIFEST, &body).unwrap().subject.unwrap().to_string(), digest);

    for (subject, message) in [
        (json!({}), "manifest has no subject.digest"),
        (
            json!({"digest": "sha256:x"}),
            "subject: \"sha256:x\" is not a digest: the hash is not lower-case hexadecimal",
        ),
        (
            json!({"digest": "no"}),
            "subject: \"no\" is not a digest: there is no colon after an algorithm",
        ),
    ] {
        assert_eq!(
            refusal(OCI_MANIFEST, &with(image(), "subject", subject)).to_string(),
            message
        );
    }
}

#[test]
fn a_null_subject_is_none() {
    assert_eq!(
        parse(OCI_MANIFEST, &with(image(), "subject", json!(null)))
            .unwrap()
            .subject,
        None
    );
}

#[test]
fn docker_types_have_no_subject_whatever_they_say() {
    for media_type in [DOCKER_MANIFEST, DOCKER_LIST] {
        for subject in [
            descriptor(OCI_MANIFEST, "subject"),
            json!("junk"),
            json!({"digest": "junk"}),
        ] {
            let manifest = parse(media_type, &with(body_of(media_type), "subject", subject)).unwrap();
            assert_eq!(manifest.subject, None);
        }
    }
}

#[test]
fn annotations_are_kept() {
    let manifest = parse(
        OCI_INDEX,
        &with(index(), "annotations", json!({"a": "b", "": "\u{1F600}"})),
    )
    .unwrap();

    let kept: Vec<(&str, &str)> = manifest
        .annotations
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(kept, [("", "\u{1F600}"), ("a", "b")]);
}

#[test]
fn an_artifact_of_any_types_is_accepted() {
    let mut body = image();
    body["config"] = descriptor(OCI_EMPTY, "{}");
    body["layers"] = json!([descriptor("text/plain; charset=utf-8", "hello"), descriptor("x", "y")]);

    assert!(parse(OCI_MANIFEST, &body).is_ok());
}

#[test]
fn a_message_repeats_only_the_beginning_of_a_huge_member() {
    let huge = "x".repeat(1 << 20);
    for body in [
        with(image(), "mediaType", json!(huge)),
        with(image(), "schemaVersion", json!(huge)),
        with(image(), "layers", json!(huge)),
        with(image(), "subject", json!({"digest": huge})),
    ] {
        assert!(refusal(OCI_MANIFEST, &body).to_string().len() < 500);
    }
}

#[test]
fn a_body_cut_off_anywhere_is_refused() {
    for media_type in MANIFESTS {
        let whole = with(body_of(media_type), "annotations", json!({"é": "\\\"\u{1F600}"})).to_string();
        for length in 0..whole.len() {
            let cut = &whole.as_bytes()[..length];
            assert!(
                Manifest::parse(Some(media_type), cut).is_err(),
                "{length} bytes of {whole}"
            );
        }
    }
}

proptest! {
    /// Whatever a few changed bytes make of a body, it is refused or means what any JSON parser reads in it.
    #[test]
    fn a_damaged_body_is_refused_or_read_as_written(
        media_type in proptest::sample::select(MANIFESTS.to_vec()),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = body_of(media_type).to_string().into_bytes();
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }

        if let Ok(manifest) = Manifest::parse(Some(media_type), &body) {
            let written: Value = serde_json::from_slice(&body).unwrap();
            // Damage to the name of the member makes it an unknown one, and an OCI body need not have it.
            let is_docker = [DOCKER_MANIFEST, DOCKER_LIST].contains(&media_type);
            prop_assert!(written.get("mediaType").map_or(!is_docker, |in_body| in_body == media_type));
            let list = if manifest.kind == Kind::Image { "layers" } else { "manifests" };
            let entries = manifest.layers.iter().chain(&manifest.manifests);
            let read: Vec<Value> = entries.map(|entry| json!(entry.digest.to_string())).collect();
            let entries = written[list].as_array().unwrap();
            prop_assert_eq!(read, entries.iter().map(|entry| entry["digest"].clone()).collect::<Vec<_>>());
        }
    }
}
