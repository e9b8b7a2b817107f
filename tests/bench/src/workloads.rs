//! What is measured. Each workload gives figures by name; the unit is part of the name.

mod idle;
mod one_stream;
mod own_load;
mod saturation;
mod tail;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;
use esker_kafka::client::{Client, NewTopic};

use crate::contender::{Requests, Running};
use crate::meter::Meter;
use crate::numbers;
use crate::suite::Plan;
use crate::tools::Tools;

const PARTITIONS: i32 = 16;
/// The topic that the throughput run fills and the catch-up runs read.
const BULK: &str = "bulk";
const RECORD_BYTES: f64 = 1000.0;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// 5 MiB a second in records of 1000 bytes.
const MODERATE_PER_SECOND: u64 = 5243;
const END_TO_END_RECORDS: u64 = 1000;

/// A load, or the absence of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// From exec to the first acknowledged record.
    Start,
    /// As fast as one ProducerPerformance goes: 16 partitions, 1000 B, linger 20 ms, acks=all.
    Produce,
    /// ConsumerPerformance over all of it, from the beginning.
    Consume,
    /// 5 MiB/s offered.
    Moderate,
    /// EndToEndLatency: one record at a time, from send to receipt.
    EndToEnd,
    /// As fast as four producers of `esker bench` go, and what the store itself takes.
    Saturation,
    /// Open loop at 1, 10, 20 and 40 MiB/s, from each record's moment.
    Curve,
    /// 100 bytes a record.
    SmallRecords,
    /// 1000 partitions at 1 MiB/s.
    ManyPartitions,
    /// One producer, one partition, one and five requests in flight.
    OnePartition,
    /// One writer and one reader of one partition or stream: what a peer without Kafka can carry.
    OneStream,
    /// Five readers of what [`Self::Produce`] wrote.
    FanOut,
    /// Tail readers at 5 MiB/s, without and with a reader that catches up.
    TailWhileCatchingUp,
    /// 100 consumers wait, nobody writes.
    Idle,
}

impl Workload {
    /// In the order they run in one process: [`Self::Consume`] reads what [`Self::Produce`] wrote.
    pub(crate) const ALL: [Self; 14] = [
        Self::Start,
        Self::Produce,
        Self::Consume,
        Self::FanOut,
        Self::Moderate,
        Self::EndToEnd,
        Self::Saturation,
        Self::Curve,
        Self::SmallRecords,
        Self::ManyPartitions,
        Self::OnePartition,
        Self::OneStream,
        Self::TailWhileCatchingUp,
        Self::Idle,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::Moderate => "moderate",
            Self::EndToEnd => "end-to-end",
            Self::Saturation => "saturation",
            Self::Curve => "latency-by-load",
            Self::SmallRecords => "small-records",
            Self::ManyPartitions => "many-partitions",
            Self::OnePartition => "one-partition",
            Self::OneStream => "one-stream",
            Self::FanOut => "fan-out",
            Self::TailWhileCatchingUp => "tail-while-catching-up",
            Self::Idle => "idle",
        }
    }

    pub(crate) async fn run(self, on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
        match self {
            Self::Start => Ok(Figures::from([(
                "first_ack_seconds".to_owned(),
                on.first_ack.as_secs_f64(),
            )])),
            Self::Produce => produce(on, plan).await,
            Self::Consume => consume(on, plan).await,
            Self::Moderate => moderate(on, plan).await,
            Self::EndToEnd => end_to_end(on).await,
            Self::Saturation => saturation::run(on, plan).await,
            Self::Curve => own_load::curve(on, plan).await,
            Self::SmallRecords => own_load::small_records(on, plan).await,
            Self::ManyPartitions => own_load::many_partitions(on, plan).await,
            Self::OnePartition => own_load::one_partition(on, plan).await,
            Self::OneStream => one_stream::run(on, plan).await,
            Self::FanOut => own_load::fan_out(on, plan).await,
            Self::TailWhileCatchingUp => tail::run(on, plan).await,
            Self::Idle => idle::run(on, plan).await,
        }
    }
}

pub(crate) type Figures = BTreeMap<String, f64>;

/// Creates a topic; one that exists is fine.
pub(crate) async fn create_topic(
    client: &Client,
    name: &str,
    partitions: i32,
) -> anyhow::Result<()> {
    let topic = NewTopic {
        name,
        partitions: Some(partitions),
        replication_factor: None,
        configs: &[],
    };
    match client.create_topic(&topic).await {
        Ok(_) => Ok(()),
        Err(error) if format!("{error:?}").contains("TopicAlreadyExists") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn topic(on: &Running, name: &str) -> anyhow::Result<()> {
    let env = esker_env::Env::system();
    let client = Client::connect(&on.bootstrap.to_string(), "bench", env).await?;
    create_topic(&client, name, PARTITIONS).await
}

/// What everything cost from its making on.
struct Bill<'a> {
    on: &'a Running,
    server: f64,
    store: f64,
    clients: f64,
    requests: Option<Requests>,
}

impl<'a> Bill<'a> {
    async fn open(on: &'a Running) -> anyhow::Result<Self> {
        on.server().forget_peak()?;
        Ok(Self {
            on,
            server: on.server().used()?.cpu_seconds,
            store: store_seconds(on)?,
            clients: Meter::of(std::process::id()).of_ended_children()?,
            requests: on.requests().await?,
        })
    }

    /// Adds its items, per GiB of records.
    async fn settle(self, gib: f64, figures: &mut Figures) -> anyhow::Result<()> {
        let mut add = |name: &str, value: f64| figures.insert(name.to_owned(), value);
        let server = self.on.server().used()?.cpu_seconds - self.server;
        add("server_cpu_s_per_gib", server / gib);
        if self.on.store().is_some() {
            let store = store_seconds(self.on)? - self.store;
            add("store_cpu_s_per_gib", store / gib);
        }
        let clients = Meter::of(std::process::id()).of_ended_children()? - self.clients;
        add("client_cpu_s_per_gib", clients / gib);
        add("server_peak_mib", self.on.server().peak_mib()?);
        if let (Some(before), Some(now)) = (self.requests, self.on.requests().await?) {
            add("puts_per_gib", (now.puts - before.puts) / gib);
            add("gets_per_gib", (now.gets - before.gets) / gib);
            add("other_requests_per_gib", (now.others - before.others) / gib);
        }
        Ok(())
    }
}

fn store_seconds(on: &Running) -> anyhow::Result<f64> {
    Ok(match on.store() {
        Some(store) => store.used()?.cpu_seconds,
        None => 0.0,
    })
}

fn gib_of(records: u64) -> f64 {
    numbers::of(records) * RECORD_BYTES / GIB
}

/// Runs code paths until compilers and caches have settled, the same amount on every contender.
pub(crate) async fn warm_up(on: &Running, plan: &Plan) -> anyhow::Result<()> {
    if plan.warm_up_records == 0 || on.s2().is_some() {
        return Ok(());
    }
    topic(on, "warm-up").await?;
    let tools = Tools::new(on.bootstrap)?;
    tools.produce("warm-up", plan.warm_up_records, -1).await?;
    tools.consume("warm-up", plan.warm_up_records).await?;
    Ok(())
}

async fn produce(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    topic(on, BULK).await?;
    let tools = Tools::new(on.bootstrap)?;
    let bill = Bill::open(on).await?;
    let told = tools.produce(BULK, plan.records, -1).await?;
    ensure!(
        told.records == numbers::of(plan.records),
        "records are missing: {told:?}"
    );
    let mut figures = Figures::from([("mib_per_s".to_owned(), told.mib_per_s)]);
    bill.settle(gib_of(plan.records), &mut figures).await?;
    Ok(figures)
}

async fn consume(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let tools = Tools::new(on.bootstrap)?;
    let bill = Bill::open(on).await?;
    let told = tools.consume(BULK, plan.records).await?;
    ensure!(
        told.records == numbers::of(plan.records),
        "not what was written: {told:?}"
    );
    let mut figures = Figures::from([("mib_per_s".to_owned(), told.mib_per_s)]);
    bill.settle(gib_of(plan.records), &mut figures).await?;
    Ok(figures)
}

async fn moderate(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    topic(on, "moderate").await?;
    let tools = Tools::new(on.bootstrap)?;
    let records = MODERATE_PER_SECOND * plan.seconds;
    let bill = Bill::open(on).await?;
    let told = tools
        .produce("moderate", records, i64::try_from(MODERATE_PER_SECOND)?)
        .await?;
    ensure!(
        told.records == numbers::of(records),
        "records are missing: {told:?}"
    );
    let mut figures = Figures::from([
        ("mib_per_s".to_owned(), told.mib_per_s),
        ("p50_ms".to_owned(), told.p50_ms),
        ("p95_ms".to_owned(), told.p95_ms),
        ("p99_ms".to_owned(), told.p99_ms),
        ("p999_ms".to_owned(), told.p999_ms),
    ]);
    bill.settle(gib_of(records), &mut figures).await?;
    Ok(figures)
}

async fn end_to_end(on: &Running) -> anyhow::Result<Figures> {
    let env = esker_env::Env::system();
    let client = Client::connect(&on.bootstrap.to_string(), "bench", env).await?;
    create_topic(&client, "end-to-end", 1).await?;
    let told = Tools::new(on.bootstrap)?
        .end_to_end("end-to-end", END_TO_END_RECORDS)
        .await?;
    Ok(Figures::from([
        ("p50_ms".to_owned(), told.p50_ms),
        ("p99_ms".to_owned(), told.p99_ms),
    ]))
}

fn seconds(plan: &Plan) -> Duration {
    Duration::from_secs(plan.seconds)
}
