//! Every read of the objects around the pods.

use std::collections::BTreeSet;

use super::Companions;
use crate::cluster::{Cluster, Object};
use crate::error::Error;
use crate::foreign::OptionalApi;
use crate::labels::names;

/// The optional APIs that the cluster has, and the objects around the pods of the Registry of that name.
///
/// # Errors
/// The first read that failed.
pub async fn read(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<(BTreeSet<OptionalApi>, Companions), Error> {
    let mut apis = BTreeSet::new();
    for api in OptionalApi::ALL {
        if cluster.serves(api).await? {
            apis.insert(api);
        }
    }
    let (certificate, ingress_certificate) = (names::certificate(name), names::ingress_certificate(name));
    let (own, foreign) = futures::try_join!(
        futures::future::try_join4(
            cluster.get(namespace, name),
            cluster.get(namespace, name),
            cluster.get(namespace, name),
            cluster.get(namespace, name),
        ),
        futures::future::try_join5(
            get_if(&apis, OptionalApi::Routes, cluster, namespace, name),
            get_if(&apis, OptionalApi::Certificates, cluster, namespace, &certificate),
            get_if(
                &apis,
                OptionalApi::Certificates,
                cluster,
                namespace,
                &ingress_certificate
            ),
            get_if(&apis, OptionalApi::PodMonitors, cluster, namespace, name),
            get_if(&apis, OptionalApi::ServiceMonitors, cluster, namespace, name),
        ),
    )?;
    let (ingress, network_policy, budget, autoscaler) = own;
    let (route, certificate, ingress_certificate, pod_monitor, service_monitor) = foreign;
    let companions = Companions {
        ingress,
        route,
        certificate,
        ingress_certificate,
        network_policy,
        budget,
        autoscaler,
        pod_monitor,
        service_monitor,
    };
    Ok((apis, companions))
}

async fn get_if<K: Object>(
    apis: &BTreeSet<OptionalApi>,
    api: OptionalApi,
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, Error> {
    if apis.contains(&api) {
        cluster.get(namespace, name).await
    } else {
        Ok(None)
    }
}
