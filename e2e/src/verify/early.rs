//! Begins the long builds of the later stages while the early stages run. The stages call for the same things again and
//! find them done, or wait until they are.

use anyhow::Result;

use super::stages::{Need, Stage};
use crate::{
    background::Background,
    cache::Cache,
    image,
    shell::Log,
    tools::{self, kubernetes},
};

/// Builds that run beside the stages.
#[derive(Debug)]
pub(super) struct Early {
    builds: Vec<Background<()>>,
}

pub(super) fn begin(cache: &Cache, stages: &[&Stage]) -> Result<Early> {
    let needed = |need: Need| stages.iter().any(|stage| stage.needs.contains(&need));
    let log = |name: &str| Log::create(cache.path("log").join(format!("verify-early-{name}.log")));
    let mut builds = Vec::new();
    let (with_kubernetes, with_helm, with_clients) =
        (needed(Need::Kubernetes), needed(Need::Helm), needed(Need::Clients));
    let (with_versitygw, with_conformance) = (needed(Need::VersityGw), needed(Need::Conformance));
    if with_kubernetes || with_helm || with_clients || with_conformance || with_versitygw {
        let cache = cache.clone();
        // One Go build at a time: the second finds what the first has fetched, and memory stays within bounds.
        builds.push(Background::start(log("go")?, move |log| {
            if with_versitygw {
                tools::versitygw(&cache, log)?;
            }
            if with_conformance {
                tools::conformance::suite(&cache, log)?;
            }
            if with_kubernetes {
                kubernetes::binary(&cache, log)?;
            }
            if with_helm {
                tools::helm(&cache, log)?;
            }
            if with_clients {
                tools::clients::programs(&cache, log)?;
            }
            Ok(())
        }));
    }
    if needed(Need::Images) {
        let cache = cache.clone();
        builds.push(Background::start(log("images")?, move |log| {
            image::build(&cache, log).map(drop)
        }));
    }
    Ok(Early { builds })
}

impl Early {
    /// Waits for what no stage has waited for. A failure is the stage's to tell: it has tried the same.
    pub(super) fn end(self) -> Result<()> {
        for build in self.builds {
            let log = build.log().clone();
            if let Err(error) = build.join() {
                log.note(&format!("{error:#}"))?;
            }
        }
        Ok(())
    }
}
