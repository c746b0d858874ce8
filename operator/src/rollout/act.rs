//! The writes of a roll-out: everything that its state asks for, in the order in which things need one another.
//!
//! Each write is a server-side apply of an object whose name follows from the state, so that it may be cut off and repeated.

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::facts::{ADOPTED, LockFact};
use super::sight;
use super::target::Snapshot;
use super::view::View;
use super::world::{self, JobKind, World};
use crate::api::rollout::RolloutState;
use crate::api::rollout::lock::LockHeld;
use crate::api::rollout::status::Revision;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::labels::IMAGE_DIGEST;
use crate::locks::{self, Claim, DURATION, Holder, LockName, Outcome, Renewed, Token};
use crate::registry::build::{MIGRATED_BY, Objects};
use crate::registry::observe::Observed;
use crate::registry::prune::Unneeded;
use crate::registry::rollout::Rollout;

/// What there is to work with.
#[derive(Clone, Copy, Debug)]
pub struct Hands<'a> {
    /// The API server.
    pub cluster: &'a Cluster,
    /// What the spec makes.
    pub objects: &'a Objects,
    /// What every pass reads.
    pub observed: &'a Observed,
    /// What a roll-out reads beside.
    pub view: &'a View,
    /// What the spec wants.
    pub wanted: &'a Snapshot,
}

impl Hands<'_> {
    fn registry(&self) -> String {
        self.objects.deployment.name_any()
    }

    fn namespace(&self) -> String {
        self.objects.deployment.namespace().unwrap_or_default()
    }

    /// What both revisions are made of, kept before anything moves.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn keep(&self, state: &RolloutState) -> Result<(Option<Snapshot>, Option<Snapshot>), Error> {
        let new = match sight::kept(self.view, &state.to.revision) {
            Some(kept) => Some(kept),
            None if self.wanted.revision.revision == state.to.revision => Some(self.wanted.clone()),
            None => None,
        };
        let old = state
            .from
            .as_ref()
            .and_then(|from| sight::kept(self.view, &from.revision).or_else(|| self.live_snapshot(from)));
        for snapshot in [&new, &old].into_iter().flatten() {
            self.keep_one(snapshot).await?;
        }
        Ok((new, old))
    }

    async fn keep_one(&self, snapshot: &Snapshot) -> Result<(), Error> {
        if sight::kept(self.view, &snapshot.revision.revision).is_some() {
            return Ok(());
        }
        let wanted = snapshot.kept(&self.registry(), &self.objects.config_map.metadata);
        self.cluster.apply::<ControllerRevision>(&wanted, None).await?;
        Ok(())
    }

    /// The pods that run, where nobody kept what they were made of.
    fn live_snapshot(&self, from: &Revision) -> Option<Snapshot> {
        let live = self.observed.deployment.as_ref()?;
        if sight::revision_of(live).as_deref().unwrap_or(ADOPTED) != from.revision {
            return None;
        }
        let template = live.spec.as_ref()?.template.clone();
        let volumes = template
            .spec
            .as_ref()
            .and_then(|pod| pod.volumes.as_deref())
            .unwrap_or_default();
        let config = volumes
            .iter()
            .find_map(|volume| Some(volume.config_map.as_ref()?.name.clone()));
        let config_map = config.and_then(|name| {
            let found = self
                .observed
                .config_maps
                .iter()
                .find(|found| found.name_any() == name)?;
            let metadata = kube::api::ObjectMeta {
                name: Some(name),
                ..self.objects.config_map.metadata.clone()
            };
            Some(ConfigMap {
                metadata,
                data: found.data.clone(),
                ..ConfigMap::default()
            })
        });
        Some(Snapshot {
            revision: from.clone(),
            migrated_by: live.annotations().get(MIGRATED_BY).cloned(),
            template,
            config_map,
            preflight: None,
            pre: None,
            post: None,
        })
    }

    /// Brings the cluster to what `state` asks for; gives main as it is now.
    ///
    /// # Errors
    /// The first write that failed.
    pub async fn act(
        &self,
        mut world: World,
        state: &RolloutState,
        lock: &LockFact,
    ) -> Result<Option<Deployment>, Error> {
        if world.locked && !matches!(lock, LockFact::Held(_)) {
            world.job = None;
        }
        let (new, old) = Box::pin(self.keep(state)).await?;
        for snapshot in [&new, &old].into_iter().flatten() {
            self.restore_configuration(snapshot).await?;
        }
        if let Some(kind) = world.job {
            self.start_job(kind, state, new.as_ref()).await?;
        }
        Box::pin(self.canary(world, state, new.as_ref())).await?;
        let digest = state.to.digest.as_deref();
        let main = if world.main_is_new {
            new.map(|new| world::main_deployment(self.objects, &new, digest))
        } else {
            let digest = state.from.as_ref().and_then(|from| from.digest.clone());
            old.map(|old| world::main_deployment(self.objects, &old, digest.as_deref()))
        };
        let live = self.observed.deployment.as_ref();
        match main {
            Some(main) if live.is_some_and(|live| is_untouched(live, &main)) => Ok(live.cloned()),
            Some(main) => Ok(Some(self.cluster.apply(&main, live).await?)),
            None => Ok(live.cloned()),
        }
    }

    async fn restore_configuration(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let Some(config_map) = &snapshot.config_map else {
            return Ok(());
        };
        let name = config_map.name_any();
        if !self.observed.config_maps.iter().any(|found| found.name_any() == name) {
            self.cluster.apply(config_map, None).await?;
        }
        Ok(())
    }

    /// A Job is made once and never changed.
    async fn start_job(&self, kind: JobKind, state: &RolloutState, new: Option<&Snapshot>) -> Result<(), Error> {
        let kept = world::revision_of_job(kind, state).and_then(|of| sight::kept(self.view, &of.revision));
        let Some(made_of) = kept.as_ref().or_else(|| new.filter(|_| kind != JobKind::Earlier)) else {
            return Ok(());
        };
        let Some(job) = world::job_of(made_of, kind, state) else {
            return Ok(());
        };
        let name = job.name_any();
        if !self.observed.jobs.iter().any(|found| found.name_any() == name) {
            self.restore_configuration(made_of).await?;
            self.cluster.apply(&job, None).await?;
        }
        Ok(())
    }

    async fn canary(&self, world: World, state: &RolloutState, new: Option<&Snapshot>) -> Result<(), Error> {
        if world.canary == 0 {
            return Box::pin(self.remove_canary()).await;
        }
        let Some(new) = new else {
            return Ok(());
        };
        let [main, canary] = world::stage_services(self.objects);
        self.cluster.apply(&main, self.view.main_service.as_ref()).await?;
        self.cluster.apply(&canary, self.view.canary_service.as_ref()).await?;
        let digest = state.to.digest.as_deref();
        let wanted = world::canary_deployment(self.objects, new, digest, world.canary);
        self.cluster.apply(&wanted, self.view.canary.as_ref()).await?;
        Ok(())
    }

    /// Takes a canary that is not wanted away, if there is one: first its pods, and what is left when they are gone. Were that
    /// kept, the next pass would have to say what is in it, and a version that was refused would be written again.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn remove_canary(&self) -> Result<(), Error> {
        let Some(live) = &self.view.canary else {
            return Ok(());
        };
        let rollout = Rollout::of(live);
        let its_own = sight::revision_of(live).and_then(|revision| sight::kept(self.view, &revision));
        match its_own.filter(|_| rollout.wanted > 0) {
            Some(its_own) => {
                let digest = live.annotations().get(IMAGE_DIGEST).map(String::as_str);
                let wanted = world::canary_deployment(self.objects, &its_own, digest, 0);
                self.cluster.apply(&wanted, Some(live)).await?;
            }
            // Pods of which nobody kept what they are made of go with it.
            None if rollout.wanted > 0 || (rollout.observed && rollout.replicas == 0) => {
                self.delete_canary(live).await?;
            }
            None => {}
        }
        Ok(())
    }

    async fn delete_canary(&self, live: &Deployment) -> Result<(), Error> {
        let owner = self.objects.deployment.owner_references().first();
        let is_ours = owner.is_some_and(|owner| live.owner_references().iter().any(|found| found.uid == owner.uid));
        let Some(uid) = live.uid().filter(|_| is_ours) else {
            return Ok(());
        };
        self.cluster
            .delete::<Deployment>(&self.namespace(), &live.name_any(), &uid)
            .await
    }

    /// Removes what is kept of revisions that nothing can go back to.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn prune(&self, needed: &[&str]) -> Result<(), Error> {
        let namespace = self.namespace();
        for kept in &self.view.kept {
            let is_needed = Snapshot::of(kept).is_some_and(|kept| needed.contains(&kept.revision.revision.as_str()));
            if let Some(Unneeded { name, uid }) = unneeded(kept).filter(|_| !is_needed) {
                self.cluster
                    .delete::<ControllerRevision>(&namespace, &name, &uid)
                    .await?;
            }
        }
        Ok(())
    }
}

/// Whether `live` is what `main` was read from, so that to apply it would only take over what the API server filled in.
fn is_untouched(live: &Deployment, main: &Deployment) -> bool {
    let parts = |deployment: &Deployment| {
        let spec = deployment.spec.as_ref()?;
        Some((spec.replicas, spec.template.clone()))
    };
    parts(live) == parts(main) && sight::revision_of(live) == sight::revision_of(main)
}

fn unneeded(kept: &ControllerRevision) -> Option<Unneeded> {
    Some(Unneeded {
        name: kept.name_any(),
        uid: kept.uid()?,
    })
}

/// Which locks the roll-outs of a Registry hold.
#[derive(Clone, Debug)]
pub struct Locks {
    /// Their names.
    pub names: Vec<LockName>,
    /// Who holds them.
    pub holder: Holder,
    /// When the roll-out began: its place in the queue.
    pub created: Timestamp,
}

impl Locks {
    /// Holds them, as `state` says that they are to be.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn hold(&self, cluster: &Cluster, state: &RolloutState, now: Timestamp) -> Result<LockFact, Error> {
        if self.names.is_empty() {
            return Ok(LockFact::Held(Vec::new()));
        }
        let claim = self.claim(None);
        if !state.locks.is_empty() {
            return self.renew(cluster, state, &claim, now).await;
        }
        let mut outcome = locks::acquire_all(cluster, &self.names, &claim, now).await?;
        if let Some(idle) = left_behind(cluster, &outcome).await? {
            outcome = locks::acquire_all(cluster, &self.names, &self.claim(Some(&idle)), now).await?;
        }
        Ok(match outcome {
            Outcome::Held { held, .. } => LockFact::Held(held.iter().map(|held| self.held(held)).collect()),
            Outcome::Waiting { lock, blocked } => LockFact::Busy(waiting(&lock, &blocked)),
        })
    }

    fn claim<'a>(&'a self, idle: Option<&'a Token>) -> Claim<'a> {
        Claim {
            holder: &self.holder,
            created: self.created,
            duration: DURATION,
            idle,
        }
    }

    fn held(&self, held: &locks::Held) -> LockHeld {
        LockHeld {
            lease: format!("{}/{}", held.lock.namespace, held.lock.name),
            holder: self.holder.to_string(),
            token: held.token.to_string(),
            // Statuses keep whole seconds.
            since: held
                .since
                .and_then(|at| Timestamp::from_second(at.as_second()).ok())
                .map(Time),
        }
    }

    async fn renew(
        &self,
        cluster: &Cluster,
        state: &RolloutState,
        claim: &Claim<'_>,
        now: Timestamp,
    ) -> Result<LockFact, Error> {
        for held in &state.locks {
            let Some((lock, token)) = lock_of(held) else { continue };
            let since = held.since.as_ref().map(|since| since.0);
            let held = locks::Held { lock, token, since };
            if let Renewed::Lost(why) = locks::renew(cluster, &held, claim, now).await? {
                return Ok(LockFact::Lost(why));
            }
        }
        Ok(LockFact::Held(state.locks.clone()))
    }

    /// Gives up every lock, and the places in their queues.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn release(&self, cluster: &Cluster, now: Timestamp) -> Result<(), Error> {
        for name in &self.names {
            locks::release(cluster, name, &self.holder, now).await?;
        }
        Ok(())
    }
}

/// Without an age: a status that changes at each look says nothing.
fn waiting(lock: &LockName, blocked: &locks::Blocked) -> String {
    match &blocked.by {
        Some(holder) => format!("{lock} is held by {holder}"),
        None => format!("{lock} is free, and others come first"),
    }
}

fn lock_of(held: &LockHeld) -> Option<(LockName, Token)> {
    let (namespace, name) = held.lease.split_once('/')?;
    let lock = LockName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    Some((lock, Token::parse(&held.token)?))
}

/// A hold that ran out and under which no Job works any more.
async fn left_behind(cluster: &Cluster, outcome: &Outcome) -> Result<Option<Token>, Error> {
    let Outcome::Waiting { lock, blocked } = outcome else {
        return Ok(None);
    };
    let Some(token) = blocked.left_behind.clone() else {
        return Ok(None);
    };
    let works = locks::has_active_job(cluster, &lock.namespace, &token).await?;
    Ok((!works).then_some(token))
}
