//! Manifests that want to be something else, to be too much, or to be believed.

mod bodies;

use crate::case::{Case, Category, Client, Expect, Surprise};
use crate::content::{
    CONFIG, DOCKER_IMAGE, DOCKER_LIST, EMPTY, EMPTY_INDEX, IMAGE, INDEX, LAYER, descriptor, image, push_blob,
    put_manifest, sha256, sha512,
};
use serde_json::{Value, json};

const NAME: &str = "corpus/hostile";
const TYPES: [&str; 4] = [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST];

fn prepare(client: &mut Client) -> Result<(), Surprise> {
    push_blob(client, NAME, b"{}")?;
    push_blob(client, NAME, b"layer")?;
    client
        .ask(&put_manifest(NAME, "child", INDEX, EMPTY_INDEX), &Expect::status(201))
        .map(drop)
}

fn invalid() -> Expect {
    Expect::error(400, "MANIFEST_INVALID")
}

fn put(what: impl Into<String>, media_type: &str, body: impl Into<Vec<u8>>, expect: Expect) -> Case {
    let body: Vec<u8> = body.into();
    Case::one(what, put_manifest(NAME, "t", media_type, body), expect)
}

/// An image or index with one member replaced, or left out.
fn with(mut body: Value, member: &str, value: Value) -> Value {
    match member.split_once('.') {
        None => body[member] = value,
        Some(("layers", inner)) => body["layers"][0][inner] = value,
        Some((outer, inner)) => body[outer][inner] = value,
    }
    body
}

/// What header and body say, and which members are there: only one reading may be possible.
fn ambiguous() -> Vec<Case> {
    let mut cases = Vec::new();
    let config = descriptor(CONFIG, b"{}");
    for header in TYPES {
        for in_body in [None, Some(IMAGE), Some(INDEX), Some(DOCKER_IMAGE), Some(DOCKER_LIST)] {
            for (members, is_image, is_index) in [
                ("image", true, false),
                ("index", false, true),
                ("both", true, true),
                ("none", false, false),
            ] {
                let mut body = json!({"schemaVersion": 2});
                if let Some(in_body) = in_body {
                    body["mediaType"] = json!(in_body);
                }
                if is_image {
                    body["config"] = config.clone();
                    body["layers"] = json!([]);
                }
                if is_index {
                    body["manifests"] = json!([]);
                }
                let is_docker = [DOCKER_IMAGE, DOCKER_LIST].contains(&header);
                let wants_image = [IMAGE, DOCKER_IMAGE].contains(&header);
                let agrees = in_body.map_or(!is_docker, |in_body| in_body == header);
                let fits = agrees && is_image == wants_image && is_index != wants_image;
                let expect = if fits { Expect::status(201) } else { invalid() };
                cases.push(put(
                    format!("{header} around {in_body:?} with {members}"),
                    header,
                    body.to_string(),
                    expect,
                ));
            }
        }
    }
    for (header, member) in [
        (IMAGE, "Manifests"),
        (IMAGE, "MANIFESTS"),
        (INDEX, "Layers"),
        (INDEX, "Config"),
        (IMAGE, "mediatype"),
        (INDEX, "SchemaVersion"),
        (IMAGE, "\u{17f}chemaVersion"),
    ] {
        let body = if header == IMAGE {
            image(b"layer")
        } else {
            json!({"schemaVersion": 2, "manifests": []})
        };
        cases.push(put(
            format!("{member} beside the real one"),
            header,
            with(body, member, json!([])).to_string(),
            invalid(),
        ));
    }
    for twice in [
        "schemaVersion\":2,\"schemaVersion",
        "manifests\":[],\"manifests",
        "mediaType\":\"a\",\"mediaType",
    ] {
        let body = format!(r#"{{"schemaVersion":2,"manifests":[],"{twice}":2}}"#);
        cases.push(put(format!("twice: {twice}"), INDEX, body, invalid()));
    }
    cases
}

/// Each member of an image, wrong in every way that JSON offers.
fn wrong_members() -> Vec<Case> {
    let values = [
        json!(null),
        json!(true),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("x"),
        json!([]),
        json!([1]),
        json!({}),
        json!({"a": 1}),
        json!([null]),
    ];
    let mut cases = Vec::new();
    for member in [
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "artifactType",
        "subject",
        "annotations",
    ] {
        for value in &values {
            let is_text = value.as_str().is_some();
            let harmless = match member {
                "mediaType" => value.is_null() || value == "",
                "artifactType" => value.is_null() || is_text,
                "layers" => value.is_null() || *value == json!([]),
                "manifests" | "subject" => value.is_null(),
                "annotations" => value.is_null() || *value == json!({}),
                _ => false,
            };
            let expect = if harmless { Expect::status(201) } else { invalid() };
            cases.push(put(
                format!("{member}: {value}"),
                IMAGE,
                with(image(b"layer"), member, value.clone()).to_string(),
                expect,
            ));
        }
    }
    for place in ["config", "layers"] {
        for member in [
            "mediaType",
            "digest",
            "size",
            "urls",
            "annotations",
            "data",
            "artifactType",
        ] {
            for value in &values {
                let is_text = value.as_str().is_some();
                let expect = match member {
                    "artifactType" if value.is_null() || is_text => Expect::status(201),
                    "mediaType" if value == "x" => Expect::status(201),
                    "urls" if value.is_null() || *value == json!([]) => Expect::status(201),
                    "annotations" if value.is_null() || *value == json!({}) => Expect::status(201),
                    "data" if value.is_null() => Expect::status(201),
                    // A size is not compared with what is stored.
                    "size" if *value == json!(1) => Expect::status(201),
                    _ => invalid(),
                };
                let body = with(image(b"layer"), &format!("{place}.{member}"), value.clone());
                cases.push(put(
                    format!("{place}.{member}: {value}"),
                    IMAGE,
                    body.to_string(),
                    expect,
                ));
            }
        }
    }
    cases
}

/// Sizes, digests and embedded content that lie.
fn lies() -> Vec<Case> {
    let mut cases = Vec::new();
    let layer = |member: &str, written: &str| {
        image(b"layer").to_string().replace(
            &format!("\"{member}\":{}", image(b"layer")["layers"][0][member]),
            &format!("\"{member}\":{written}"),
        )
    };
    for size in [
        "-1",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "1e3",
        "5.0",
        "0.5",
        "\"5\"",
        "99999999999999999999999999999999999999999",
        "05",
        "+5",
        "0x5",
        "NaN",
        "Infinity",
        "5e",
    ] {
        cases.push(put(format!("size {size}"), IMAGE, layer("size", size), invalid()));
    }
    for size in ["0", "4", "6", "9223372036854775807"] {
        cases.push(put(
            format!("size {size}"),
            IMAGE,
            layer("size", size),
            Expect::status(201),
        ));
    }
    let digest = sha256(b"layer");
    for wrong in [
        "",
        "sha256",
        "sha256:",
        "sha256:00",
        "latest",
        "../../x",
        &digest.to_uppercase(),
        &format!("{digest}0"),
        &format!(" {digest}"),
        &format!("{digest}\\n"),
        &format!("{digest}\\u0000"),
        &digest.replace("sha256", "md5"),
        &digest.replace("sha256", "sha512"),
        &digest.replace("sha256", "sha256+b64u"),
        "\\ud800",
    ] {
        cases.push(put(
            format!("digest {wrong}"),
            IMAGE,
            layer("digest", &format!("\"{wrong}\"")),
            invalid(),
        ));
    }
    let unknown = Expect::error(400, "MANIFEST_BLOB_UNKNOWN");
    for missing in [
        sha256(b"nowhere"),
        sha512(b"nowhere"),
        sha512(b"layer"),
        sha256(EMPTY_INDEX.as_bytes()),
    ] {
        cases.push(put(
            format!("missing layer {missing}"),
            IMAGE,
            layer("digest", &format!("\"{missing}\"")),
            unknown.clone(),
        ));
    }
    let data = [
        ("bGF5ZXI=", true),
        ("", false),
        ("bGF5ZXI", false),
        ("bGF5ZXI= ", false),
        ("bGF5ZX I=", false),
        ("bGF5ZXIK", false),
        ("b3RoZXI=", false),
        ("!!!!", false),
        ("bGF5ZXI==", false),
        ("====", false),
        ("bGF5\\nZXI=", false),
        ("bGF5ZXJ=", false),
        ("é", false),
        ("\\u0000", false),
    ];
    for (data, fits) in data {
        let body = image(b"layer")
            .to_string()
            .replace(r#""layers":[{"#, &format!(r#""layers":[{{"data":"{data}","#));
        // Strict readers of base64 differ about what stands behind the last bit, and about lines.
        let lax = ["bGF5ZXJ=", "bGF5\\nZXI=", "", "bGF5ZXI"].contains(&data);
        let expect = if fits {
            Expect::status(201)
        } else if lax {
            invalid().or_status(201)
        } else {
            invalid()
        };
        cases.push(put(format!("data {data}"), IMAGE, body, expect));
    }
    cases
}

/// What may be missing, and what may not.
fn missing() -> Vec<Case> {
    let unknown = || Expect::error(400, "MANIFEST_BLOB_UNKNOWN");
    let away = |media_type: &str, urls: Value| {
        let mut layer = descriptor(media_type, b"away");
        layer["urls"] = urls;
        with(image(b"layer"), "layers", json!([layer])).to_string()
    };
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let mut cases = vec![
        put(
            "a foreign layer",
            IMAGE,
            away(foreign, json!(["https://example.com/l"])),
            Expect::status(201),
        ),
        put(
            "a foreign layer without urls",
            IMAGE,
            away(foreign, json!(null)),
            Expect::status(201),
        ),
        put(
            "an ordinary layer with urls",
            IMAGE,
            away(LAYER, json!(["https://example.com/l"])),
            Expect::status(201),
        ),
        put(
            "an ordinary layer with no url",
            IMAGE,
            away(LAYER, json!([])),
            unknown(),
        ),
        put(
            "urls that are no URLs",
            IMAGE,
            away(LAYER, json!(["", "file:///etc/passwd", "javascript:x", "\u{0}"])),
            Expect::status(201),
        ),
        put(
            "urls that are no texts",
            IMAGE,
            away(LAYER, json!([1, null])),
            invalid(),
        ),
        put(
            "a missing config",
            IMAGE,
            with(image(b"layer"), "config", descriptor(CONFIG, b"away")).to_string(),
            unknown(),
        ),
    ];
    let entry = |media_type: &str, content: &[u8]| {
        json!({"schemaVersion": 2, "manifests": [descriptor(media_type, content)]}).to_string()
    };
    for media_type in TYPES {
        cases.push(put(
            format!("a missing child {media_type}"),
            INDEX,
            entry(media_type, b"away"),
            unknown(),
        ));
        cases.push(put(
            format!("a blob as {media_type}"),
            INDEX,
            entry(media_type, b"layer"),
            unknown(),
        ));
        cases.push(put(
            format!("a child as {media_type}"),
            INDEX,
            entry(media_type, EMPTY_INDEX.as_bytes()),
            Expect::status(201),
        ));
    }
    for media_type in [LAYER, EMPTY, "x", "application/vnd.buildkit.cacheconfig.v0"] {
        cases.push(put(
            format!("a missing blob {media_type}"),
            INDEX,
            entry(media_type, b"away"),
            unknown(),
        ));
        cases.push(put(
            format!("a blob {media_type}"),
            INDEX,
            entry(media_type, b"layer"),
            Expect::status(201),
        ));
        cases.push(put(
            format!("a child as blob {media_type}"),
            INDEX,
            entry(media_type, EMPTY_INDEX.as_bytes()),
            unknown(),
        ));
    }
    // Nothing can hold its own digest; what claims to is a child that is not there.
    let (mut own, mut body) = (sha256(b""), String::new());
    for _ in 0..10 {
        body = json!({"schemaVersion": 2, "manifests": [{"mediaType": INDEX, "digest": own, "size": 1}]}).to_string();
        own = sha256(body.as_bytes());
    }
    cases.push(put("an index of itself", INDEX, body, unknown()));
    let many: Vec<Value> = (0..500).map(|n: u32| descriptor(LAYER, &n.to_le_bytes())).collect();
    cases.push(put(
        "500 missing layers",
        IMAGE,
        with(image(b"layer"), "layers", json!(many)).to_string(),
        unknown(),
    ));
    cases
}

#[test]
fn a_manifest_that_can_be_read_in_two_ways_or_in_none_is_refused() {
    let groups = [
        ambiguous(),
        wrong_members(),
        lies(),
        missing(),
        bodies::bombs(),
        bodies::no_objects(),
        bodies::truncated(),
    ];
    let cases: Vec<Case> = groups.into_iter().flatten().collect();
    assert!(cases.len() >= 800, "{}", cases.len());
    Category {
        prepare,
        ..Category::new("manifests, hostile", cases)
    }
    .hold();
}
