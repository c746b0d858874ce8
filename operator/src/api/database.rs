//! Where a Registry keeps its rows.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::SecretRef;

/// The database. Empty: SQLite on the volume.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Keep rows in PostgreSQL 15 or newer. Needed for more than one replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
}

/// A PostgreSQL database. It must exist; the operator migrates its schema.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.caRef) || self.sslMode == 'verify-ca' || self.sslMode == 'verify-full'")
        .message("database.postgres.caRef has no effect where the certificate is not verified: set sslMode to verify-ca or verify-full, or remove caRef")
)]
pub struct Postgres {
    /// Name or address of the server.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9:._-]+$"))]
    pub host: String,

    /// Port of the server.
    #[serde(default = "Postgres::default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// Name of the database.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// How the connection is protected: `disable`, `prefer`, `require`, `verify-ca` or `verify-full`, as PostgreSQL's
    /// own clients mean them.
    #[serde(default)]
    pub ssl_mode: SslMode,

    /// Secret of type `kubernetes.io/basic-auth` with the keys `username` and `password`. Without
    /// `migratorCredentialsRef` the user must own the database or be allowed to create tables in it. Pods are replaced
    /// when it changes.
    pub credentials_ref: SecretRef,

    /// Secret with the keys `username` and `password` of the user that migrates the database: the pods' own user then
    /// needs no right to change tables. Absent: `credentialsRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrator_credentials_ref: Option<SecretRef>,

    /// The most connections that one pod opens. Absent: 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_connections: Option<i32>,

    /// The certificate authority to trust with `verify-ca` and `verify-full`. Absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CertificateRef>,
}

impl Postgres {
    fn default_port() -> i32 {
        5432
    }
}

/// How a connection to PostgreSQL is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt when the server can.
    #[default]
    Prefer,
    /// Always encrypt; trust any certificate.
    Require,
    /// Always encrypt; the certificate must be signed by a trusted authority.
    VerifyCa,
    /// As `verify-ca`, and the certificate must name the host.
    VerifyFull,
}

impl SslMode {
    /// The word that a connection URL takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// A PEM certificate in a Secret in the namespace of the Registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRef {
    /// Name of the Secret, in the namespace of the Registry.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key in the Secret under which the PEM text is.
    #[serde(default = "CertificateRef::default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

impl CertificateRef {
    fn default_key() -> String {
        "ca.crt".to_owned()
    }
}
