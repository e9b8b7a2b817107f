//! Who is measured, and how each is started on an empty store.

mod s2;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use esker_e2e::load::batch_of;
use esker_e2e::{FormattedKafka, KafkaBroker, KafkaUse, StoreKind, TestStore};
use esker_env::Env;
use esker_kafka::client::Client;
use esker_object::S3Bucket;
use esker_record::Compression;
use esker_testkit::{EskerProcess, Profile, Shaper, ShaperConfig, ShaperHandle};
use tempfile::TempDir;

use self::s2::S2Lite;
use crate::meter::Meter;
use crate::workloads::Workload;

const UP_WITHIN: Duration = Duration::from_secs(60);

/// A system on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// Esker on a directory; each segment is fsynced before it is acknowledged.
    EskerDirectory,
    /// Esker on MinIO.
    EskerMinio,
    /// Esker on MinIO behind the latencies of S3 Standard.
    EskerS3Standard,
    /// Apache Kafka, one node, acknowledged from the page cache.
    Kafka,
    /// Apache Kafka, one node, each append on disk.
    KafkaFlushed,
    /// `s2 lite` on MinIO.
    S2Minio,
}

impl Contender {
    pub(crate) const ALL: [Self; 6] = [
        Self::EskerDirectory,
        Self::Kafka,
        Self::EskerMinio,
        Self::KafkaFlushed,
        Self::EskerS3Standard,
        Self::S2Minio,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EskerDirectory => "esker-directory",
            Self::EskerMinio => "esker-minio",
            Self::EskerS3Standard => "esker-s3-standard",
            Self::Kafka => "kafka",
            Self::KafkaFlushed => "kafka-flushed",
            Self::S2Minio => "s2-minio",
        }
    }

    /// What an acknowledgement means; printed beside its figures.
    pub(crate) fn promise(name: &str) -> &'static str {
        match name {
            "esker-directory" => "fsynced to the local disk",
            "esker-minio" => "stored by MinIO (one disk)",
            "esker-s3-standard" => "stored by MinIO behind the latencies of S3 Standard",
            "kafka" => "in the page cache of one node",
            "kafka-flushed" => "fsynced to the disk of one node",
            "s2-minio" => "stored by MinIO (one disk); `s2 lite` 0.43.4, its own API and load",
            _ => "",
        }
    }

    /// Whether it can carry a load: S2 speaks no Kafka.
    pub(crate) fn carries(self, workload: Workload) -> bool {
        self != Self::S2Minio || matches!(workload, Workload::Start | Workload::OneStream)
    }

    /// Starts it; `first_ack` is the time from exec to the first acknowledged record.
    pub(crate) async fn start(self) -> anyhow::Result<Running> {
        match self {
            Self::EskerDirectory => esker(StoreKind::Directory, None).await,
            Self::EskerMinio => esker(StoreKind::Minio, None).await,
            Self::EskerS3Standard => esker(StoreKind::Minio, Some(Profile::S3Standard)).await,
            Self::Kafka => kafka(KafkaUse::Speed).await,
            Self::KafkaFlushed => kafka(KafkaUse::SpeedFlushed).await,
            Self::S2Minio => s2_lite().await,
        }
    }
}

/// The processes of a contender; they end with it.
#[derive(Debug)]
enum Processes {
    Esker {
        process: Box<EskerProcess>,
        store: TestStore,
        _shaper: Option<ShaperHandle>,
    },
    Kafka {
        broker: KafkaBroker,
        _directory: TempDir,
    },
    S2 {
        server: S2Lite,
        store: TestStore,
    },
}

/// A contender that answers.
#[derive(Debug)]
pub(crate) struct Running {
    processes: Processes,
    pub(crate) bootstrap: SocketAddr,
    pub(crate) first_ack: Duration,
}

impl Running {
    /// The server, without its store.
    pub(crate) fn server(&self) -> Meter {
        Meter::of(match &self.processes {
            Processes::Esker { process, .. } => process.id(),
            Processes::Kafka { broker, .. } => broker.id(),
            Processes::S2 { server, .. } => server.id(),
        })
    }

    /// The store, where it is a process of its own.
    pub(crate) fn store(&self) -> Option<Meter> {
        match &self.processes {
            Processes::Esker { store, .. } | Processes::S2 { store, .. } => {
                store.process_id().map(Meter::of)
            }
            Processes::Kafka { .. } => None,
        }
    }

    /// The peer that brings its own load.
    pub(crate) fn s2(&self) -> Option<&S2Lite> {
        match &self.processes {
            Processes::S2 { server, .. } => Some(server),
            Processes::Esker { .. } | Processes::Kafka { .. } => None,
        }
    }

    /// The S3 store's bucket, for those that have one, past any shaper.
    pub(crate) async fn scratch_bucket(&self) -> anyhow::Result<Option<S3Bucket>> {
        match &self.processes {
            Processes::Esker { store, .. } if store.endpoint().is_some() => {
                Ok(Some(store.scratch_bucket().await?))
            }
            Processes::Esker { .. } | Processes::Kafka { .. } | Processes::S2 { .. } => Ok(None),
        }
    }

    /// Requests to the store so far, for those that have one: puts, gets, others.
    pub(crate) async fn requests(&self) -> anyhow::Result<Option<Requests>> {
        let Processes::Esker { process, .. } = &self.processes else {
            return Ok(None);
        };
        let url = format!("http://{}/metrics", process.http);
        let text = reqwest::get(url).await?.text().await?;
        let mut requests = Requests::default();
        for line in text.lines() {
            let Some(row) = line.strip_prefix("esker_object_requests_total{op=\"") else {
                continue;
            };
            let (operation, rest) = row.split_once('"').context("an operation")?;
            let (_, count) = rest.rsplit_once(' ').context("a count")?;
            let count: f64 = count.parse()?;
            match operation {
                "put" => requests.puts += count,
                "get" => requests.gets += count,
                _ => requests.others += count,
            }
        }
        Ok(Some(requests))
    }
}

/// Requests by kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) puts: f64,
    pub(crate) gets: f64,
    pub(crate) others: f64,
}

async fn esker(kind: StoreKind, profile: Option<Profile>) -> anyhow::Result<Running> {
    let store = TestStore::start(kind).await?;
    let mut arguments = store.arguments();
    let mut shaper = None;
    if let Some(profile) = profile {
        let endpoint = store.endpoint().context("only S3 can be shaped")?;
        let upstream = endpoint.trim_start_matches("http://").parse()?;
        let config = ShaperConfig {
            profile,
            seed: 7,
            ..ShaperConfig::before(upstream)
        };
        let handle = Shaper::start(config).await?;
        arguments = store.arguments_through(&handle);
        shaper = Some(handle);
    }
    let clock = Env::system().clock;
    let start = clock.now();
    let mut process = EskerProcess::spawn(&arguments)?;
    let bootstrap = process.kafka;
    first_ack(bootstrap).await?;
    let first_ack = clock.now().since(start);
    process.wait_until_ready().await?;
    Ok(Running {
        processes: Processes::Esker {
            process: Box::new(process),
            store,
            _shaper: shaper,
        },
        bootstrap,
        first_ack,
    })
}

async fn kafka(kind: KafkaUse) -> anyhow::Result<Running> {
    let directory = TempDir::with_prefix("esker-bench-")?;
    let formatted = FormattedKafka::new(directory.path(), kind).await?;
    let clock = Env::system().clock;
    let start = clock.now();
    let broker = formatted.spawn()?;
    first_ack(broker.kafka).await?;
    let bootstrap = broker.kafka;
    Ok(Running {
        processes: Processes::Kafka {
            broker,
            _directory: directory,
        },
        bootstrap,
        first_ack: clock.now().since(start),
    })
}

async fn s2_lite() -> anyhow::Result<Running> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let env = Env::system();
    let start = env.clock.now();
    let deadline = start.after(UP_WITHIN);
    let server = S2Lite::spawn(&store)?;
    while let Err(error) = server.first_record().await {
        if env.clock.now() > deadline {
            bail!("s2 lite acknowledges nothing: {error:#}")
        }
        env.clock.sleep(Duration::from_millis(10)).await;
    }
    Ok(Running {
        bootstrap: server.address()?,
        processes: Processes::S2 { server, store },
        first_ack: env.clock.now().since(start),
    })
}

/// Creates a topic and writes one record, trying again until it is acknowledged.
async fn first_ack(bootstrap: SocketAddr) -> anyhow::Result<()> {
    let env = Env::system();
    let deadline = env.clock.now().after(UP_WITHIN);
    loop {
        match first_record(bootstrap, &env).await {
            Ok(()) => return Ok(()),
            Err(error) if env.clock.now() > deadline => {
                bail!("{bootstrap} acknowledges nothing: {error:#}")
            }
            Err(_) => env.clock.sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn first_record(bootstrap: SocketAddr, env: &Env) -> anyhow::Result<()> {
    let client = Client::connect(&bootstrap.to_string(), "bench", env.clone()).await?;
    crate::workloads::create_topic(&client, "first", 1).await?;
    let value = bytes::Bytes::from_static(b"first");
    let batch = batch_of([value], Compression::None, None)?;
    client.produce("first", 0, batch).await?;
    Ok(())
}
