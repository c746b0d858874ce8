//! TLS for the listener of clients: what is served is read again whenever the files change.
//!
//! A pair that cannot be used (half written, of two renewals, unreadable) never replaces one that can. The files are
//! compared by content: a mounted Secret changes by a swap of symbolic links, and no time of a file tells of it.

mod files;
mod measures;
mod validity;

pub(super) use files::{Loaded, TlsError, read};
pub(super) use measures::TlsMetrics;

use crate::clock::Clock;
use crate::config;
use files::Contents;
use rustls::ServerConfig;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(10);
const REMIND_EVERY_SECS: i64 = 3600;
const SOON_SECS: i64 = 7 * 24 * 3600;

/// The certificate in force.
#[derive(Debug)]
pub(super) struct Tls {
    current: RwLock<Arc<ServerConfig>>,
    metrics: TlsMetrics,
}

/// What keeps a certificate in force up to date.
#[derive(Debug)]
pub(super) struct Renewal {
    tls: Arc<Tls>,
    settings: config::Tls,
    clock: Clock,
    /// What was read last, whether it could be used or not.
    seen: Contents,
    expires: Option<i64>,
    reminded: Option<i64>,
}

/// What looking at the files came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    Unchanged,
    Renewed,
    Unusable,
}

impl Tls {
    /// Reads the files; without a usable pair there is nothing to start with.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub(super) async fn open(
        settings: &config::Tls,
        metrics: TlsMetrics,
        clock: Clock,
    ) -> Result<(Arc<Self>, Renewal), TlsError> {
        let seen = Contents::read(settings).await?;
        let loaded = seen.load(settings)?;
        metrics.in_force(loaded.expires());
        let tls = Arc::new(Self {
            current: RwLock::new(loaded.config),
            metrics,
        });
        let mut renewal = Renewal {
            tls: Arc::clone(&tls),
            settings: settings.clone(),
            clock,
            seen,
            expires: loaded.validity.map(|validity| validity.not_after),
            reminded: None,
        };
        renewal.remind();
        Ok((tls, renewal))
    }

    /// What the next handshake uses.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn metrics(&self) -> &TlsMetrics {
        &self.metrics
    }
}

impl Renewal {
    /// Looks at the files every few seconds and on SIGHUP, until `stop`.
    pub(super) async fn keep(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut asked = signal(SignalKind::hangup())?;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let by_signal = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = looks.tick() => false,
                _ = asked.recv() => true,
            };
            if self.look().await == Looked::Unchanged && by_signal {
                tracing::info!("SIGHUP: the certificate is unchanged");
            }
            self.remind();
        }
    }

    async fn look(&mut self) -> Looked {
        let read = match Contents::read(&self.settings).await {
            Ok(contents) if contents == self.seen => return Looked::Unchanged,
            Ok(contents) => contents,
            // Told once: the files are gone until they are back.
            Err(_) if self.seen == Contents::default() => return Looked::Unchanged,
            Err(failed) => {
                self.seen = Contents::default();
                return self.refuse(&failed);
            }
        };
        self.seen = read;
        match self.seen.load(&self.settings) {
            Ok(loaded) => self.replace(loaded),
            Err(failed) => self.refuse(&failed),
        }
    }

    fn replace(&mut self, loaded: Loaded) -> Looked {
        self.expires = loaded.validity.map(|validity| validity.not_after);
        self.reminded = None;
        self.tls.metrics.in_force(loaded.expires());
        self.tls.metrics.reloaded();
        *self.tls.current.write().unwrap_or_else(PoisonError::into_inner) = loaded.config;
        tracing::info!(
            expires = self.expires.map(shown),
            "new handshakes use the renewed certificate"
        );
        Looked::Renewed
    }

    fn refuse(&self, failed: &TlsError) -> Looked {
        self.tls.metrics.refused();
        tracing::error!(
            error = failed as &dyn std::error::Error,
            "the changed certificate files cannot be used: the certificate from before stays in force"
        );
        Looked::Unusable
    }

    /// Says, once an hour, that the certificate has expired or soon will.
    fn remind(&mut self) {
        let now = self.clock.now() / 1_000_000;
        let due = self.reminded.is_none_or(|told| now - told >= REMIND_EVERY_SECS);
        if let Some(expires) = self.expires.filter(|expires| due && expires - now < SOON_SECS) {
            self.reminded = Some(now);
            alarm(&self.settings, expires, now);
        }
    }
}

fn alarm(settings: &config::Tls, expires: i64, now: i64) {
    let (file, when) = (settings.certificate_file.display(), shown(expires));
    if expires <= now {
        tracing::error!("the certificate has expired at {when}, clients refuse it: renew {file}");
    } else {
        warn_soon(&when, &settings.certificate_file);
    }
}

fn warn_soon(when: &str, file: &Path) {
    tracing::warn!("the certificate expires at {when}: renew {}", file.display());
}

fn shown(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
