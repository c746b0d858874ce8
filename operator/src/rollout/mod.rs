//! How a new version, image or configuration reaches the pods of a Registry.
//!
//! [`drive`] is what a pass does about it: it reads ([`view`], [`sight`]), lets the pure [`plan`] say what follows, writes
//! that into the Registry's status, and only then brings the cluster to what the state asks for ([`world`], [`act`]). The
//! phase in the status is the intent, every object's name follows from the state, and every write may be repeated: so an
//! operator that is started again anywhere goes on from there, and nothing happens twice.

pub mod act;
pub mod commands;
pub mod evidence;
pub mod facts;
pub mod guard;
pub mod plan;
mod printed;
pub mod record;
mod restored;
mod said;
pub mod schema;
mod seen;
pub mod settings;
pub mod sight;
pub mod target;
pub mod view;
pub mod witness;
pub mod world;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::events::{Event, EventType};

use crate::api::conditions::shortened;
use crate::api::rollout::{Phase, RegistryRollout, RolloutState};
use crate::api::{Registry, RegistryStatus};
use crate::channel;
use crate::cluster::Written;
use crate::context::Context;
use crate::error::Error;
use crate::events;
use crate::locks::{Holder, LockName};
use crate::notify;
use crate::registry::build::{self, Objects};
use crate::registry::companions::lacks::Lacks;
use crate::registry::credentials::{self, HTTP_SECRET_KEY};
use crate::registry::observe::Observed;
use crate::registry::status::Seen;
use crate::registry::trouble::{self, Scrubber};
use crate::registry::validate::ValidRegistry;
use crate::registry::{apply, companions};
use act::{Hands, Locks};
use evidence::{PodAddress, Question, SourceSecrets, Stage};
use facts::{Evidence, Facts, LockFact, Target};
use plan::Memory;
use plan::begin::{Situation, situation};
use settings::Settings;
use sight::{Read, Told};
use target::Snapshot;
use view::View;

/// How many transitions one pass may make: a roll-out without a canary goes through its phases at once.
const TRANSITIONS: usize = 24;

/// What a pass has found out so far.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// What a pass has at hand.
    pub context: &'a Context,
    /// The Registry that is to be.
    pub valid: &'a ValidRegistry,
    /// The objects that it is made of.
    pub objects: &'a Objects,
    /// What every pass reads.
    pub observed: &'a Observed,
    /// What the spec wants.
    pub target: &'a Target,
    /// What that is made of.
    pub wanted: &'a Snapshot,
    /// What it says about roll-outs.
    pub settings: &'a Settings,
    /// What the cluster lacks for what the spec asks.
    pub lacks: &'a Lacks,
    /// What is known of the version that is to run.
    pub version: Option<&'a channel::told::Told>,
}

/// What a pass did about roll-outs.
#[derive(Clone, Debug, PartialEq)]
pub enum Driven {
    /// The pods are what the spec wants, or there are none yet: the other objects are to be looked after.
    AsWanted,
    /// A roll-out is under way, or has ended badly and the spec still asks for it.
    Rolling {
        /// Where it is.
        state: Box<RolloutState>,
        /// Main as it is now.
        main: Option<Box<Deployment>>,
    },
    /// What was read is out of date.
    Stale,
}

/// Takes the roll-outs of `registry` as far as they go now. Its status is what was written last.
///
/// # Errors
/// When the API server could not be asked or told; the next pass goes on from what is in the cluster.
pub async fn drive(pass: Pass<'_>, registry: &mut Registry) -> Result<Driven, Error> {
    let cluster = &pass.context.cluster;
    let memory = Memory::of(registry.status.as_ref());
    // No pass has said all that there is to say: the operator is new here, or the status was lost.
    let has_told = registry
        .status
        .as_ref()
        .is_some_and(|status| status.observed_generation.is_some());
    let is_new_here = !has_told && pass.observed.deployment.is_some();
    if memory.rollout.is_none() && !is_new_here {
        let told = Told {
            target: pass.target.clone(),
            lock: LockFact::Unasked,
            frozen: None,
            evidence: None,
        };
        let nothing = View::default();
        let facts = sight::facts(read(pass, registry, &nothing), None, told);
        if situation(&memory, &facts) == Situation::AsWanted {
            return Ok(Driven::AsWanted);
        }
    }
    // Decisions are made on the newest status, and what is done follows from it.
    let live: Option<Registry> = cluster.get(&pass.valid.namespace, &pass.valid.name).await?;
    if live.is_none_or(|live| live.resource_version() != registry.resource_version()) {
        return Ok(Driven::Stale);
    }
    let view = view::view(cluster, registry).await?;
    let mut machine = Machine {
        pass,
        memory: restored::restore(memory, &view.records),
        locks: locks(pass.valid, registry),
        view,
        frozen: frozen(pass, registry),
        evidence: None,
        has_looked: false,
        lock: LockFact::Unasked,
    };
    if !machine.recover(registry).await? || !Box::pin(machine.run(registry)).await? {
        return Ok(Driven::Stale);
    }
    Box::pin(machine.finish(registry)).await
}

fn read<'a>(pass: Pass<'a>, registry: &'a Registry, view: &'a View) -> Read<'a> {
    Read {
        registry,
        observed: pass.observed,
        view,
        scrubber: Scrubber {
            credentials: &pass.valid.credentials,
            secrets: &pass.observed.secrets,
        },
    }
}

fn locks(valid: &ValidRegistry, registry: &Registry) -> Locks {
    let said = registry
        .spec
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.lock.clone())
        .unwrap_or_default();
    let namespace = &valid.namespace;
    let group = said
        .group
        .map(|group| LockName::of_group(said.namespace.as_ref().unwrap_or(namespace), &group));
    let database = valid.postgres.as_ref().map(|postgres| {
        let port = u16::try_from(postgres.port).unwrap_or_default();
        LockName::of_database(namespace, &postgres.host, port, &postgres.name)
    });
    Locks {
        names: group.into_iter().chain(database).collect(),
        holder: Holder::External(String::new()),
        created: Timestamp::UNIX_EPOCH,
    }
}

fn frozen(pass: Pass<'_>, registry: &Registry) -> Option<String> {
    let windows = settings::windows(registry).ok()?;
    let frozen = crate::locks::windows::frozen(&windows, pass.context.clock.now())?;
    Some(frozen.to_string())
}

/// One pass over one roll-out.
struct Machine<'a> {
    pass: Pass<'a>,
    memory: Memory,
    locks: Locks,
    view: View,
    frozen: Option<String>,
    evidence: Option<Evidence>,
    has_looked: bool,
    lock: LockFact,
}

impl Machine<'_> {
    fn main_pods(&self) -> i32 {
        let main = self.pass.observed.deployment.as_ref();
        main.and_then(|main| main.spec.as_ref()?.replicas).unwrap_or(1)
    }

    fn facts(&self, registry: &Registry) -> Facts {
        let told = Told {
            target: self.pass.target.clone(),
            lock: self.lock.clone(),
            frozen: self.frozen.clone(),
            evidence: self.evidence.clone(),
        };
        sight::facts(
            read(self.pass, registry, &self.view),
            self.memory.rollout.as_ref(),
            told,
        )
    }

    /// Writes down what was rebuilt of a lost status, before anything is decided on it. False when somebody else wrote first.
    async fn recover(&mut self, registry: &mut Registry) -> Result<bool, Error> {
        if self.memory == Memory::of(registry.status.as_ref()) {
            return Ok(true);
        }
        let rebuilt = self.memory.clone();
        self.remember(registry, rebuilt).await
    }

    /// Steps until there is nothing to do but wait. False when what was read is out of date.
    async fn run(&mut self, registry: &mut Registry) -> Result<bool, Error> {
        if !Box::pin(self.sync(registry)).await? {
            return Ok(false);
        }
        for _ in 0..TRANSITIONS {
            let released = self.hold_locks(registry).await?;
            let now = self.pass.context.clock.now();
            let next = match released {
                Some(memory) => memory,
                None => plan::step(self.pass.settings, &self.memory, &self.facts(registry), now),
            };
            self.evidence = None;
            if next == self.memory {
                if self.look(registry).await {
                    continue;
                }
                break;
            }
            if !self.remember(registry, next).await? {
                return Ok(false);
            }
            if !Box::pin(self.sync(registry)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Holds the locks that the state asks for. Gives what is to be remembered when they were given up.
    async fn hold_locks(&mut self, registry: &Registry) -> Result<Option<Memory>, Error> {
        self.lock = LockFact::Unasked;
        let Some(state) = self.memory.rollout.clone() else {
            return Ok(None);
        };
        self.locks.holder = Holder::Rollout {
            namespace: self.pass.valid.namespace.clone(),
            name: registry.name_any(),
            rollout: state.id.clone(),
        };
        self.locks.created = state.started_at.0;
        let (cluster, now) = (&self.pass.context.cluster, self.pass.context.clock.now());
        let world = world::world(self.pass.settings, &state, self.main_pods());
        if world.locked && self.frozen_at_the_door(&state).is_none() {
            self.lock = self.locks.hold(cluster, &state, now).await?;
            return Ok(None);
        }
        if state.locks.is_empty() {
            return Ok(None);
        }
        self.locks.release(cluster, now).await?;
        let mut memory = self.memory.clone();
        if let Some(state) = &mut memory.rollout {
            state.locks.clear();
        }
        Ok(Some(memory))
    }

    fn frozen_at_the_door(&self, state: &RolloutState) -> Option<&String> {
        self.frozen.as_ref().filter(|_| state.phase == Phase::AwaitingLock)
    }

    /// Looks at the pods, when it is time to. True when there is something new to say.
    async fn look(&mut self, registry: &Registry) -> bool {
        let Some(state) = self.memory.active() else {
            return false;
        };
        let context = self.pass.context;
        let now = context.clock.now();
        let Some(pods) = evidence::stage(state).filter(|_| !self.has_looked) else {
            return false;
        };
        if !self.is_worth_looking(state, pods) || !context.schedule.is_due(state, self.pass.settings.interval, now) {
            return false;
        }
        self.has_looked = true;
        let secret = self
            .pass
            .observed
            .secrets
            .get(&credentials::http_secret(&registry.name_any()).secret);
        let secret = secret
            .and_then(|values| values.get(HTTP_SECRET_KEY))
            .cloned()
            .unwrap_or_default();
        let question = Question {
            registry,
            secret: &secret,
            source_secrets: source_secrets(registry, self.pass.observed),
            state,
            stage: pods,
            pods: addresses(self.pass.observed),
            since: evidence::since(state, pods),
            now,
        };
        self.evidence = Some(context.witness.look(question).await);
        true
    }

    /// Pods that do not all serve yet are waited for, not measured.
    fn is_worth_looking(&self, state: &RolloutState, pods: Stage) -> bool {
        let live = match pods {
            Stage::Canary => self.view.canary.as_ref(),
            Stage::Main => self.pass.observed.deployment.as_ref(),
        };
        let is_new = |live: &&Deployment| sight::revision_of(live).as_deref() == Some(state.to.revision.as_str());
        live.filter(is_new)
            .is_some_and(|live| crate::registry::rollout::Rollout::of(live).is_complete())
    }

    /// Writes what is remembered, before anything is done about it. False when somebody else wrote first.
    async fn remember(&mut self, registry: &mut Registry, next: Memory) -> Result<bool, Error> {
        let status = RegistryStatus {
            rollout: next.rollout.clone(),
            rollback_floor: next.floor.clone(),
            refused: next.refused.clone(),
            pending_post: next.pending_post.clone(),
            history: next.history.clone(),
            schema: schema::read_back(
                registry.status.as_ref().and_then(|status| status.schema.clone()),
                self.memory.rollout.as_ref(),
                next.rollout.as_ref(),
            ),
            ..registry.status.clone().unwrap_or_default()
        };
        let before = status.conditions.clone();
        let status = self.said(registry, status);
        let value = serde_json::to_value(&status).map_err(|source| Error::Serialise {
            kind: "RegistryStatus".to_owned(),
            source,
        })?;
        let Some(written) = self.pass.context.cluster.apply_status_of(registry, &value).await? else {
            return Ok(false);
        };
        *registry = written;
        if let Some(status) = &registry.status {
            for event in events::transitions(&before, &status.conditions) {
                self.pass.context.cluster.tell(registry, &event).await;
            }
            // A pass may go through several phases, and each is told: its end sees only the last.
            let Context {
                cluster, sinks, clock, ..
            } = self.pass.context;
            notify::tell(cluster, sinks, registry, status, clock.now()).await;
        }
        let is_over = next.rollout.as_ref().filter(|state| state.phase.is_final());
        if let Some(state) = is_over.filter(|_| self.memory.active().is_some()) {
            self.pass.context.schedule.forget(&state.id);
            let (cluster, now) = (&self.pass.context.cluster, self.pass.context.clock.now());
            if state.locks.is_empty() {
                self.locks.release(cluster, now).await?;
            }
        }
        // What the API server keeps is what the next step starts from.
        self.memory = Memory::of(registry.status.as_ref());
        Ok(true)
    }

    /// `next` with the conditions of its phase: who looks at both finds no older word about it.
    fn said(&self, registry: &Registry, next: RegistryStatus) -> RegistryStatus {
        let pass = self.pass;
        let seen = Seen {
            deployment: pass.observed.deployment.as_ref(),
            service: pass.observed.service.as_ref(),
            report: None,
            claim: pass.observed.claim.as_ref(),
            lacks: Some(pass.lacks),
            version: pass.version,
            operator_image: pass.context.operator_image.as_deref(),
        };
        let scrubber = read(pass, registry, &self.view).scrubber;
        let trouble = seen
            .deployment
            .and_then(|main| trouble::of_serving_pods(main, &pass.observed.pods, scrubber));
        let is_wanted = situation(&Memory::of(Some(&next)), &self.facts(registry)) == Situation::AsWanted;
        let now = pass.context.clock.now();
        said::said(registry, next, seen, trouble, is_wanted, now)
    }

    /// Brings the record to what is remembered, and tells what is new. A pass that was cut off is caught up with here.
    /// False when somebody else wrote the record first.
    async fn sync(&mut self, registry: &Registry) -> Result<bool, Error> {
        let Some(state) = self.memory.rollout.clone() else {
            return Ok(true);
        };
        let cluster = &self.pass.context.cluster;
        let known = self
            .view
            .records
            .iter()
            .position(|record| record.name_any() == state.id);
        let current = match known {
            Some(index) => self.view.records[index].clone(),
            None if state.phase.is_final() => return Ok(true),
            None => {
                let made: RegistryRollout = cluster.apply(&record::record(registry, &state), None).await?;
                self.view.records.push(made.clone());
                made
            }
        };
        let runs = record::runs(
            |kind| sight::ran(&self.view, &self.pass.observed.jobs, kind, &state),
            &state,
            &self.facts(registry),
        );
        let before = current.status.as_ref();
        let mut status = record::status(before, &state, &runs);
        status.rollback_floor.clone_from(&self.memory.floor);
        status.pending_post.clone_from(&self.memory.pending_post);
        status.refused.clone_from(&self.memory.refused);
        if before == Some(&status) {
            return Ok(true);
        }
        // Told before the record says so: a pass that could not tell comes back.
        if !record::is_told(before, &state) {
            self.tell(registry, &state).await?;
        }
        let value = serde_json::to_value(&status).map_err(|source| Error::Serialise {
            kind: "RegistryRolloutStatus".to_owned(),
            source,
        })?;
        // Were it gone on from here, the timeline would lack a phase.
        let Some(written) = cluster.apply_status_of(&current, &value).await? else {
            return Ok(false);
        };
        self.view.records.retain(|record| record.name_any() != state.id);
        self.view.records.push(written);
        if status.result.is_some() {
            self.trim(&state).await?;
        }
        Ok(true)
    }

    async fn trim(&self, state: &RolloutState) -> Result<(), Error> {
        let surplus = record::surplus(&self.view.records, &state.id, self.pass.settings.history_limit);
        for (name, uid) in surplus {
            let cluster = &self.pass.context.cluster;
            cluster
                .delete::<RegistryRollout>(&self.pass.valid.namespace, &name, &uid)
                .await?;
        }
        Ok(())
    }

    async fn tell(&self, registry: &Registry, state: &RolloutState) -> Result<(), Error> {
        tracing::info!(
            rollout = %state.id, phase = state.phase.as_str(), reason = %state.reason,
            from = state.from.as_ref().map_or("", |from| from.image.as_str()), to = %state.to.image,
            "roll-out {} is {}: {}", state.id, state.phase.as_str(), state.message
        );
        // What needs a person is a condition, whose transition is told as a warning by itself.
        let is_bad = state.phase == Phase::RollingBack;
        let event = Event {
            type_: if is_bad { EventType::Warning } else { EventType::Normal },
            reason: format!("Rollout{}", state.phase.as_str()),
            note: Some(shortened(&format!("{}: {}", state.id, state.message), 1000)),
            action: "Roll".to_owned(),
            secondary: None,
        };
        self.pass.context.cluster.publish(registry, &event).await
    }

    /// Brings the cluster to where the roll-out is.
    async fn finish(&mut self, registry: &Registry) -> Result<Driven, Error> {
        let pass = self.pass;
        let hands = Hands {
            cluster: &pass.context.cluster,
            objects: pass.objects,
            observed: pass.observed,
            view: &self.view,
            wanted: pass.wanted,
        };
        let Some(state) = self.memory.rollout.clone() else {
            return Ok(Driven::AsWanted);
        };
        let is_wanted = situation(&self.memory, &self.facts(registry)) == Situation::AsWanted;
        if state.phase.is_final() && is_wanted {
            Box::pin(hands.remove_canary()).await?;
            let waiting = self.memory.pending_post.as_ref();
            let needed = waiting.map(|pending| pending.revision.revision.as_str());
            let needed: Vec<&str> = needed
                .into_iter()
                .chain([pass.target.revision.revision.as_str()])
                .collect();
            hands.prune(&needed).await?;
            return Ok(Driven::AsWanted);
        }
        let cluster = &pass.context.cluster;
        apply::apply_groundwork(cluster, pass.objects, pass.observed).await?;
        let world = world::world(pass.settings, &state, self.main_pods());
        // Before the pods: a canary that is to go gets no requests any more.
        let companions = companions::Companions {
            route: build::route(pass.valid, world.gateway),
            ..pass.objects.companions.clone()
        };
        let settled = companions::write::settle(cluster, pass.valid, &companions, pass.observed).await;
        // Nothing keeps a bad version from being taken back: what else went wrong is told after that.
        let unsettled = match settled {
            Err(failed) if state.phase != Phase::RollingBack => return Err(failed),
            settled => settled.err(),
        };
        if let Some(live) = apply::gives_up_replicas(pass.valid, pass.observed)
            && cluster.keep_replicas(live).await? == Written::Stale
        {
            return Ok(Driven::Stale);
        }
        let main = Box::pin(hands.act(world, &state, &self.lock)).await?;
        if let Some(failed) = unsettled {
            return Err(failed);
        }
        companions::write::settle_autoscaler(cluster, pass.valid, &pass.objects.companions, pass.observed).await?;
        Ok(Driven::Rolling {
            state: Box::new(state),
            main: main.map(Box::new),
        })
    }
}

fn source_secrets(registry: &Registry, observed: &Observed) -> SourceSecrets {
    let Some(prometheus) = registry
        .spec
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.analysis.as_ref()?.prometheus.as_ref())
    else {
        return SourceSecrets::default();
    };
    let value = |secret: &str, key: &str| observed.secrets.get(secret)?.get(key).cloned();
    SourceSecrets {
        token: prometheus
            .bearer_token_ref
            .as_ref()
            .and_then(|token| value(&token.name, &token.key))
            .and_then(|token| String::from_utf8(token).ok()),
        authority: prometheus
            .ca_ref
            .as_ref()
            .and_then(|authority| value(&authority.name, &authority.key)),
    }
}

fn addresses(observed: &Observed) -> Vec<PodAddress> {
    observed.pods.iter().filter_map(sight::address).collect()
}
