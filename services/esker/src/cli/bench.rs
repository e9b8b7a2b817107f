//! `esker bench`: load at a fixed rate or as fast as it goes, and what the cluster makes of it.
//!
//! At a fixed rate each record has the moment at which it was to be sent, and its latency counts
//! from there, however late the client was: nothing is left out while the cluster stalls
//! (coordinated omission). `load` makes the load, `reader` reads it back, `report` adds up.

mod histogram;
mod load;
mod maker;
mod reader;
mod report;
mod stamp;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::{Args, ValueEnum};
use esker_env::{Env, TaskGroup};
use esker_kafka::client::{Client, NewTopic};
use esker_kafka::messages::metadata_response::MetadataResponseTopic;
use esker_types::MonotonicTime;
use tokio::sync::{mpsc, watch};

use super::exit::{Cause, Failure, say};
use super::limits::{
    BENCH_IN_FLIGHT_MAX, BENCH_PARTITIONS_MAX, BENCH_PARTITIONS_PER_CLIENT, BENCH_PRODUCERS_MAX,
    BENCH_RATE_MAX, BENCH_RECORD_BYTES_MAX, BENCH_RECORD_BYTES_MIN, DELIVERY_RETRY_DELAY,
    MADE_TOPIC_TRIES_MAX,
};
use super::produce::Codec;
use super::progress::{Progress, Total};
use super::{Common, Session, partition_indexes};
use load::Producer;
use maker::Load;
use reader::{Ends, Reader};
use report::{BenchReport, Gathered, Part};

/// Reads a number from `least` to `most`.
fn within(least: u32, most: u32) -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(least)..=i64::from(most))
}

/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(250);

/// `esker bench`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchCommand {
    #[command(flatten)]
    pub(super) common: Common,
    /// What is measured
    #[arg(value_enum)]
    mode: Mode,
    #[command(flatten)]
    pace: Pace,
    /// Seconds that are measured
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = within(1, 86_400))]
    duration: u32,
    /// Seconds before, which are not
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = within(0, 3_600))]
    warmup: u32,
    /// A topic that is there; without it a new one, deleted at the end
    #[arg(long, required_if_eq("mode", "consume"))]
    topic: Option<String>,
    /// Partitions of the new topic
    #[arg(long, default_value_t = 1, value_parser = within(1, BENCH_PARTITIONS_MAX))]
    partitions: u32,
    /// Producers at once, each with connections of its own
    #[arg(long, default_value_t = 1, value_parser = within(1, BENCH_PRODUCERS_MAX))]
    producers: u32,
    /// Requests of one producer in flight
    #[arg(long, default_value_t = 5, value_parser = within(1, BENCH_IN_FLIGHT_MAX))]
    in_flight: u32,
    /// Bytes of a record's value, of which none repeat
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1024,
        value_parser = within(BENCH_RECORD_BYTES_MIN, BENCH_RECORD_BYTES_MAX)
    )]
    record_bytes: u32,
    /// Bytes of a batch before compression
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 512 * 1024,
        value_parser = within(1024, 16 * 1024 * 1024)
    )]
    batch_bytes: u32,
    /// How long a record waits for others of its batch
    #[arg(long, value_name = "MS", default_value_t = 5, value_parser = within(0, 10_000))]
    linger_ms: u32,
    /// How batches are compressed
    #[arg(short, long, value_enum, default_value_t = Codec::None)]
    compression: Codec,
}

/// How much is offered.
#[derive(Args, Clone, Copy, Debug)]
#[group(multiple = false)]
struct Pace {
    /// Records a second, of all producers together, whatever the cluster does
    #[arg(
        long,
        value_name = "RECORDS",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(1..=BENCH_RATE_MAX)
    )]
    rate: u64,
    /// As many as the cluster takes
    #[arg(long)]
    max: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// From a record's moment to its acknowledgement
    Produce,
    /// Reading a topic from its beginning as fast as it comes
    Consume,
    /// Produce, and from a record's moment to a consumer that waits for it
    EndToEnd,
}

/// When what happens. Times are those of this process.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: MonotonicTime,
    /// What was due before is not measured.
    measured_from: MonotonicTime,
    end: MonotonicTime,
}

/// What the progress bar is made of.
#[derive(Debug, Default)]
struct Counters {
    records: AtomicU64,
    failed: AtomicU64,
}

/// What all workers share.
#[derive(Clone, Debug)]
struct Shared {
    env: Env,
    topic: Arc<str>,
    window: Window,
    /// Tells this run's records from others in the topic.
    run_id: u64,
    counters: Arc<Counters>,
    parts: mpsc::Sender<Part>,
}

pub(crate) async fn run(command: BenchCommand, env: Env) -> Result<(), Failure> {
    let session = Session::open(&command.common, env).await?;
    let (topic, is_ours) = topic_of(&command, &session).await?;
    let tries_max = if is_ours { MADE_TOPIC_TRIES_MAX } else { 1 };
    let measured = measure(&command, &session, &topic, tries_max).await;
    if is_ours && let Err(error) = session.client.delete_topic(&topic).await {
        say(&format!(
            "topic {topic} is left behind: {}",
            Failure::client("delete it", error)
        ));
    }
    let report = measured?;
    command.common.show(&report)?;
    match report.problem() {
        None => Ok(()),
        Some(what) => {
            let failure = Failure::new("call this a measurement", Cause::Findings { what });
            Err(failure.advise("look at the broker's log; offer less with --rate"))
        }
    }
}

/// The topic, and whether it is deleted at the end.
async fn topic_of(command: &BenchCommand, session: &Session) -> Result<(String, bool), Failure> {
    if let Some(topic) = &command.topic {
        return Ok((topic.clone(), false));
    }
    let name = format!("esker-bench-{:016x}", session.env.rng.u64());
    let topic = NewTopic {
        name: &name,
        partitions: i32::try_from(command.partitions).ok(),
        replication_factor: None,
        configs: &[],
    };
    let created = session.client.create_topic(&topic).await;
    created.map_err(|error| Failure::client(format!("create topic {name}"), error))?;
    Ok((name, true))
}

/// The topic. Brokers answer its creation before all of them know it, or its leaders.
async fn awaited(
    session: &Session,
    name: &str,
    tries_max: u32,
) -> Result<MetadataResponseTopic, Failure> {
    let mut tries = 1;
    loop {
        let found = session.topic(name).await;
        let is_complete = found.as_ref().is_ok_and(|topic| {
            let mut partitions = topic.partitions.iter();
            partitions.all(|partition| partition.leader_id.0 >= 0)
        });
        if is_complete || tries >= tries_max {
            return found;
        }
        tries += 1;
        session.env.clock.sleep(DELIVERY_RETRY_DELAY).await;
    }
}

async fn measure(
    command: &BenchCommand,
    session: &Session,
    topic: &str,
    tries_max: u32,
) -> Result<BenchReport, Failure> {
    let partitions = partition_indexes(&awaited(session, topic, tries_max).await?);
    let bounds = session.bounds(topic, &partitions).await?;
    let env = session.env.clone();
    let start = env.clock.now();
    let warmup = match command.mode {
        Mode::Consume => Duration::ZERO,
        Mode::Produce | Mode::EndToEnd => Duration::from_secs(u64::from(command.warmup)),
    };
    let measured_from = start.after(warmup);
    let duration = Duration::from_secs(u64::from(command.duration));
    let (sender, parts) = mpsc::channel(usize::from(u8::MAX));
    let shared = Shared {
        window: Window {
            start,
            measured_from,
            end: measured_from.after(duration),
        },
        run_id: env.rng.u64(),
        topic: Arc::from(topic),
        counters: Arc::default(),
        parts: sender,
        env,
    };
    let mut workers = TaskGroup::new("bench");
    let (ends, ends_seen) = watch::channel(Ends::Unknown);
    let consumes = command.mode != Mode::Produce;
    if consumes {
        for some in partitions.chunks(BENCH_PARTITIONS_PER_CLIENT) {
            let client = Arc::new(connect(command, session).await?);
            for partition in some {
                let of_partition = bounds.get(partition);
                let from = of_partition.map_or(0, |bounds| match command.mode {
                    Mode::Consume => bounds.start,
                    Mode::Produce | Mode::EndToEnd => bounds.end,
                });
                let reader = Reader {
                    client: Arc::clone(&client),
                    shared: shared.clone(),
                    partition: *partition,
                    next: from,
                    ends: ends_seen.clone(),
                };
                workers.spawn(reader.run());
            }
        }
    }
    let mut producers = 0;
    if command.mode == Mode::Consume {
        let known = bounds.iter().map(|(one, bounds)| (*one, bounds.end));
        ends.send_replace(Ends::Known(known.collect()));
    } else {
        producers = command.producers;
        for number in 0..producers {
            let client = connect(command, session).await?;
            let load = Load::of(command, number);
            let producer = Producer::new(client, shared.clone(), load, &partitions);
            workers.spawn(producer.run());
        }
    }
    let readers = if consumes { partitions.len() } else { 0 };
    let run = Run {
        command,
        session,
        shared,
        partitions: &partitions,
    };
    let gathered = run.gather(parts, ends, producers, readers).await?;
    let joined = workers.join_all().await;
    joined.map_err(|error| Failure::new("run the load", error))?;
    Ok(run.report(gathered))
}

async fn connect(command: &BenchCommand, session: &Session) -> Result<Client, Failure> {
    let bootstrap = &command.common.bootstrap;
    let client = Client::connect(bootstrap, "esker-bench", session.env.clone()).await;
    client.map_err(|error| Failure::client(format!("connect to {bootstrap}"), error))
}

struct Run<'a> {
    command: &'a BenchCommand,
    session: &'a Session,
    shared: Shared,
    partitions: &'a [i32],
}

impl Run<'_> {
    /// Waits for every worker's part; tells the readers where to end once the producers have.
    async fn gather(
        &self,
        mut parts: mpsc::Receiver<Part>,
        ends: watch::Sender<Ends>,
        producers: u32,
        readers: usize,
    ) -> Result<Gathered, Failure> {
        let millis = self.command.duration.saturating_add(self.command.warmup);
        let total = Total::Millis(u64::from(millis).saturating_mul(1000));
        let progress = Progress::start(self.command.common.plainness, true, total);
        let clock = &self.session.env.clock;
        let mut gathered = Gathered::default();
        let mut shown = clock.now();
        while gathered.producers < producers || gathered.readers < readers {
            tokio::select! {
                part = parts.recv() => match part {
                    Some(part) => gathered.add(part),
                    None => break,
                },
                () = clock.sleep(TICK) => {
                    let now = clock.now();
                    let over = u64::try_from(now.since(shown).as_millis()).unwrap_or(0);
                    shown = now;
                    progress.advance(over);
                    progress.message(|| report::standing(&self.shared, now));
                }
            }
            let is_over = producers > 0 && gathered.producers == producers;
            if is_over && matches!(*ends.borrow(), Ends::Unknown) {
                let bounds = self.session.bounds(&self.shared.topic, self.partitions);
                let bounds = bounds.await?.into_iter();
                ends.send_replace(Ends::Known(
                    bounds.map(|(one, bounds)| (one, bounds.end)).collect(),
                ));
            }
        }
        progress.finish(Duration::ZERO);
        Ok(gathered)
    }

    fn report(&self, gathered: Gathered) -> BenchReport {
        let command = self.command;
        let window = self.shared.window;
        let is_fixed = !command.pace.max && command.mode != Mode::Consume;
        BenchReport::new(
            report::About {
                mode: command.mode,
                topic: self.shared.topic.to_string(),
                partitions: self.partitions.len(),
                producers: gathered.producers,
                record_bytes: command.record_bytes,
                offered_records_per_second: is_fixed.then_some(command.pace.rate),
                seconds: window.end.since(window.measured_from),
            },
            gathered,
        )
    }
}
