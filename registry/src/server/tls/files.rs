//! The files of TLS, read and turned into what rustls wants.

use super::validity::{Validity, validity};
use crate::config::{ClientAuth, Tls};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{setting}: {} cannot be read", path.display())]
    Unreadable {
        setting: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{setting}: {} is not a PEM file", path.display())]
    NotPem {
        setting: &'static str,
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("{setting}: {} holds no certificate; it wants BEGIN CERTIFICATE blocks", path.display())]
    NoCertificate { setting: &'static str, path: PathBuf },
    #[error(
        "http.tls.key_file: {} holds no private key that can be read; it wants one BEGIN … PRIVATE KEY block (PKCS#8, \
         PKCS#1 or SEC1) without a password",
        path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "http.tls.key_file: {} is not the key of the certificate in {}; give the two that were made together",
        key.display(), certificate.display()
    )]
    Mismatch { key: PathBuf, certificate: PathBuf },
    #[error("http.tls.certificate_file: {} and its key cannot be used", path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("http.tls.client_ca_file: {} holds a certificate that cannot be an authority", path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What the files hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

/// A pair that can be used.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    pub(crate) validity: Option<Validity>,
}

impl Loaded {
    /// When it expires, in seconds since 1970; 0 when the certificate does not say so in a form that is known.
    pub(super) fn expires(&self) -> i64 {
        self.validity.map_or(0, |validity| validity.not_after)
    }

    /// What is odd at `now`, in seconds since 1970.
    pub(crate) fn oddity(&self, now: i64) -> Option<&'static str> {
        let validity = self.validity?;
        if validity.not_after <= now {
            return Some("the certificate has expired; clients refuse it until it is renewed");
        }
        (validity.not_before > now).then_some("the certificate is not valid yet; clients refuse it until then")
    }
}

/// Reads the files once.
///
/// # Errors
/// When one cannot be read or used.
pub(crate) async fn read(settings: &Tls) -> Result<Loaded, TlsError> {
    Contents::read(settings).await?.load(settings)
}

fn authorities(settings: &Tls) -> Option<&Path> {
    match &settings.client_auth {
        ClientAuth::None => None,
        ClientAuth::Optional(path) | ClientAuth::Required(path) => Some(path),
    }
}

impl Contents {
    pub(super) async fn read(settings: &Tls) -> Result<Self, TlsError> {
        let file = async |setting, path: &Path| {
            tokio::fs::read(path).await.map_err(|source| TlsError::Unreadable {
                setting,
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificate: file("http.tls.certificate_file", &settings.certificate_file).await?,
            key: file("http.tls.key_file", &settings.key_file).await?,
            client_ca: match authorities(settings) {
                Some(path) => file("http.tls.client_ca_file", path).await?,
                None => Vec::new(),
            },
        })
    }

    pub(super) fn load(&self, settings: &Tls) -> Result<Loaded, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let path = || settings.certificate_file.clone();
        let chain = certificates(
            "http.tls.certificate_file",
            &settings.certificate_file,
            &self.certificate,
        )?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_no_key| TlsError::NoKey {
            path: settings.key_file.clone(),
        })?;
        let validity = chain.first().and_then(|leaf| validity(leaf));
        let unusable = |source| {
            if matches!(source, rustls::Error::InconsistentKeys(_)) {
                let key = settings.key_file.clone();
                return TlsError::Mismatch {
                    key,
                    certificate: path(),
                };
            }
            TlsError::Unusable { path: path(), source }
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match self.verifier(settings, provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded {
            config: Arc::new(config),
            validity,
        })
    }

    fn verifier(
        &self,
        settings: &Tls,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(path) = authorities(settings) else {
            return Ok(None);
        };
        let refused = |source: Box<dyn std::error::Error + Send + Sync>| TlsError::Authority {
            path: path.to_owned(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates("http.tls.client_ca_file", path, &self.client_ca)? {
            roots.add(authority).map_err(|source| refused(Box::new(source)))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match settings.client_auth {
            ClientAuth::Required(_) => builder,
            ClientAuth::None | ClientAuth::Optional(_) => builder.allow_unauthenticated(),
        };
        let verifier = builder.build().map_err(|source| refused(Box::new(source)))?;
        Ok(Some(verifier))
    }
}

fn certificates(setting: &'static str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::NotPem {
            setting,
            path: path.to_owned(),
            source,
        })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            setting,
            path: path.to_owned(),
        });
    }
    Ok(chain)
}
