//! Why the API server did not do what was asked, and what to do about it; pure.

use serde::Serialize;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Such as `list`.
    pub verb: &'static str,
    /// Plural of the kind, such as `registries`.
    pub resource: String,
    /// Group of the kind; empty for Kubernetes' own.
    pub group: String,
    /// Where; empty for all namespaces and for what is in none.
    pub namespace: String,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Refusal {
    /// The user has no right to it.
    #[error(
        "you may not {verb} {resource}{}: {}",
        place(namespace),
        remedy(role, user, namespace)
    )]
    Forbidden {
        /// What.
        verb: &'static str,
        /// Of what.
        resource: String,
        /// Where.
        namespace: String,
        /// A role of the chart that has the right.
        role: &'static str,
        /// Who asked, as the API server says.
        user: String,
    },
    /// The definitions are not there.
    #[error(
        "this cluster does not know {0}: install Berth's chart (charts/berth), or its definitions with \
         `berth-operator crds --apply`"
    )]
    NotInstalled(String),
    /// The user is unknown.
    #[error("the API server does not accept the credentials of this kubeconfig: log in again ({0})")]
    Unauthenticated(String),
    /// What the API server says.
    #[error("{0}")]
    Refused(String),
    /// Nobody answered.
    #[error("the API server does not answer: {0}; is the context right, and the cluster up?")]
    NoAnswer(String),
}

impl Refusal {
    /// What `error` means, where `asked` was asked.
    pub fn of(error: &kube::Error, asked: &Asked) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::NoAnswer(chain(error));
        };
        match status.code {
            401 => Self::Unauthenticated(status.message.clone()),
            // A policy of admission also forbids, with its own message.
            403 if status.message.contains(" cannot ") => Self::Forbidden {
                verb: asked.verb,
                resource: asked.resource.clone(),
                namespace: asked.namespace.clone(),
                role: role(asked),
                user: user(&status.message),
            },
            404 if asked.group == crate::api::GROUP && ["list", "create"].contains(&asked.verb) => {
                Self::NotInstalled(format!("{}.{}", asked.resource, asked.group))
            }
            _ => Self::Refused(status.message.clone()),
        }
    }

    /// Whether the user lacks a right.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }
}

/// The role of the chart that has a right.
pub fn role(asked: &Asked) -> &'static str {
    let reads = ["get", "list", "watch"].contains(&asked.verb);
    match asked.resource.as_str() {
        _ if reads => "registry-view",
        "registryapprovals" => "registry-approver",
        "leases" => "registry-operator-admin",
        _ if asked.verb == "override" => "registry-operator-admin",
        _ => "registry-edit",
    }
}

fn place(namespace: &str) -> String {
    match namespace {
        "" => " in all namespaces".to_owned(),
        namespace => format!(" in namespace {namespace}"),
    }
}

fn remedy(role: &str, user: &str, namespace: &str) -> String {
    let user = if user.is_empty() { "USER" } else { user };
    if namespace.is_empty() {
        return format!(
            "name a namespace with -n, or have an administrator run `kubectl create clusterrolebinding \
             {user}-{role} --clusterrole={role} --user={user}`"
        );
    }
    format!(
        "have an administrator run `kubectl create rolebinding {user}-{role} --clusterrole={role} --user={user} \
         --namespace={namespace}`"
    )
}

/// `registries.berth.dev is forbidden: User "mary" cannot list resource …`.
fn user(message: &str) -> String {
    let rest = message.split_once("User \"").map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split_once('"'))
        .map(|(user, _)| user.to_owned())
        .unwrap_or_default()
}

/// An error with all that it follows from, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        next = source.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(verb: &'static str, resource: &str, group: &str) -> Asked {
        Asked {
            verb,
            resource: resource.to_owned(),
            group: group.to_owned(),
            namespace: "team".to_owned(),
        }
    }

    fn refused(code: u16, message: &str, asked: &Asked) -> Refusal {
        let status = serde_json::json!({"status": "Failure", "code": code, "message": message, "reason": ""});
        let status = serde_json::from_value(status).unwrap();
        Refusal::of(&kube::Error::Api(Box::new(status)), asked)
    }

    #[test]
    fn who_lacks_a_right_is_told_the_role_that_has_it_and_how_it_is_bound() {
        let message = "leases is forbidden: User \"mary\" cannot create resource \"leases\" in API group";
        let told = refused(403, message, &asked("create", "leases", "coordination.k8s.io")).to_string();

        assert!(
            told.starts_with("you may not create leases in namespace team"),
            "{told}"
        );
        assert!(
            told.contains("--clusterrole=registry-operator-admin --user=mary --namespace=team"),
            "{told}"
        );
    }

    #[test]
    fn what_a_policy_forbids_is_told_in_its_words() {
        let message = "ValidatingAdmissionPolicy 'berth-requests' denied request: promoting needs the verb override";
        let told = refused(403, message, &asked("patch", "registries", "berth.dev"));

        assert_eq!(told, Refusal::Refused(message.to_owned()));
    }

    #[test]
    fn a_cluster_without_the_definitions_is_told_from_one_without_the_object() {
        let unknown = refused(404, "404 page not found", &asked("list", "registries", "berth.dev"));
        let gone = refused(404, "pods \"a\" not found", &asked("get", "pods", ""));

        assert!(unknown.to_string().contains("install Berth's chart"), "{unknown}");
        assert_eq!(gone, Refusal::Refused("pods \"a\" not found".to_owned()));
    }
}
