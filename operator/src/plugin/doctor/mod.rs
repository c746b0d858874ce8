//! `kubectl berth doctor`: what is wrong with Berth in this cluster, why, and what to do.
//!
//! What is read here is judged in [`cluster`] and [`judge`], which are pure. What a user may not read is told as such, and
//! is no fault of the cluster.

pub mod cluster;
pub mod finding;
pub mod judge;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::LogParams;
use kube::core::NamespaceResourceScope;
use serde_json::json;

use super::api::{Kind, Session};
use super::ask;
use super::refusal::Refusal;
use super::show::Printer;
use crate::api::conditions::Reason;
use crate::api::{self as kinds, Registry};
use crate::clock::Clock;
use crate::foreign::OptionalApi;
use crate::labels;
use finding::{Finding, Level};
use judge::Around;

/// Label selector of the operator's own Deployment.
const OPERATOR: &str = "app.kubernetes.io/name=berth-operator";
/// The policies of the chart.
const POLICIES: [&str; 2] = ["berth-approvals", "berth-requests"];
/// How much of the last line of a log is told, in characters.
const LAST_LINE: usize = 300;

/// Prints what was found. True when nothing is wrong.
///
/// # Errors
/// When the Registry that is named is not there, or nothing can be printed.
pub async fn run(
    session: &Session,
    printer: &Printer,
    name: Option<&str>,
    operator_namespace: Option<&str>,
) -> anyhow::Result<bool> {
    let now = Clock::System.now();
    let mut findings = of_cluster(session).await;
    findings.extend(of_operator(session, operator_namespace, now).await);
    findings.extend(of_rights(session).await);
    let registries = match name {
        Some(name) => Ok(vec![session.registry(name).await?]),
        None => session.list::<Registry>(session.scope(), "").await,
    };
    match registries {
        Ok(registries) => {
            if registries.is_empty() {
                let place = if session.scope().is_empty() {
                    "cluster"
                } else {
                    "namespace"
                };
                let what = format!("there is no Registry in this {place}");
                findings.push(Finding::new(Level::Note, "cluster", what));
            }
            findings.extend(of_registries(session, &registries, now).await);
        }
        Err(refusal) => findings.push(Finding::problem("you", "Registries cannot be listed").why(refusal.to_string())),
    }
    printer.once(&finding::lines(&findings, printer.width()), &finding::value(&findings))?;
    Ok(finding::is_well(&findings))
}

async fn of_cluster(session: &Session) -> Vec<Finding> {
    let mut findings = Vec::new();
    let group_version = format!("{}/v1alpha1", kinds::GROUP);
    let served = session.kinds_of(&group_version).await;
    for wanted in kinds::definitions() {
        let name = wanted.name_any();
        let plural = &wanted.spec.names.plural;
        let found = match session.of_cluster::<CustomResourceDefinition>(&name).await {
            Ok(Some(live)) => cluster::definition(&name, &json!(live), &json!(wanted)),
            Ok(None) => cluster::no_definition(&name),
            // Everybody may ask which kinds are served.
            Err(refusal) => match &served {
                Ok(plurals) if plurals.contains(plural) => {
                    let what = format!("the definition {name} is there; of which version, you may not see");
                    Finding::new(Level::Note, "cluster", what)
                }
                Ok(_) => cluster::no_definition(&name),
                Err(_) => Finding::unseen("cluster", &format!("the definition {name}"), &refusal),
            },
        };
        findings.push(found);
    }
    for name in POLICIES {
        findings.push(match session.of_cluster::<ValidatingAdmissionPolicy>(name).await {
            Ok(found) => cluster::policy(name, found.is_some()),
            Err(refusal) => Finding::unseen("cluster", &format!("the policy of admission {name}"), &refusal),
        });
    }
    let mut told = BTreeSet::new();
    for api in OptionalApi::ALL {
        let group_version = api.group_version();
        if told.insert(group_version) {
            findings.push(match session.kinds_of(group_version).await {
                Ok(plurals) => {
                    let is_there = plurals.iter().any(|plural| plural == api.plural());
                    cluster::optional(group_version, api.project(), is_there)
                }
                Err(refusal) => Finding::unseen("cluster", group_version, &refusal),
            });
        }
    }
    findings
}

async fn of_operator(session: &Session, namespace: Option<&str>, now: Timestamp) -> Vec<Finding> {
    let found = session
        .list::<Deployment>(namespace.unwrap_or_default(), OPERATOR)
        .await;
    let found = match found {
        Ok(found) => found,
        Err(refusal) => {
            let unseen = Finding::unseen("operator", "its Deployment", &refusal);
            return vec![unseen.remedy("--operator-namespace names its place, where you may look")];
        }
    };
    let mut findings = cluster::operators(&found);
    for deployment in &found {
        let namespace = deployment.namespace().unwrap_or_default();
        let elects = serde_json::to_string(&deployment.spec).is_ok_and(|spec| spec.contains("--leader-elect"));
        let lease = session.get::<Lease>(&namespace, crate::leader::LEASE).await;
        findings.push(match lease {
            Ok(lease) => cluster::leader(&namespace, lease.as_ref(), elects, now),
            Err(refusal) => Finding::unseen("operator", "the Lease of its election", &refusal),
        });
    }
    findings
}

async fn of_rights(session: &Session) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (commands, needs) in cluster::NEEDS {
        let mut missing = None;
        let mut refusal = None;
        for need in needs {
            match session.may(need.0, need.1, need.2).await {
                Ok(true) => {}
                Ok(false) => missing = missing.or(Some(need)),
                Err(error) => refusal = Some(error),
            }
        }
        findings.push(match refusal {
            Some(refusal) => Finding::unseen("you", &format!("what you may do ({commands})"), &refusal),
            None => cluster::right(commands, missing),
        });
    }
    findings
}

async fn of_registries(session: &Session, registries: &[Registry], now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for registry in registries {
        let (around, unseen) = around(session, registry).await;
        findings.extend(judge::registry(registry, &around, now));
        findings.extend(unseen);
    }
    match session.list::<Lease>(session.scope(), "").await {
        Ok(mut leases) => {
            leases.retain(|lease| lease.name_any().starts_with(&ask::lease_name("")));
            findings.extend(judge::locks(&leases, now));
        }
        Err(refusal) => findings.push(Finding::unseen("you", "locks", &refusal)),
    }
    findings
}

/// What is around a Registry, and what of it could not be read.
async fn around(session: &Session, registry: &Registry) -> (Around, Vec<Finding>) {
    let mut reader = Reader {
        session,
        namespace: registry.namespace().unwrap_or_default(),
        about: judge::about(registry),
        unseen: Vec::new(),
    };
    let name = registry.name_any();
    let own = labels::of_instance(&name);
    let pods: Vec<Pod> = reader
        .list("its pods", &labels::selector_text(&labels::every_pod(&name)))
        .await;
    let found = Around {
        jobs: reader.list("its Jobs", &own).await,
        services: reader.list("its Services", &own).await,
        // The cluster's controller gives them the labels of their Service.
        slices: reader
            .list("its EndpointSlices", &format!("{}={name}", labels::INSTANCE))
            .await,
        claims: reader.list("its claims", &own).await,
        last_lines: last_lines(session, &reader.namespace, &pods).await,
        pods,
    };
    (found, reader.unseen)
}

/// Reads what may be read, and keeps what may not.
struct Reader<'s> {
    session: &'s Session,
    namespace: String,
    about: String,
    unseen: Vec<Finding>,
}

impl Reader<'_> {
    async fn list<K: Kind + kube::Resource<Scope = NamespaceResourceScope>>(
        &mut self,
        what: &str,
        selector: &str,
    ) -> Vec<K> {
        let listed: Result<Vec<K>, Refusal> = self.session.list(&self.namespace, selector).await;
        listed.unwrap_or_else(|refusal| {
            self.unseen.push(Finding::unseen(&self.about, what, &refusal));
            Vec::new()
        })
    }
}

/// What the containers printed last that end again and again. A log that is gone is no trouble of its own.
async fn last_lines(session: &Session, namespace: &str, pods: &[Pod]) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for pod in pods {
        if judge::trouble_of(pod).is_none_or(|trouble| trouble.reason != Reason::PodsCrash) {
            continue;
        }
        for previous in [true, false] {
            let wanted = LogParams {
                previous,
                tail_lines: Some(1),
                ..LogParams::default()
            };
            let Ok(mut log) = session.log(namespace, &pod.name_any(), &wanted).await else {
                continue;
            };
            if let Some(Ok(line)) = log.next().await {
                lines.insert(pod.name_any(), line.chars().take(LAST_LINE).collect());
                break;
            }
        }
    }
    lines
}
