//! `berth-operator check`.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;

/// The longest that an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// Options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Host and port of the operators' listener; every address that the host has is asked
    #[arg(value_name = "HOST:PORT")]
    pub address: String,

    /// How long to wait until all is well
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

impl Check {
    /// Waits until every operator at the address is ready, and one of them leads or none has an election.
    ///
    /// # Errors
    /// What is not well when the time is over.
    pub fn run(&self) -> anyhow::Result<()> {
        super::block_on(async {
            let client = reqwest::Client::builder().timeout(ANSWER).no_proxy().build()?;
            let began = Instant::now();
            let told = loop {
                match ask_all(&client, &self.address).await {
                    Err(_) if began.elapsed() < self.timeout => tokio::time::sleep(PAUSE).await,
                    answer => break answer,
                }
            };
            writeln!(std::io::stdout(), "{}", told?).context("write to standard output")
        })
    }
}

async fn ask_all(client: &reqwest::Client, address: &str) -> anyhow::Result<String> {
    let found = tokio::net::lookup_host(address).await;
    let mut operators: Vec<SocketAddr> = found.with_context(|| format!("look {address} up"))?.collect();
    operators.sort();
    operators.dedup();
    ensure!(!operators.is_empty(), "no operator is at {address}");
    let mut leaders = 0;
    for operator in &operators {
        let ready = client.get(format!("http://{operator}/readyz")).send().await?;
        ensure!(
            ready.status().is_success(),
            "the operator at {operator} is not ready: {}",
            ready.text().await.unwrap_or_default().trim()
        );
        let metrics = client
            .get(format!("http://{operator}/metrics"))
            .send()
            .await?
            .text()
            .await?;
        leaders += usize::from(metrics.lines().any(|line| line == "berth_operator_leader 1"));
    }
    ensure!(
        leaders == 1,
        "{leaders} of the operators at {address} work; it is to be one"
    );
    Ok(format!(
        "{} of {} operators ready, one works",
        operators.len(),
        operators.len()
    ))
}
