//! Certificates for one test.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};

/// An authority, and its folder for files.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    folder: tempfile::TempDir,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) der: Vec<u8>,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self {
            issuer: Issuer::new(parameters, key),
            certificate,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for 127.0.0.1 and localhost, good for servers and clients.
    pub(crate) fn pair(&self) -> Pair {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let parameters = CertificateParams::new(names).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            der: certificate.der().to_vec(),
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, pair: &Pair) {
        std::fs::write(self.file("tls.crt"), &pair.certificate).unwrap();
        std::fs::write(self.file("tls.key"), &pair.key).unwrap();
    }

    /// A file of the authority's own certificate.
    pub(crate) fn authority_file(&self) -> PathBuf {
        let path = self.file("ca.crt");
        std::fs::write(&path, self.pem()).unwrap();
        path
    }

    /// A client that trusts this authority only.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        let trusted = reqwest::Certificate::from_pem(self.pem().as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([trusted])
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
