//! Signatures of cosign with a key: which bytes were signed, and what they say; pure.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// What the DER of an ECDSA P-256 public key begins with.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// How many bytes of the point follow.
const POINT: usize = 65;

/// An ECDSA P-256 public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    der: Vec<u8>,
}

impl PublicKey {
    /// The key in a PEM file, as `cosign generate-key-pair` writes it.
    ///
    /// # Errors
    /// What it is instead.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let body = text
            .split_once("-----BEGIN PUBLIC KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PUBLIC KEY-----"))
            .map(|(body, _)| body.split_whitespace().collect::<String>())
            .ok_or_else(|| "it is no PEM file with a PUBLIC KEY, such as cosign.pub".to_owned())?;
        let der = STANDARD
            .decode(body)
            .map_err(|_encoding| "the PEM file is damaged".to_owned())?;
        if der.len() != P256.len() + POINT || !der.starts_with(&P256) {
            return Err(
                "it is another kind of key: make an ECDSA P-256 one with `cosign generate-key-pair`".to_owned(),
            );
        }
        Ok(Self { der })
    }

    /// The first digits of the key's hash.
    pub fn fingerprint(&self) -> String {
        hex::encode(&Sha256::digest(&self.der)[..8])
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let point = &self.der[P256.len()..];
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(message, signature)
            .is_ok()
    }
}

/// What a registry has beside an image, and says is a signature of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A payload and the base64 signature beside it, as the tag `sha256-….sig` has them.
    Simple {
        /// The bytes that were signed.
        payload: Vec<u8>,
        /// The signature.
        signature: String,
    },
    /// A bundle of sigstore, as the referrers have it.
    Bundle(Vec<u8>),
}

/// Why no signature counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is none.
    #[error("it is not signed: run `cosign sign --key` for its digest")]
    Unsigned,
    /// There are some, and none is by that key.
    #[error("none of its {0} signatures is by the key {1}")]
    OtherKey(usize, String),
    /// One is by the key, and is about another image.
    #[error("the signature beside it is about another image")]
    OtherImage,
}

/// Whether one of `found` says that the holder of `key` signed `digest`.
///
/// # Errors
/// [`Problem`]: what is wrong with the one that came closest.
pub fn check(key: &PublicKey, digest: &str, found: &[Found]) -> Result<(), Problem> {
    let mut problem = if found.is_empty() {
        Problem::Unsigned
    } else {
        Problem::OtherKey(found.len(), key.fingerprint())
    };
    for found in found {
        match signed_digests(key, found) {
            Some(digests) if digests.iter().any(|signed| signed == digest) => return Ok(()),
            Some(_) => problem = Problem::OtherImage,
            None => {}
        }
    }
    Err(problem)
}

/// What `found` is about, when it is by `key`. Nothing in it is believed before its signature was checked.
fn signed_digests(key: &PublicKey, found: &Found) -> Option<Vec<String>> {
    match found {
        Found::Simple { payload, signature } => {
            let signature = STANDARD.decode(signature.trim()).ok()?;
            if !key.has_signed(payload, &signature) {
                return None;
            }
            let simple: Simple = serde_json::from_slice(payload).ok()?;
            Some(vec![simple.critical.image.digest])
        }
        Found::Bundle(bytes) => from_bundle(key, bytes),
    }
}

/// A bundle whose envelope (DSSE) holds an in-toto statement about the image.
fn from_bundle(key: &PublicKey, bytes: &[u8]) -> Option<Vec<String>> {
    let bundle: Bundle = serde_json::from_slice(bytes).ok()?;
    let envelope = bundle.dsse_envelope;
    let payload = STANDARD.decode(&envelope.payload).ok()?;
    let message = pre_authentication(&envelope.payload_type, &payload);
    let is_signed = envelope
        .signatures
        .iter()
        .filter_map(|signature| STANDARD.decode(&signature.sig).ok())
        .any(|signature| key.has_signed(&message, &signature));
    let statement: Statement = serde_json::from_slice(&payload).ok()?;
    let is_a_signature = statement.predicate_type == "https://sigstore.dev/cosign/sign/v1";
    (is_signed && is_a_signature).then(|| {
        let subjects = statement.subject.into_iter();
        subjects
            .map(|subject| format!("sha256:{}", subject.digest.sha256))
            .collect()
    })
}

/// The bytes that an envelope's signature is over.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[derive(Deserialize)]
struct Simple {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: SimpleImage,
}

#[derive(Deserialize)]
struct SimpleImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;

    const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    struct Signer(EcdsaKeyPair);

    impl Signer {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
        }

        fn public(&self) -> PublicKey {
            let der = [P256.as_slice(), self.0.public_key().as_ref()].concat();
            let pem = format!(
                "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                STANDARD.encode(der)
            );
            PublicKey::from_pem(&pem).unwrap()
        }

        fn sign(&self, message: &[u8]) -> String {
            STANDARD.encode(self.0.sign(&SystemRandom::new(), message).unwrap())
        }

        fn simple(&self, digest: &str) -> Found {
            let payload = format!(r#"{{"critical":{{"image":{{"docker-manifest-digest":"{digest}"}}}}}}"#).into_bytes();
            Found::Simple {
                signature: self.sign(&payload),
                payload,
            }
        }

        fn bundle(&self, predicate: &str) -> Found {
            let statement = format!(
                r#"{{"predicateType":"{predicate}","subject":[{{"digest":{{"sha256":"{}"}}}}]}}"#,
                &DIGEST[7..]
            );
            let kind = "application/vnd.in-toto+json";
            let sig = self.sign(&pre_authentication(kind, statement.as_bytes()));
            let payload = STANDARD.encode(&statement);
            let text = format!(
                r#"{{"dsseEnvelope":{{"payload":"{payload}","payloadType":"{kind}","signatures":[{{"sig":"{sig}"}}]}}}}"#
            );
            Found::Bundle(text.into_bytes())
        }
    }

    #[test]
    fn a_signature_by_the_key_about_the_image_counts_among_others() {
        let (ours, other) = (Signer::new(), Signer::new());
        let found = [other.simple(DIGEST), ours.simple(DIGEST)];

        assert_eq!(check(&ours.public(), DIGEST, &found), Ok(()));
        assert_eq!(
            check(
                &ours.public(),
                DIGEST,
                &[ours.bundle("https://sigstore.dev/cosign/sign/v1")]
            ),
            Ok(())
        );
    }

    #[test]
    fn no_signature_one_by_another_key_and_one_about_another_image_do_not_count() {
        let (ours, other) = (Signer::new(), Signer::new());
        let elsewhere = format!("sha256:{}", "2".repeat(64));

        assert_eq!(check(&ours.public(), DIGEST, &[]), Err(Problem::Unsigned));
        let by_other = check(&ours.public(), DIGEST, &[other.simple(DIGEST)]);
        assert_eq!(by_other, Err(Problem::OtherKey(1, ours.public().fingerprint())));
        assert_eq!(
            check(&ours.public(), &elsewhere, &[ours.simple(DIGEST)]),
            Err(Problem::OtherImage)
        );
    }

    #[test]
    fn a_payload_that_was_changed_after_it_was_signed_does_not_count() {
        let ours = Signer::new();
        let Found::Simple { payload, signature } = ours.simple(&format!("sha256:{}", "2".repeat(64))) else {
            unreachable!()
        };
        let changed = String::from_utf8(payload)
            .unwrap()
            .replace(&"2".repeat(64), &"1".repeat(64));

        let found = [Found::Simple {
            payload: changed.into_bytes(),
            signature,
        }];
        assert!(check(&ours.public(), DIGEST, &found).is_err());
    }

    #[test]
    fn an_attestation_of_something_else_is_no_signature() {
        let ours = Signer::new();

        assert!(check(&ours.public(), DIGEST, &[ours.bundle("https://slsa.dev/provenance/v1")]).is_err());
    }

    #[test]
    fn another_kind_of_key_is_refused_with_what_to_do() {
        let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

        assert!(
            PublicKey::from_pem(ed25519)
                .unwrap_err()
                .contains("cosign generate-key-pair")
        );
        assert!(PublicKey::from_pem("ssh-rsa AAAA").is_err());
    }
}
