//! URLs under which a client may read one object for a while, without asking the registry.

use super::error::Error;
use super::providers::Bucket;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use object_store::path::Path as Key;
use sha1::Sha1;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// An edge (a CDN, a proxy with a cache) in front of the bucket, and the key that it knows.
///
/// The signature is that of Google Cloud CDN's signed URLs: one HMAC over one string, which any proxy with a scripting
/// language checks in three lines. `CloudFront`'s needs an RSA key pair and is no easier to check elsewhere. The URL is
///
/// ```text
/// BASE/KEY?Expires=SECONDS&KeyName=NAME&Signature=SIGNATURE
/// ```
///
/// where `SECONDS` is the Unix time of its end and `SIGNATURE` is the URL-safe base64 form, padded, of the HMAC-SHA1 of all that
/// stands before `&Signature=`, scheme and host included.
#[derive(Clone)]
pub struct EdgeOptions {
    /// Where the bucket's root is, as clients reach it.
    pub base_url: Url,
    /// The name that the edge has for the key.
    pub key_name: String,
    /// The key's bytes.
    pub key: Vec<u8>,
}

impl fmt::Debug for EdgeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeOptions")
            .field("base_url", &self.base_url.as_str())
            .field("key_name", &self.key_name)
            .finish_non_exhaustive()
    }
}

/// Who signs.
#[derive(Debug, Clone)]
pub(super) enum Signing {
    /// The store's own credentials.
    Store(Arc<dyn Bucket>),
    /// The key that an edge knows.
    Edge(Box<EdgeOptions>),
}

impl Signing {
    /// A URL for GET that ends after `lifetime`; `now` is Unix time in seconds.
    pub(super) async fn url(&self, key: &Key, now: u64, lifetime: Duration) -> Result<String, Error> {
        match self {
            Self::Edge(edge) => Ok(edge.url(key, now.saturating_add(lifetime.as_secs()))),
            Self::Store(bucket) => {
                let signed = bucket.signed_url(Method::GET, key, lifetime).await;
                signed
                    .map(String::from)
                    .map_err(|source| Error::of("sign a URL for", key.as_ref(), source))
            }
        }
    }
}

impl EdgeOptions {
    fn url(&self, key: &Key, expires: u64) -> String {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(key.as_ref().split('/'));
        }
        url.set_query(None);
        url.query_pairs_mut()
            .append_pair("Expires", &expires.to_string())
            .append_pair("KeyName", &self.key_name);
        let signature = BASE64_URL_SAFE.encode(hmac(&self.key, url.as_str().as_bytes()));
        format!("{url}&Signature={signature}")
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key of any length will do; the error is for other algorithms.
    Hmac::<Sha1>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mac| mac.chain_update(text).finalize().into_bytes().to_vec(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(base_url: &str) -> EdgeOptions {
        EdgeOptions {
            base_url: base_url.parse().unwrap(),
            key_name: "my-key".to_owned(),
            key: BASE64_URL_SAFE.decode("nZtRohdNF9m3cKM24IcK4w==").unwrap(),
        }
    }

    /// The vectors of the signer's own tests in Google's Go samples (`cdn/signurls`).
    #[test]
    fn the_signature_is_that_of_the_scheme_s_published_examples() {
        for (url, name, expires, signature) in [
            (
                "http://35.186.234.33/index.html",
                "my-key",
                1_558_131_350,
                "fm6JZSmKNsB5sys8VGr-JE4LiiE=",
            ),
            (
                "https://www.google.com/",
                "my-key",
                1_549_751_401,
                "M_QO7BGHi2sGqrJO-MDr0uhDFuc=",
            ),
            (
                "https://www.example.com/some/path?some=query&another=param",
                "my-key",
                1_549_751_461,
                "sTqqGX5hUJmlRJ84koAIhWW_c3M=",
            ),
        ] {
            let separator = if url.contains('?') { '&' } else { '?' };
            let text = format!("{url}{separator}Expires={expires}&KeyName={name}");

            assert_eq!(BASE64_URL_SAFE.encode(hmac(&edge(url).key, text.as_bytes())), signature);
        }
    }

    #[test]
    fn the_url_is_the_object_s_below_the_base_with_its_end_and_the_key_s_name() {
        for base in ["https://cdn.example.com/blobs", "https://cdn.example.com/blobs/"] {
            let url = edge(base).url(&Key::parse("team/blobs/ab/cd").unwrap(), 1_700_000_000);

            let (signed, signature) = url.split_once("&Signature=").unwrap();
            assert_eq!(
                signed,
                "https://cdn.example.com/blobs/team/blobs/ab/cd?Expires=1700000000&KeyName=my-key"
            );
            assert_eq!(BASE64_URL_SAFE.decode(signature).unwrap().len(), 20);
        }
    }
}
