//! Manifests that are valid and look odd: whatever was pushed comes back byte for byte, under its digest and its type.

use crate::case::{Case, Category, Client, Expect, Surprise};
use crate::content::{CONFIG, DOCKER_IMAGE, DOCKER_LIST, IMAGE, INDEX, LAYER, push_blob, put_manifest, sha256, sha512};
use crate::random::Random;
use crate::wire::Request;

const CASES: usize = 1000;
const NAME: &str = "corpus/odd";
const BLOBS: [&str; 4] = ["{}", "a layer", "another layer", ""];

fn prepare(client: &mut Client) -> Result<(), Surprise> {
    for blob in BLOBS {
        let at = Request::new(
            "PUT",
            format!(
                "{}?digest={}",
                crate::content::open_session(client, NAME)?,
                sha512(blob.as_bytes())
            ),
        );
        client.ask(&at.body(blob), &Expect::status(201))?;
        if blob.is_empty() {
            let at = Request::new(
                "PUT",
                format!("{}?digest={}", crate::content::open_session(client, NAME)?, sha256(b"")),
            );
            client.ask(&at, &Expect::status(201))?;
        } else {
            push_blob(client, NAME, blob.as_bytes())?;
        }
    }
    client
        .ask(&put_manifest(NAME, "child", INDEX, CHILD), &Expect::status(201))
        .map(drop)
}

const CHILD: &str = r#"{"schemaVersion":2,"manifests":[],"annotations":{"is":"a child"}}"#;

/// A writer of JSON that never writes the same thing the same way.
struct Writer {
    random: Random,
    /// White space wherever it may stand.
    spacious: bool,
}

impl Writer {
    fn space(&mut self) -> String {
        if self.spacious {
            self.random.text(&[' ', '\t', '\n', '\r'], 0, 3)
        } else {
            String::new()
        }
    }

    /// A string, some of its letters as escapes.
    fn string(&mut self, text: &str) -> String {
        let mut written = String::from("\"");
        for letter in text.chars() {
            let short = match letter {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\t' => "\\t",
                '/' if self.random.once_in(4) => "\\/",
                _ => "",
            };
            if !short.is_empty() {
                written.push_str(short);
            } else if letter.is_control() || self.random.once_in(8) {
                let escape = |unit: &u16| format!("\\u{unit:04x}");
                let units: String = letter.encode_utf16(&mut [0; 2]).iter().map(escape).collect();
                written.push_str(&if self.random.once_in(2) {
                    units.to_uppercase().replace("\\U", "\\u")
                } else {
                    units
                });
            } else {
                written.push(letter);
            }
        }
        written + "\""
    }

    fn joined(&mut self, open: char, parts: &[String], close: char) -> String {
        let mut written = open.to_string();
        for (at, part) in parts.iter().enumerate() {
            let (before, after) = (self.space(), self.space());
            let comma = if at == 0 { "" } else { "," };
            written.extend([comma, &before, part, &after]);
        }
        written + &self.space() + &close.to_string()
    }

    /// An object of members that are written already, in any order.
    fn object(&mut self, members: &[(&str, String)]) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (name, value) in members {
            let (name, before, after) = (self.string(name), self.space(), self.space());
            parts.push(format!("{name}{before}:{after}{value}"));
        }
        self.random.shuffle(&mut parts);
        self.joined('{', &parts, '}')
    }

    fn number(&mut self) -> String {
        let numbers = [
            "0",
            "-0",
            "1",
            "-1",
            "2.0",
            "1e5",
            "1E+5",
            "1e-300",
            "1e400",
            "-1e-400",
            "0.1",
            "9007199254740993",
            "9223372036854775808",
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "0.00000000000000000000000000001",
        ];
        (*self.random.pick(&numbers)).to_owned()
    }

    /// Any value, `deep` levels at most.
    fn any(&mut self, deep: usize) -> String {
        match self.random.below(if deep == 0 { 4 } else { 7 }) {
            0 => "null".to_owned(),
            1 => (*self.random.pick(&["true", "false"])).to_owned(),
            2 => self.number(),
            3 => self.strange_string(),
            4 | 5 => {
                let parts: Vec<String> = (0..self.random.below(4)).map(|_| self.any(deep - 1)).collect();
                self.joined('[', &parts, ']')
            }
            _ => {
                let members: Vec<(&str, String)> = ["", "a", "a", "é", "schemaversion"][..self.random.below(5)]
                    .iter()
                    .map(|name| (*name, self.any(deep - 1)))
                    .collect();
                self.object(&members)
            }
        }
    }

    fn strange_string(&mut self) -> String {
        let texts = [
            "",
            " ",
            "a",
            "é",
            "\u{1f433}",
            "\u{202e}",
            "\u{feff}",
            "\u{0}",
            "\u{1}\u{1f}",
            "\u{7f}",
            "\u{85}\u{9b}",
            "\"",
            "\\",
            "</script>",
            "\u{2028}\u{2029}",
            "null",
            "${x}",
            "e\u{301}",
            "\u{fffd}",
            "\u{10ffff}",
            "\r\n",
            "'; DROP TABLE manifests; --",
            "%00%0a",
        ];
        let text = *self.random.pick(&texts);
        self.string(text)
    }

    /// Annotations, some twice.
    fn annotations(&mut self) -> String {
        let names = [
            "org.opencontainers.image.created",
            "a",
            "a",
            "",
            "é",
            "\u{0}",
            "A",
            "a.b/c",
            "\u{1f433}",
            "\"",
            " a",
            "sigstore",
        ];
        let count = self.random.below(names.len());
        let members: Vec<(&str, String)> = names[..count]
            .iter()
            .map(|name| (*name, self.strange_string()))
            .collect();
        self.object(&members)
    }

    /// Members that no specification knows, or that say nothing.
    fn extra(&mut self, silent: &[&'static str]) -> Vec<(&'static str, String)> {
        let mut members = Vec::new();
        if self.random.once_in(2) {
            members.push(("annotations", self.annotations()));
        }
        for name in silent {
            if self.random.once_in(5) {
                members.push((*name, "null".to_owned()));
            }
        }
        for name in ["x", "", "é", "config2", "layer", "\u{1f433}", "$schema", "__proto__"] {
            if self.random.once_in(5) {
                members.push((name, self.any(5)));
            }
        }
        members
    }

    fn descriptor(&mut self, media_type: &str, content: &str) -> String {
        let digest = if self.random.once_in(4) {
            sha512(content.as_bytes())
        } else {
            sha256(content.as_bytes())
        };
        let (media_type, digest) = (self.string(media_type), self.string(&digest));
        // What is claimed is not compared with what is stored.
        let size = if self.random.once_in(10) {
            9_223_372_036_854_775_807
        } else {
            content.len()
        };
        let mut members = vec![
            ("mediaType", media_type),
            ("digest", digest),
            ("size", size.to_string()),
        ];
        members.extend(self.extra(&["urls", "platform", "data", "artifactType"]));
        match self.random.below(8) {
            0 => members.push(("platform", self.any(3))),
            1 => members.push(("urls", "[]".to_owned())),
            _ => {}
        }
        // One name once: a platform may have come as null already.
        let mut seen = Vec::new();
        members.retain(|(name, _)| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        self.object(&members)
    }

    fn image(&mut self, media_type: &str) -> String {
        let odd_types = [
            LAYER,
            "a",
            "text/html; charset=utf-8",
            "x/y+z",
            "é",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ];
        let count = self.random.below(5);
        let layers: Vec<String> = (0..count)
            .map(|_| {
                let (media_type, content) = (*self.random.pick(&odd_types), *self.random.pick(&BLOBS));
                self.descriptor(media_type, content)
            })
            .collect();
        let config_type = *self.random.pick(&[
            CONFIG,
            "application/vnd.oci.empty.v1+json",
            "application/vnd.wasm.config.v0+json",
            "x",
        ]);
        let mut members = vec![
            ("config", self.descriptor(config_type, "{}")),
            ("layers", self.joined('[', &layers, ']')),
        ];
        self.complete(&mut members, media_type, "manifests")
    }

    fn index(&mut self, media_type: &str) -> String {
        let count = self.random.below(5);
        let entries: Vec<String> = (0..count)
            .map(|_| {
                let (media_type, content) = if self.random.once_in(3) {
                    (LAYER, "a layer")
                } else {
                    (INDEX, CHILD)
                };
                self.sha256_descriptor(media_type, content)
            })
            .collect();
        let mut members = vec![("manifests", self.joined('[', &entries, ']'))];
        self.complete(&mut members, media_type, "layers")
    }

    fn sha256_descriptor(&mut self, media_type: &str, content: &str) -> String {
        let (media_type, digest) = (self.string(media_type), self.string(&sha256(content.as_bytes())));
        self.object(&[
            ("mediaType", media_type),
            ("digest", digest),
            ("size", content.len().to_string()),
        ])
    }

    fn complete(&mut self, members: &mut Vec<(&'static str, String)>, media_type: &str, other: &'static str) -> String {
        members.push(("schemaVersion", "2".to_owned()));
        let is_docker = media_type == DOCKER_IMAGE || media_type == DOCKER_LIST;
        if is_docker || self.random.once_in(2) {
            members.push(("mediaType", self.string(media_type)));
        }
        if !is_docker && self.random.once_in(4) {
            let artifact_type = *self.random.pick(&["application/vnd.x", "x", "application/a+b", "é"]);
            members.push(("artifactType", self.string(artifact_type)));
        }
        if !is_docker && self.random.once_in(4) {
            let missing = self.random.next().to_string();
            members.push(("subject", self.sha256_descriptor(INDEX, &missing)));
        }
        members.extend(self.extra(&[]));
        if self.random.once_in(6) {
            members.push((other, "null".to_owned()));
        }
        let (before, object, after) = (self.space(), self.object(members), self.space());
        before + &object + &after
    }
}

fn case(seed: usize) -> Case {
    let mut writer = Writer {
        random: Random::seeded(1000 + seed as u64),
        spacious: seed.is_multiple_of(2),
    };
    let media_type = *writer
        .random
        .pick(&[IMAGE, IMAGE, INDEX, INDEX, DOCKER_IMAGE, DOCKER_LIST]);
    let body = match media_type {
        IMAGE | DOCKER_IMAGE => writer.image(media_type),
        _ => writer.index(media_type),
    };
    let body = body.into_bytes();
    let (digest, reference) = match writer.random.below(3) {
        0 => (sha256(&body), format!("t{}", seed % 50)),
        1 => (sha256(&body), sha256(&body)),
        _ => (sha512(&body), sha512(&body)),
    };
    let put = put_manifest(NAME, &reference, media_type, body.clone());
    Case::play(
        format!("seed {seed}: {}", String::from_utf8_lossy(&body)),
        move |client| {
            let stored = client.ask(&put, &Expect::status(201))?;
            let found = client.ask(
                &Request::new("GET", format!("/v2/{NAME}/manifests/{digest}")),
                &Expect::status(200),
            )?;
            let told = |answer: &crate::wire::Answer| answer.header("docker-content-digest").map(str::to_owned);
            let same = found.body == body && found.header("content-type") == Some(media_type);
            let named = told(&stored).as_ref() == Some(&digest) && told(&found).as_ref() == Some(&digest);
            (same && named)
                .then_some(())
                .ok_or_else(|| "not what was pushed".to_owned())
        },
    )
}

#[test]
fn a_valid_manifest_comes_back_byte_for_byte_however_odd_it_looks() {
    Category {
        prepare,
        ..Category::new("manifests, odd", (0..CASES).map(case).collect())
    }
    .hold();
}
