//! The S3 shaping proxy as a command: runs until interrupted, then writes its report.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use esker_testkit::{Profile, Rule, Shaper, ShaperConfig};

/// Counts, slows down and breaks requests to an S3 store, by rule and by seed.
#[derive(Debug, Parser)]
#[command(name = "esker-s3-shaper")]
struct Arguments {
    /// Where to listen; port 0: the system chooses, and it is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The store behind, such as http://127.0.0.1:9000.
    #[arg(long)]
    upstream: String,
    /// none, s3-standard, s3-express or latency:MILLISECONDS.
    #[arg(long, default_value = "none")]
    profile: Profile,
    /// Of every random decision.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A file with a JSON list of fault rules, active from the start.
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Where to write the JSON report at the end.
    #[arg(long)]
    report: Option<PathBuf>,
}

#[tokio::main]
#[expect(
    clippy::print_stdout,
    reason = "a command tells its user where it listens"
)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let upstream = arguments
        .upstream
        .strip_prefix("http://")
        .unwrap_or(&arguments.upstream);
    let upstream = tokio::net::lookup_host(upstream.trim_end_matches('/'))
        .await
        .context("resolve the upstream")?
        .next()
        .context("the upstream has no address")?;
    let rules: Vec<Rule> = match &arguments.rules {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?).context("read the rules")?,
        None => Vec::new(),
    };

    let shaper = Shaper::start(ShaperConfig {
        listen: arguments.listen,
        upstream,
        profile: arguments.profile,
        seed: arguments.seed,
        rules,
    })
    .await?;
    println!("listening on {}", shaper.endpoint());
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }

    if let Some(path) = &arguments.report {
        let text = serde_json::to_string_pretty(&shaper.report())?;
        std::fs::write(path, text).context("write the report")?;
    }
    shaper.stop().await
}
