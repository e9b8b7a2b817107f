//! Roles in processes of their own on one MinIO: clients are sent by role through one bootstrap
//! address, and the end of any process loses nothing that was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use esker_e2e::load::{
    Connection, Figures, History, ProducerKind, ProducerPlan, batch_of, compare, follow, metric,
    padded, produce, read_all, retried,
};
use esker_e2e::{
    ClusterMember, ClusterShape, KafkaTools, Kcat, StoreKind, TestCluster, TestStore, proved,
};
use esker_env::{Env, Shutdown};
use esker_kafka::client::{Client, NewTopic};
use esker_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use esker_kafka::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, StrBytes,
    TopicName,
};
use esker_record::Compression;
use futures::future::join_all;
use rustix::process::Signal;

const TOPIC: &str = "spread";
const PARTITIONS: i32 = 12;
/// Kills of each role; `ESKER_CLUSTER_ROUNDS` for more.
const ROUNDS: u64 = 2;
/// A process that ends is named to clients for 5 s at most, and announces itself each second.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(9);
/// The promise is 10 s from the kill of a leader to acknowledgements that flow.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);
const API_VERSIONS: (ApiKey, i16) = (ApiKey::ApiVersions, 3);
const FETCH: (ApiKey, i16) = (ApiKey::Fetch, 11);

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told how long to run by the environment"
)]
fn rounds() -> u64 {
    let told = std::env::var("ESKER_CLUSTER_ROUNDS").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

async fn client(cluster: &TestCluster) -> anyhow::Result<Client> {
    let bootstrap = cluster.bootstrap().context("a bootstrap address")?;
    Ok(Client::connect(&bootstrap.to_string(), "e2e", Env::system()).await?)
}

async fn create_topic(client: &Client) -> anyhow::Result<()> {
    let topic = NewTopic {
        name: TOPIC,
        partitions: Some(PARTITIONS),
        replication_factor: Some(2),
        configs: &[],
    };
    client.create_topic(&topic).await?;
    Ok(())
}

/// Node ids of brokers, and of leaders with how many partitions each has.
async fn map(client: &Client) -> anyhow::Result<(BTreeSet<i32>, BTreeMap<i32, usize>)> {
    let metadata = client.metadata(Some(&[TOPIC])).await?;
    let brokers = metadata.brokers.iter().map(|broker| broker.node_id.0);
    let mut leaders = BTreeMap::new();
    for partition in metadata.topics.iter().flat_map(|topic| &topic.partitions) {
        *leaders.entry(partition.leader_id.0).or_insert(0) += 1;
    }
    Ok((brokers.collect(), leaders))
}

/// Waits until clients are told of exactly these processes.
async fn brokers_become(client: &Client, wanted: &BTreeSet<i32>) -> anyhow::Result<Duration> {
    let env = Env::system();
    let start = env.clock.now();
    retried(FORGOTTEN_WITHIN, async || {
        let (brokers, _) = map(client).await?;
        ensure!(brokers == *wanted, "brokers are {brokers:?}");
        Ok(())
    })
    .await?;
    Ok(env.clock.now().since(start))
}

#[expect(clippy::as_conversions, reason = "counters are small whole numbers")]
async fn count(member: &ClusterMember, name: &str) -> anyhow::Result<u64> {
    Ok(metric(member.process.http, name).await? as u64)
}

/// Kafka's own Fetch at one process, and whom it names.
async fn preferred_reader(
    member: &ClusterMember,
    partition: i32,
    is_named: bool,
) -> anyhow::Result<(i32, usize)> {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_max_wait_ms(1000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    let mut connection = Connection::open(member.process.kafka).await?;
    let limit = Duration::from_secs(10);
    if is_named {
        let name = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("esker-e2e"))
            .with_client_software_version(StrBytes::from_static_str("1"));
        let _: ApiVersionsResponse = connection.ask(API_VERSIONS, &name, limit).await?;
    }
    let response: FetchResponse = connection.ask(FETCH, &request, limit).await?;
    let mut answers = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions);
    let answer = answers.next().context("the partition")?;
    ensure!(answer.error_code == 0, "error {}", answer.error_code);
    let bytes = answer.records.as_ref().map_or(0, Bytes::len);
    Ok((answer.preferred_read_replica.0, bytes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_sent_by_role_through_one_bootstrap_address() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let cluster = TestCluster::start(&store, ClusterShape::USUAL).await?;
    let client = client(&cluster).await?;
    create_topic(&client).await?;
    brokers_become(&client, &BTreeSet::from([1, 2, 3, 101, 102])).await?;

    for partition in 0..PARTITIONS {
        let values = (0..10).map(|number| padded(&format!("1:{number}"), 100));
        let batch = batch_of(values, Compression::None, None)?;
        client.produce(TOPIC, partition, batch).await?;
    }
    let log = read_all(&client, TOPIC, PARTITIONS).await?;

    let (_, leaders) = map(&client).await?;
    ensure!(
        leaders.keys().all(|node| (1..=3).contains(node)),
        "{leaders:?}"
    );
    ensure!(leaders.len() >= 2, "{leaders:?}");
    ensure!(log.partitions.values().all(|records| records.len() == 10));
    for member in &cluster.ingest {
        let node = member.name.trim_start_matches("ingest-").parse::<i32>()?;
        let led = leaders.contains_key(&node);
        let batches = count(member, "esker_ingest_batches_total").await?;
        ensure!((batches > 0) == led, "{}: {batches} batches", member.name);
    }
    for member in &cluster.fetch {
        ensure!(count(member, "esker_ingest_batches_total").await? == 0);
    }
    let (reader, bytes) = preferred_reader(&cluster.ingest[0], 0, true).await?;
    ensure!(
        [101, 102].contains(&reader) && bytes == 0,
        "{reader} {bytes}"
    );
    let (reader, bytes) = preferred_reader(&cluster.ingest[0], 0, false).await?;
    ensure!(reader == -1 && bytes > 0, "unnamed: {reader} {bytes}");
    let (reader, bytes) = preferred_reader(&cluster.fetch[0], 0, true).await?;
    ensure!(reader == -1 && bytes > 0, "{reader} {bytes}");
    proved(&format!("leaders {leaders:?}, readers sent to fetch"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_wall_between_roles_clients_meet_the_processes_of_one() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let more = ["--clients-see", "role"].map(str::to_owned);
    let cluster = TestCluster::start_with(&store, ClusterShape::USUAL, &more).await?;
    let bootstrap = cluster.ingest[0].process.kafka.to_string();
    let (producer, consumer) = (
        Client::connect(&bootstrap, "e2e", Env::system()).await?,
        client(&cluster).await?,
    );
    create_topic(&producer).await?;
    brokers_become(&producer, &BTreeSet::from([1, 2, 3])).await?;
    brokers_become(&consumer, &BTreeSet::from([101, 102])).await?;

    for partition in 0..PARTITIONS {
        let values = (0..10).map(|number| padded(&format!("1:{number}"), 100));
        let batch = batch_of(values, Compression::None, None)?;
        producer.produce(TOPIC, partition, batch).await?;
    }
    let log = read_all(&consumer, TOPIC, PARTITIONS).await?;

    ensure!(log.partitions.values().all(|records| records.len() == 10));
    let (_, leaders) = map(&consumer).await?;
    ensure!(leaders.keys().eq(&[101, 102]), "{leaders:?}");
    for member in &cluster.ingest {
        ensure!(count(member, "esker_fetch_records_bytes_total").await? == 0);
    }
    for member in &cluster.fetch {
        ensure!(count(member, "esker_fetch_records_bytes_total").await? > 0);
        ensure!(count(member, "esker_ingest_batches_total").await? == 0);
    }
    let (reader, bytes) = preferred_reader(&cluster.ingest[0], 0, true).await?;
    ensure!(reader == -1 && bytes > 0, "{reader} {bytes}");
    proved("producers met ingest processes and consumers fetch processes, no other");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_balancer_clients_meet_one_broker_whoever_answers() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let cluster = TestCluster::start_single(&store, ClusterShape::USUAL, &[]).await?;
    let bootstrap = cluster.bootstrap().context("a bootstrap address")?;
    let setup = client(&cluster).await?;
    create_topic(&setup).await?;
    brokers_become(&setup, &BTreeSet::from([0])).await?;
    // Each connection is handed to the next process: every one of them writes and reads.
    for partition in 0..PARTITIONS {
        let values = (0..10).map(|number| Bytes::from(format!("1:{number}")));
        let batch = batch_of(values, Compression::None, None)?;
        let producer = client(&cluster).await?;
        producer.produce(TOPIC, partition, batch).await?;
        let log = read_all(&client(&cluster).await?, TOPIC, PARTITIONS).await?;
        let read = log
            .partitions
            .values()
            .map(|records| records.len())
            .sum::<usize>();
        ensure!(read == 10 * usize::try_from(partition + 1)?, "{read}");
    }
    let mut wrote = Vec::new();
    for member in cluster.ingest.iter().chain(&cluster.fetch) {
        wrote.push(count(member, "esker_ingest_batches_total").await?);
    }
    ensure!(
        wrote.iter().filter(|batches| **batches > 0).count() > 2,
        "{wrote:?}"
    );

    let tools = KafkaTools::new(bootstrap)?;
    let group = ["--topic", TOPIC, "--group", "single", "--from-beginning"];
    let until = ["--max-messages", "120", "--timeout-ms", "30000"];
    let consumed = tools
        .succeed(
            "consumer.ConsoleConsumer",
            &[group.as_slice(), &until].concat(),
        )
        .await?;
    ensure!(consumed.out().lines().count() == 120, "{}", consumed.tell());
    let groups = tools
        .succeed("consumer.group.ConsumerGroupCommand", &["--list"])
        .await?;
    ensure!(groups.out().trim() == "single", "{}", groups.tell());
    proved(&format!(
        "one broker, node 0, behind which {wrote:?} batches were written"
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unmodified_clients_need_no_more_than_the_bootstrap_address() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let cluster = TestCluster::start(&store, ClusterShape::USUAL).await?;
    let bootstrap = cluster.bootstrap().context("a bootstrap address")?;
    create_topic(&client(&cluster).await?).await?;

    let tools = KafkaTools::new(bootstrap)?;
    let input: String = (0..200).map(|number| format!("line {number}\n")).collect();
    let produced = tools
        .tool("ConsoleProducer", &["--topic", TOPIC])
        .stdin(input.clone());
    produced.succeed().await?;
    let consumed = tools
        .succeed(
            "consumer.ConsoleConsumer",
            &[
                "--topic",
                TOPIC,
                "--from-beginning",
                "--max-messages",
                "200",
                "--timeout-ms",
                "30000",
            ],
        )
        .await?;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    ensure!(
        sorted(&consumed.out()) == sorted(&input),
        "{}",
        consumed.tell()
    );

    let again = Kcat::new(bootstrap)
        .consume(TOPIC, "beginning", &[])
        .await?;
    ensure!(again.len() == 200, "kcat read {}", again.len());
    proved("Kafka's console tools and kcat, through a fetch process");
    Ok(())
}

fn plans(cluster: &TestCluster) -> Vec<ProducerPlan> {
    let kinds = [
        ProducerKind::Idempotent,
        ProducerKind::Idempotent,
        ProducerKind::Idempotent,
        ProducerKind::Plain,
    ];
    let plans = (1..).zip(kinds).map(|(producer, kind)| {
        let mut addresses = cluster.entrances();
        let turn = usize::try_from(producer).unwrap_or(0) % addresses.len();
        addresses.rotate_left(turn);
        ProducerPlan {
            producer,
            kind,
            addresses,
            topic: TOPIC.to_owned(),
            partitions: PARTITIONS,
            in_flight: 5,
            pause: Duration::from_millis(10),
            answer_within: Duration::from_secs(4),
            finish_within: Duration::from_secs(40),
            seed: u64::from(producer),
        }
    });
    plans.collect()
}

/// Which metadata process leads.
async fn leader(cluster: &TestCluster) -> anyhow::Result<usize> {
    for (at, member) in cluster.metadata.iter().enumerate() {
        let url = format!("http://{}/livez", member.process.http);
        let Ok(answer) = reqwest::get(url).await else {
            continue;
        };
        let alive: serde_json::Value = answer.json().await?;
        if alive["owner"].is_string() {
            return Ok(at);
        }
    }
    anyhow::bail!("nobody leads")
}

/// From now until a batch of its own is acknowledged.
async fn until_acknowledged(client: &Client) -> anyhow::Result<Duration> {
    let env = Env::system();
    let start = env.clock.now();
    retried(Duration::from_secs(30), async || {
        let batch = batch_of([padded("99:0", 100)], Compression::None, None)?;
        client.produce("probe", 0, batch).await?;
        Ok(())
    })
    .await?;
    Ok(env.clock.now().since(start))
}

/// Ends processes of each role in turn, and starts them again; how long acknowledgements stopped
/// when it was the leader.
async fn disturb(cluster: &mut TestCluster, client: &Client) -> anyhow::Result<Vec<Duration>> {
    let env = Env::system();
    let pause = Duration::from_secs(2);
    let mut stopped = Vec::new();
    for round in 0..rounds() {
        let turn = usize::try_from(round)?;
        for role in ["ingest", "fetch", "metadata"] {
            env.clock.sleep(pause).await;
            let leading = leader(cluster).await?;
            let member = match role {
                "ingest" => {
                    let count = cluster.ingest.len();
                    cluster.ingest.get_mut(turn % count)
                }
                "fetch" => {
                    let count = cluster.fetch.len();
                    cluster.fetch.get_mut(turn % count)
                }
                _ => cluster.metadata.get_mut(leading),
            };
            let member = member.context("a process")?;
            member.process.kill9()?;
            if role == "metadata" {
                stopped.push(until_acknowledged(client).await?);
            }
            member.restart()?;
            member.process.wait_until_ready().await?;
        }
    }
    Ok(stopped)
}

async fn checked(client: &Client, histories: &[History]) -> anyhow::Result<Figures> {
    let log = retried(Duration::from_secs(20), async || {
        read_all(client, TOPIC, PARTITIONS).await
    })
    .await?;
    compare(&log, histories)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_of_any_process_loses_and_doubles_nothing() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let cluster = TestCluster::start(&store, ClusterShape::USUAL).await?;
    Box::pin(kills_lose_nothing(cluster)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_balancer_a_kill_of_any_process_loses_and_doubles_nothing() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let cluster = TestCluster::start_single(&store, ClusterShape::USUAL, &[]).await?;
    Box::pin(kills_lose_nothing(cluster)).await
}

async fn kills_lose_nothing(mut cluster: TestCluster) -> anyhow::Result<()> {
    let client = client(&cluster).await?;
    create_topic(&client).await?;
    let probe = NewTopic {
        name: "probe",
        partitions: Some(1),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&probe).await?;
    let env = Env::system();
    let (trigger, stop) = Shutdown::new();
    let plans = plans(&cluster);
    let load = produce(&env, plans, &stop);
    let (trigger_tails, stop_tails) = Shutdown::new();
    let tails = (0..PARTITIONS).map(|at| follow(&client, (TOPIC, at), 0, &stop_tails));

    let disturbed = async {
        let stopped = disturb(&mut cluster, &client).await;
        trigger.request();
        stopped
    };
    let loaded = async {
        let outcome = tokio::join!(load, disturbed);
        trigger_tails.request();
        outcome
    };
    let ((histories, stopped), tails) = tokio::join!(loaded, join_all(tails));
    let stopped = stopped?;
    let histories = histories?;
    let figures = checked(&client, &histories).await?;
    let log = read_all(&client, TOPIC, PARTITIONS).await?;
    let mut tailed = 0;
    for tail in tails {
        tailed += tail?.agrees_with(&log)?;
    }
    proved(&format!(
        "{} kills of each role: {figures}; {tailed} records tailed alike; acknowledgements \
         stopped for {stopped:.1?} when the leader was killed",
        rounds()
    ));
    ensure!(
        stopped.iter().all(|time| *time <= TAKEN_OVER_WITHIN),
        "{stopped:?}"
    );
    ensure!(figures.acknowledged > 200, "hardly any load: {figures}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_drains_leaves_metadata_and_loses_nothing() -> anyhow::Result<()> {
    let env = Env::system();
    let store = TestStore::start(StoreKind::Minio).await?;
    let mut cluster = TestCluster::start(&store, ClusterShape::USUAL).await?;
    let client = client(&cluster).await?;
    create_topic(&client).await?;
    let (trigger, stop) = Shutdown::new();
    let plans = plans(&cluster);
    let load = produce(&env, plans, &stop);

    let scaling = async {
        env.clock.sleep(Duration::from_secs(2)).await;
        cluster.add_ingest().await?;
        let joined = brokers_become(&client, &BTreeSet::from([1, 2, 3, 4, 101, 102])).await?;
        let leaving = cluster.ingest.get_mut(1).context("a process")?;
        leaving.process.signal(Signal::TERM)?;
        let status = leaving
            .process
            .wait_for_end(Duration::from_secs(40))
            .await?;
        ensure!(status.success(), "it ended with {status}");
        let left = brokers_become(&client, &BTreeSet::from([1, 3, 4, 101, 102])).await?;
        let (_, leaders) = map(&client).await?;
        ensure!(!leaders.contains_key(&2), "{leaders:?}");
        env.clock.sleep(Duration::from_secs(1)).await;
        anyhow::Ok((joined, left))
    };
    let scaled = async {
        let outcome = scaling.await;
        trigger.request();
        outcome
    };
    let (histories, scaled) = tokio::join!(load, scaled);
    let (joined, left) = scaled?;
    let histories = histories?;
    let figures = checked(&client, &histories).await?;
    proved(&format!(
        "one ingest process more, one drained: {figures}; named after {joined:.1?}, gone after \
         {left:.1?}"
    ));
    Ok(())
}
