//! What the operator asks of the API server, as one table.
//!
//! [`Cluster`](crate::cluster::Cluster) sends nothing that is not in this table, and a test compares the table with
//! the rules in the chart: so the chart grants what the code asks, no less and no more.

/// A verb of Kubernetes' authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Read one object by name.
    Get,
    /// Read many objects.
    List,
    /// Be told about changes.
    Watch,
    /// Make an object.
    Create,
    /// Put an object in the place of the one that was read.
    Update,
    /// Change an object, also by server-side apply.
    Patch,
    /// Remove an object.
    Delete,
}

impl Verb {
    /// The word in a role's rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    /// Whether it changes anything.
    pub fn writes(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Watch => false,
            Self::Create | Self::Update | Self::Patch | Self::Delete => true,
        }
    }
}

/// What may be done with one resource.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural name, with `/subresource` where it is one.
    pub resource: &'static str,
    /// What is asked.
    pub verbs: &'static [Verb],
}

use Verb::{Create, Delete, Get, List, Patch, Update, Watch};

/// Everything that the operator asks. Server-side apply of an object that is not there yet needs `create` too.
pub const GRANTS: &[Grant] = &[
    Grant {
        group: "berth.dev",
        resource: "registries",
        verbs: &[Get, List, Watch],
    },
    Grant {
        group: "berth.dev",
        resource: "registries/status",
        verbs: &[Patch],
    },
    Grant {
        group: "berth.dev",
        resource: "registryrollouts",
        verbs: &[List, Create, Patch, Delete],
    },
    Grant {
        group: "berth.dev",
        resource: "registryrollouts/status",
        verbs: &[Patch],
    },
    Grant {
        group: "berth.dev",
        resource: "registryapprovals",
        verbs: &[List, Watch],
    },
    Grant {
        group: "apps",
        resource: "controllerrevisions",
        verbs: &[List, Create, Patch, Delete],
    },
    Grant {
        group: "apps",
        resource: "deployments",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "apps",
        resource: "replicasets",
        verbs: &[List],
    },
    Grant {
        group: "batch",
        resource: "jobs",
        verbs: &[List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "",
        resource: "configmaps",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "",
        resource: "persistentvolumeclaims",
        verbs: &[Get, List, Watch, Create, Patch],
    },
    Grant {
        group: "",
        resource: "pods",
        verbs: &[List],
    },
    Grant {
        group: "",
        resource: "secrets",
        verbs: &[Get, Watch, Create],
    },
    Grant {
        group: "",
        resource: "serviceaccounts",
        verbs: &[Get, List, Watch, Create, Patch],
    },
    Grant {
        group: "",
        resource: "services",
        verbs: &[Get, List, Watch, Create, Patch],
    },
    Grant {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &[Get, Create, Update],
    },
    Grant {
        group: "autoscaling",
        resource: "horizontalpodautoscalers",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "cert-manager.io",
        resource: "certificates",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "gateway.networking.k8s.io",
        resource: "httproutes",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "monitoring.coreos.com",
        resource: "podmonitors",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "monitoring.coreos.com",
        resource: "servicemonitors",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "networking.k8s.io",
        resource: "ingresses",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "networking.k8s.io",
        resource: "networkpolicies",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "policy",
        resource: "poddisruptionbudgets",
        verbs: &[Get, List, Watch, Create, Patch, Delete],
    },
    Grant {
        group: "events.k8s.io",
        resource: "events",
        verbs: &[Create, Patch],
    },
];

/// Whether the table has that verb for that resource.
pub fn is_granted(group: &str, resource: &str, verb: Verb) -> bool {
    GRANTS
        .iter()
        .any(|grant| grant.group == group && grant.resource == resource && grant.verbs.contains(&verb))
}
