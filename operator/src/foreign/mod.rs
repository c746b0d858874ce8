//! Kinds that other projects bring to a cluster, or do not: each is asked for by discovery before it is used.
//!
//! Their schemas are their projects' own, so what the operator writes is free-form here, and the API server checks it.

pub mod changes;

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An API that a cluster may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionalApi {
    /// `HTTPRoute` of the Gateway API.
    Routes,
    /// `Certificate` of cert-manager.
    Certificates,
    /// `PodMonitor` of the Prometheus operator.
    PodMonitors,
    /// `ServiceMonitor` of the Prometheus operator.
    ServiceMonitors,
}

impl OptionalApi {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::Routes,
        Self::Certificates,
        Self::PodMonitors,
        Self::ServiceMonitors,
    ];

    /// Group and version.
    pub fn group_version(self) -> &'static str {
        match self {
            Self::Routes => "gateway.networking.k8s.io/v1",
            Self::Certificates => "cert-manager.io/v1",
            Self::PodMonitors | Self::ServiceMonitors => "monitoring.coreos.com/v1",
        }
    }

    /// Plural name of the kind.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Routes => "httproutes",
            Self::Certificates => "certificates",
            Self::PodMonitors => "podmonitors",
            Self::ServiceMonitors => "servicemonitors",
        }
    }

    /// Whose it is, for people.
    pub fn project(self) -> &'static str {
        match self {
            Self::Routes => "the Gateway API",
            Self::Certificates => "cert-manager",
            Self::PodMonitors | Self::ServiceMonitors => "the Prometheus operator",
        }
    }
}

/// Whatever else an object has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// Its members.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

macro_rules! foreign {
    ($(#[doc = $doc:literal] $spec:ident is $kind:literal, $plural:literal of $group:literal;)*) => {$(
        #[doc = $doc]
        #[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[kube(group = $group, version = "v1", kind = $kind, plural = $plural, namespaced, schema = "disabled",
               status = "Content", derive = "PartialEq", doc = $doc)]
        pub struct $spec {
            /// Its members.
            #[serde(flatten)]
            pub members: Map<String, Value>,
        }

        impl From<Value> for $spec {
            fn from(value: Value) -> Self {
                Self { members: if let Value::Object(members) = value { members } else { Map::new() } }
            }
        }
    )*};
}

foreign! {
    /// Content of an `HTTPRoute`.
    RouteSpec is "HTTPRoute", "httproutes" of "gateway.networking.k8s.io";
    /// Content of a `Certificate`.
    CertificateSpec is "Certificate", "certificates" of "cert-manager.io";
    /// Content of a `PodMonitor`.
    PodMonitorSpec is "PodMonitor", "podmonitors" of "monitoring.coreos.com";
    /// Content of a `ServiceMonitor`.
    ServiceMonitorSpec is "ServiceMonitor", "servicemonitors" of "monitoring.coreos.com";
}
