//! How clients outside the cluster reach a Registry, and with which certificate.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::SecretRef;

/// Ways in from outside the cluster, beside the Service. With both, the Ingress' host is one of the Gateway's hostnames.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.ingress) || !has(self.gateway) || self.ingress.host in self.gateway.hostnames")
        .message("one registry has one name: add exposure.ingress.host to exposure.gateway.hostnames, or remove one of the two ways in")
)]
pub struct Exposure {
    /// Make an `Ingress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,

    /// Make an `HTTPRoute` of the Gateway API. Needs that API in the cluster (gateway.networking.k8s.io/v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
}

/// An `Ingress` to the Service.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Host name under which clients reach the registry.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub host: String,

    /// Class of the Ingress. Absent: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,

    /// Annotations of the Ingress, for its controller. Pushes need one without a limit on bodies, such as
    /// `nginx.ingress.kubernetes.io/proxy-body-size: "0"`; with `spec.tls` one that says that the pods speak TLS.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::annotations")]
    pub annotations: BTreeMap<String, String>,

    /// Certificate with which the Ingress serves the host. Absent: the Ingress does not end TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Certificate>,
}

/// An `HTTPRoute` to the Service. TLS ends at the Gateway's listener.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The Gateways that the route is attached to.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub parent_refs: Vec<ParentRef>,

    /// Host names under which clients reach the registry. The first is the one that the status shows.
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
        )
    )]
    pub hostnames: Vec<String>,

    /// How long the Gateway lets one request take, such as `1h`; `0s` for as long as it takes. Pushes of large layers
    /// are long requests. Absent: what the Gateway does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    pub request_timeout: Option<String>,
}

/// A Gateway, or one listener of it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Namespace of the Gateway. Absent: that of the Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// Name of one listener. Absent: every listener that takes the host names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,

    /// Port of the listener. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// A certificate: one that is in a Secret, or one that cert-manager gets. Exactly one of the two.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) != has(self.certManager)")
        .message("a certificate comes from one place: set secretRef or certManager, exactly one of them")
)]
pub struct Certificate {
    /// Secret of type `kubernetes.io/tls` with the keys `tls.crt` and `tls.key`. A renewed certificate is taken up
    /// without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,

    /// Let cert-manager get and renew the certificate. Needs cert-manager in the cluster (cert-manager.io/v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManager>,
}

/// A certificate from cert-manager.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertManager {
    /// Who signs the certificate.
    pub issuer_ref: IssuerRef,
}

/// An issuer of cert-manager.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Name of the issuer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Kind of the issuer: `Issuer` (in the namespace of the Registry) or `ClusterIssuer`.
    #[serde(default)]
    pub kind: IssuerKind,
}

/// Kind of an issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IssuerKind {
    /// In the namespace of the Registry.
    #[default]
    Issuer,
    /// For the whole cluster.
    ClusterIssuer,
}

impl IssuerKind {
    /// The word that a `Certificate` takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "Issuer",
            Self::ClusterIssuer => "ClusterIssuer",
        }
    }
}
