//! What goes wrong, in an order that a seed repeats: servers and the database are killed and stopped, the disk fills, the
//! store gets into trouble. One thing at a time, so that each can be told apart in the history.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    player::Ground,
    proxy::Trouble,
    random::Random,
    replica::{Replica, held},
    stores::Stores,
};
use crate::shell::Log;

/// After the death of its client a server process of PostgreSQL can finish what it has begun: so long at most, in
/// microseconds.
const ORPHANS: u64 = 10_000_000;

/// So long a server needs at most to write down what the store has told it.
const CALM: Duration = Duration::from_secs(5);

/// One thing that goes wrong, with its length in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    KillServer(usize),
    StopServer(usize, u64),
    /// An orderly restart, which gives the next server its turn of settings.
    Restart(usize),
    KillDatabase(u64),
    StopDatabase(u64),
    FillDisk(u64),
    Trouble(Trouble, u64),
    /// A server dies while the store is in trouble.
    TroubleAndKill(Trouble, u64, usize),
}

/// A blow, and how many milliseconds pass before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) after: u64,
    pub(super) blow: Blow,
}

/// The endless plan of a seed.
#[derive(Debug)]
pub(super) struct Plan {
    random: Random,
    replicas: usize,
    has_disk: bool,
}

impl Plan {
    pub(super) fn new(seed: u64, stores: &Stores) -> Self {
        Self {
            random: Random::new(seed, 0),
            replicas: stores.replicas(),
            has_disk: stores.disk().is_some(),
        }
    }

    fn stop(&mut self) -> u64 {
        // Some are longer than a client waits, and than a claim on an upload lasts.
        if self.random.chance(15) {
            self.random.between(11_000, 22_000)
        } else {
            self.random.between(500, 4_000)
        }
    }

    fn trouble(&mut self) -> Trouble {
        let percent = self.random.between(10, 60);
        match self.random.below(8) {
            0 => Trouble::Errors(percent),
            1 => Trouble::Throttling(percent),
            2 => Trouble::LostAnswers(percent),
            3 => Trouble::CutAnswers(percent),
            4 => Trouble::TimeOuts(percent / 3),
            5 => Trouble::LateWrites(percent),
            6 => Trouble::Slow(self.random.between(100, 800)),
            _ => Trouble::Away,
        }
    }

    fn blow(&mut self) -> Blow {
        let server = self.random.below(self.replicas);
        let draw = self.random.below(100);
        if self.has_disk {
            return match draw {
                0..55 => Blow::KillServer(server),
                55..75 => Blow::StopServer(server, self.stop()),
                75..90 => Blow::FillDisk(self.random.between(500, 4_000)),
                _ => Blow::Restart(server),
            };
        }
        match draw {
            0..28 => Blow::KillServer(server),
            28..38 => Blow::StopServer(server, self.stop()),
            38..52 => Blow::KillDatabase(self.random.between(0, 2_000)),
            52..60 => Blow::StopDatabase(self.stop()),
            60..66 => Blow::Restart(server),
            66..85 => Blow::Trouble(self.trouble(), self.random.between(2_000, 6_000)),
            _ => Blow::TroubleAndKill(self.trouble(), self.random.between(2_000, 5_000), server),
        }
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let after = self.random.between(500, 5_000);
        let blow = self.blow();
        Some(Planned { after, blow })
    }
}

/// How often what went wrong.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) server_kills: AtomicU64,
    pub(super) database_kills: AtomicU64,
    pub(super) stops: AtomicU64,
    pub(super) restarts: AtomicU64,
    pub(super) full_disks: AtomicU64,
    pub(super) troubles: AtomicU64,
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |count: &AtomicU64| count.load(Ordering::SeqCst);
        write!(
            out,
            "{} server kills, {} database kills, {} stops, {} restarts, {} full disks, {} troubles of the store",
            number(&self.server_kills),
            number(&self.database_kills),
            number(&self.stops),
            number(&self.restarts),
            number(&self.full_disks),
            number(&self.troubles)
        )
    }
}

/// Who does it.
#[derive(Debug)]
pub(super) struct Nemesis<'s> {
    pub(super) stores: &'s Stores,
    pub(super) replicas: &'s [Mutex<Replica>],
    pub(super) ground: &'s Ground,
    pub(super) tally: Tally,
    /// When each blow began, and when it was over.
    pub(super) blows: Mutex<Vec<(Instant, Instant)>>,
    pub(super) log: &'s Log,
}

impl Nemesis<'_> {
    /// Carries out the plan until the time is over; then everything is whole again.
    ///
    /// # Errors
    /// When a server or the database does not come back.
    pub(super) fn carry_out(&self, plan: Plan, until: Instant) -> Result<()> {
        for Planned { after, blow } in plan {
            let pause = Duration::from_millis(after);
            if Instant::now() + pause >= until {
                thread::sleep(until.saturating_duration_since(Instant::now()));
                return Ok(());
            }
            thread::sleep(pause);
            self.ground.recorder.note(&format!("{blow:?}"));
            self.log.note(&format!("nemesis: {blow:?}"))?;
            let began = Instant::now();
            let struck = self.strike(blow).with_context(|| format!("after {blow:?}"));
            self.blows().push((began, Instant::now()));
            struck?;
            self.ground.recorder.note("over");
            self.look_for_the_dead()?;
        }
        Ok(())
    }

    fn blows(&self) -> MutexGuard<'_, Vec<(Instant, Instant)>> {
        self.blows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when nothing went wrong around this time.
    pub(super) fn was_calm(&self, at: Instant) -> bool {
        let touches = |(began, over): &(Instant, Instant)| *began <= at + CALM && at <= *over + CALM;
        !self.blows().iter().any(touches)
    }

    fn strike(&self, blow: Blow) -> Result<()> {
        let pause = |milliseconds| thread::sleep(Duration::from_millis(milliseconds));
        match blow {
            Blow::KillServer(server) => {
                self.kill(server)?;
                self.start(server)
            }
            Blow::StopServer(server, length) => {
                one_more(&self.tally.stops);
                self.replica(server).signal("STOP")?;
                pause(length);
                self.replica(server).signal("CONT")
            }
            Blow::Restart(server) => {
                one_more(&self.tally.restarts);
                self.restart(server)
            }
            Blow::KillDatabase(length) => self.kill_database(length),
            Blow::StopDatabase(length) => {
                one_more(&self.tally.stops);
                let postgres = || self.stores.postgres().context("there is no PostgreSQL");
                postgres()?.signal_all("STOP")?;
                pause(length);
                postgres()?.signal_all("CONT")
            }
            Blow::FillDisk(length) => {
                one_more(&self.tally.full_disks);
                let disk = self.stores.disk().context("there is no disk")?;
                disk.fill()?;
                pause(length);
                disk.empty()
            }
            Blow::Trouble(trouble, length) => {
                self.get_into(trouble);
                pause(length);
                self.get_into(Trouble::None);
                Ok(())
            }
            Blow::TroubleAndKill(trouble, length, server) => {
                self.get_into(trouble);
                pause(length);
                self.kill(server)?;
                self.get_into(Trouble::None);
                self.start(server)
            }
        }
    }

    fn kill_database(&self, length: u64) -> Result<()> {
        one_more(&self.tally.database_kills);
        let mut postgres = self.stores.postgres().context("there is no PostgreSQL")?;
        postgres.kill()?;
        thread::sleep(Duration::from_millis(length));
        postgres.start_again(self.log)
    }

    fn get_into(&self, trouble: Trouble) {
        if trouble != Trouble::None {
            one_more(&self.tally.troubles);
        }
        if let Some(proxy) = self.stores.proxy() {
            proxy.get_into(trouble);
        }
    }

    fn replica(&self, server: usize) -> MutexGuard<'_, Replica> {
        held(&self.replicas[server])
    }

    fn kill(&self, server: usize) -> Result<()> {
        one_more(&self.tally.server_kills);
        self.replica(server).kill()?;
        self.bury(server);
        Ok(())
    }

    /// The life is over; whoever is not answered from now on met the next one.
    fn bury(&self, server: usize) {
        let orphans = if self.stores.postgres().is_some() { ORPHANS } else { 0 };
        let life = self.ground.lives[server].fetch_add(1, Ordering::SeqCst);
        let recorder = &self.ground.recorder;
        recorder.died(server, life, recorder.now() + orphans);
    }

    fn start(&self, server: usize) -> Result<()> {
        let life = self.ground.lives[server].load(Ordering::SeqCst);
        self.replica(server).start(self.stores.disk(), &turn(life))
    }

    /// Ends a server in order, and starts it.
    ///
    /// # Errors
    /// When it does not come back.
    pub(super) fn restart(&self, server: usize) -> Result<()> {
        self.replica(server).stop()?;
        self.bury(server);
        self.start(server)
    }

    /// A server that ends by itself is a fault.
    fn look_for_the_dead(&self) -> Result<()> {
        for server in 0..self.replicas.len() {
            if let Some(ended) = self.replica(server).ended_by_itself() {
                anyhow::bail!(
                    "{ended}; its words are in {}",
                    self.replica(server).log().path().display()
                );
            }
        }
        Ok(())
    }
}

/// The settings of a server's life. Grace and retention take turns; with two servers they often differ.
pub(super) fn turn(life: u64) -> Vec<(&'static str, String)> {
    let grace = if life.is_multiple_of(2) { "0s" } else { "1s" };
    let retention = if life % 4 < 2 { "3s" } else { "0s" };
    vec![
        ("BERTH_GC_DELAYS_DEFAULT", grace.to_owned()),
        ("BERTH_DELETION_RETENTION", retention.to_owned()),
    ]
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, has_disk: bool) -> Vec<Planned> {
        let random = Random::new(seed, 0);
        let plan = Plan {
            random,
            replicas: 2,
            has_disk,
        };
        plan.take(300).collect()
    }

    #[test]
    fn a_seed_repeats_its_plan() {
        assert_eq!(plan(3, true), plan(3, true));
        assert_ne!(plan(3, false), plan(4, false));
    }

    #[test]
    fn every_kind_of_blow_falls() {
        let falls = |has_disk, is: fn(&Blow) -> bool| plan(1, has_disk).iter().any(|planned| is(&planned.blow));

        assert!(falls(true, |blow| matches!(blow, Blow::KillServer(_))));
        assert!(falls(true, |blow| matches!(blow, Blow::StopServer(..))));
        assert!(falls(true, |blow| matches!(blow, Blow::FillDisk(_))));
        assert!(falls(true, |blow| matches!(blow, Blow::Restart(_))));
        assert!(falls(false, |blow| matches!(blow, Blow::KillDatabase(_))));
        assert!(falls(false, |blow| matches!(blow, Blow::StopDatabase(_))));
        assert!(falls(false, |blow| matches!(
            blow,
            Blow::Trouble(Trouble::LateWrites(_), _)
        )));
        assert!(falls(false, |blow| matches!(blow, Blow::TroubleAndKill(..))));
    }
}
