//! The fetch fleet on one MinIO behind a proxy that counts: what more processes cost in requests,
//! tails and cold scans through two fetch processes of one zone, and the end of a block's owner.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use esker_e2e::load::{
    Connection, PRODUCE_VERSION, batch_of, metric, padded, produce_request, retried,
};
use esker_e2e::{ClusterMember, ClusterShape, StoreKind, TestCluster, TestStore, proved};
use esker_env::{Env, Shutdown};
use esker_kafka::client::{Client, NewTopic};
use esker_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use esker_kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use esker_kafka::messages::{
    ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ProduceResponse,
    StrBytes, TopicName,
};
use esker_object::KeyClass;
use esker_record::{Compression, ReadLimits, read_records, split_batches};
use esker_testkit::{EskerProcess, Rule, ShapedFault, ShaperHandle, StoreOperation};
use futures::future::{join_all, try_join_all};

const PARTITIONS: i32 = 4;
const FETCH: (ApiKey, i16) = (ApiKey::Fetch, 11);
const LIST_OFFSETS: (ApiKey, i16) = (ApiKey::ListOffsets, 5);
const PRODUCE: (ApiKey, i16) = (ApiKey::Produce, PRODUCE_VERSION);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Processes announce themselves each second; a second more until all have heard.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// One that was killed counts for 5 s, and its node id belongs to it.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(7);
/// Requests of one segment each: 4 batches of 900 kB, so 4 blocks of 1 MiB.
const SEGMENTS: u64 = 8;
const LARGE: usize = 900_000;

/// A cluster whose every request to the store is counted; nothing is checkpointed meanwhile.
async fn counted(shape: ClusterShape) -> anyhow::Result<(TestStore, ShaperHandle, TestCluster)> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let shaper = store.shaper(Vec::new()).await?;
    let mut arguments = store.arguments_through(&shaper);
    let quiet = ["--checkpoint-interval-ms", "600000"];
    arguments.more.extend(quiet.map(str::to_owned));
    let cluster = TestCluster::start_from(arguments, shape).await?;
    Ok((store, shaper, cluster))
}

async fn topic(cluster: &TestCluster, name: &str) -> anyhow::Result<()> {
    let bootstrap = cluster.bootstrap().context("a bootstrap address")?;
    let client = Client::connect(&bootstrap.to_string(), "e2e", Env::system()).await?;
    let topic = NewTopic {
        name,
        partitions: Some(PARTITIONS),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&topic).await?;
    Ok(())
}

fn value(number: u64, bytes: usize) -> Bytes {
    padded(&format!("1:{number}"), bytes)
}

/// One request, to every partition of the topic: one segment.
async fn produce(
    connection: &mut Connection,
    name: &str,
    number: u64,
    bytes: usize,
) -> anyhow::Result<()> {
    let batch = batch_of([value(number, bytes)], Compression::None, None)?;
    let batches = (0..PARTITIONS).map(|partition| (partition, batch.clone()));
    let request = produce_request(name, batches);
    let reply: ProduceResponse = connection.ask(PRODUCE, &request, ANSWER_WITHIN).await?;
    let mut answers = reply
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    ensure!(answers.all(|answer| answer.error_code == 0), "{reply:?}");
    Ok(())
}

async fn sum_of(members: &[ClusterMember], name: &str) -> anyhow::Result<u64> {
    let figures = members
        .iter()
        .map(|member| metric(member.process.http, name));
    let figures = try_join_all(figures).await?;
    #[expect(clippy::as_conversions, reason = "counters are small whole numbers")]
    let sum = figures.iter().sum::<f64>() as u64;
    Ok(sum)
}

/// Reads all partitions of a topic from one process, whatever that one would name as preferred.
struct PodReader {
    connection: Connection,
    topic: TopicName,
    value_bytes: usize,
    next: Vec<u64>,
}

impl PodReader {
    async fn open(at: SocketAddr, topic: &str, value_bytes: usize) -> anyhow::Result<Self> {
        Ok(Self {
            connection: Connection::open(at).await?,
            topic: TopicName(StrBytes::from_string(topic.to_owned())),
            value_bytes,
            next: (0..PARTITIONS).map(|_| 0).collect(),
        })
    }

    /// One fetch; every record must be the next one of its partition, and right.
    async fn fetch(&mut self, wait: Duration) -> anyhow::Result<()> {
        let partitions = (0..).zip(&self.next).map(|(partition, next)| {
            FetchPartition::default()
                .with_partition(partition)
                .with_fetch_offset(i64::try_from(*next).unwrap_or(i64::MAX))
                .with_partition_max_bytes(1 << 20)
        });
        let topic = FetchTopic::default()
            .with_topic(self.topic.clone())
            .with_partitions(partitions.collect());
        let request = FetchRequest::default()
            .with_max_wait_ms(i32::try_from(wait.as_millis())?)
            .with_min_bytes(1)
            .with_max_bytes(8 << 20)
            .with_topics(vec![topic]);
        let asking = self.connection.ask(FETCH, &request, ANSWER_WITHIN);
        let response: FetchResponse = asking.await?;
        let answers = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions);
        for answer in answers {
            ensure!(answer.error_code == 0, "error {}", answer.error_code);
            let records = answer.records.clone().unwrap_or_default();
            let place = usize::try_from(answer.partition_index)?;
            let next = self.next.get_mut(place).context("a partition asked for")?;
            for split in split_batches(&records) {
                let (_, range) = split?;
                for record in read_records(&records.slice(range), &ReadLimits::default())? {
                    let record = record?;
                    let offset = u64::try_from(record.offset)?;
                    ensure!(offset == *next, "offset {offset} where {next} was due");
                    let is_right = record.value == Some(value(offset, self.value_bytes));
                    ensure!(is_right, "another value at {offset} of {place}");
                    *next += 1;
                }
            }
        }
        Ok(())
    }

    /// The whole topic.
    async fn scan(&mut self, records: u64) -> anyhow::Result<()> {
        while self.next.iter().any(|next| *next < records) {
            self.fetch(Duration::from_millis(500)).await?;
        }
        Ok(())
    }

    async fn follow(&mut self, stop: &Shutdown) -> anyhow::Result<u64> {
        while !stop.is_requested() {
            self.fetch(Duration::from_millis(200)).await?;
        }
        Ok(self.next.iter().sum())
    }
}

/// The end of every partition, as one process tells it.
async fn latest(connection: &mut Connection, name: &str) -> anyhow::Result<Vec<u64>> {
    let partitions = (0..PARTITIONS).map(|partition| {
        ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(-1)
    });
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_partitions(partitions.collect());
    let request = ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic]);
    let asking = connection.ask(LIST_OFFSETS, &request, ANSWER_WITHIN);
    let response: ListOffsetsResponse = asking.await?;
    let answers = response.topics.iter().flat_map(|topic| &topic.partitions);
    answers
        .map(|answer| {
            ensure!(answer.error_code == 0, "error {}", answer.error_code);
            Ok(u64::try_from(answer.offset)?)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_is_one_put_whatever_the_number_of_processes() -> anyhow::Result<()> {
    const ROUNDS: u64 = 10;
    let shape = ClusterShape {
        metadata: 1,
        ingest: 1,
        fetch: 0,
    };
    let (_store, shaper, mut cluster) = counted(shape).await?;
    topic(&cluster, "spread").await?;
    for processes in 1..=3 {
        if processes > 1 {
            cluster.add_ingest().await?;
        }
        let opening = cluster.kafka().into_iter().map(Connection::open);
        let mut connections = try_join_all(opening).await?;
        // Each one's session is registered with its first batch.
        for connection in &mut connections {
            produce(connection, "spread", 0, 100).await?;
        }
        let segments = "esker_ingest_segments_total";
        let hedged = "esker_object_hedges_total";
        let before = sum_of(&cluster.ingest, segments).await?;
        let hedged_before = sum_of(&cluster.ingest, hedged).await?;
        shaper.reset();
        for number in 0..ROUNDS {
            let all = connections.iter_mut();
            try_join_all(all.map(|one| produce(one, "spread", number, 100))).await?;
        }

        let report = shaper.report();
        let flushes = sum_of(&cluster.ingest, segments).await? - before;
        // A slow machine makes a put slow, and that one is sent once more.
        let hedges = sum_of(&cluster.ingest, hedged).await? - hedged_before;
        // The journal's own come by time, not by flush.
        let puts = report.count("put", Some(KeyClass::Session));
        proved(&format!(
            "{processes} ingest processes: {flushes} flushes, {puts} PUTs, {hedges} of them a \
             second try; {} PUTs of all kinds",
            report.count("put", None)
        ));
        ensure!(flushes == ROUNDS * processes, "{flushes} flushes");
        // Some of those end before they leave.
        let is_one_each = (flushes..=flushes + hedges).contains(&puts);
        ensure!(is_one_each, "{puts} PUTs of {flushes} flushes");
        ensure!(report.count("get", Some(KeyClass::Session)) == 0);
    }
    Ok(())
}

/// Consumers at the tail of both fetch processes while one writes: what they read, of how many
/// requests. Every acknowledgement is covered by "latest" at both, at once.
async fn tails(cluster: &TestCluster, shaper: &ShaperHandle) -> anyhow::Result<(Vec<u64>, u64)> {
    let clock = Env::system().clock;
    topic(cluster, "tail").await?;
    let mut writer = Connection::open(cluster.ingest[0].process.kafka).await?;
    let fetch = cluster.fetch.iter().map(|member| member.process.kafka);
    let fetch: Vec<SocketAddr> = fetch.collect();
    produce(&mut writer, "tail", 0, 20_000).await?;
    clock.sleep(HEARD_WITHIN).await;
    shaper.reset();
    let mut readers = Vec::new();
    let mut askers = Vec::new();
    for at in fetch {
        readers.push(PodReader::open(at, "tail", 20_000).await?);
        askers.push(Connection::open(at).await?);
    }
    let (trigger, stop) = Shutdown::new();
    let following = join_all(readers.iter_mut().map(|reader| reader.follow(&stop)));
    let load = async {
        let start = clock.now();
        let mut sent = 1;
        while clock.now().since(start) < Duration::from_secs(4) {
            produce(&mut writer, "tail", sent, 20_000).await?;
            sent += 1;
            for asker in &mut askers {
                let ends = latest(asker, "tail").await?;
                ensure!(
                    ends.iter().all(|end| *end >= sent),
                    "{ends:?} behind {sent}"
                );
            }
        }
        clock.sleep(Duration::from_millis(500)).await;
        trigger.request();
        anyhow::Ok(sent)
    };
    let (seen, sent) = futures::join!(following, load);
    Ok((seen.into_iter().collect::<anyhow::Result<_>>()?, sent?))
}

/// Questions to other processes that were not answered in time, or not put since one before was
/// not: on a machine that is starved, and nowhere else. Each leaves a block to the bucket.
async fn unanswered(members: &[ClusterMember]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for member in members {
        let url = format!("http://{}/metrics", member.process.http);
        let text = reqwest::get(url).await?.text().await?;
        let asked = text
            .lines()
            .filter(|row| row.starts_with("esker_fleet_asked_total{"));
        let is_unanswered = |row: &&str| row.contains("\"lost\"") || row.contains("\"rested\"");
        for row in asked.filter(is_unanswered) {
            let value = row.rsplit(' ').next().context("a value")?;
            sum += value.parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// Kills all that serves records and starts the fetch processes again: nothing is cached anywhere.
async fn forget_all(cluster: &mut TestCluster) -> anyhow::Result<()> {
    for member in cluster.ingest.iter_mut().chain(&mut cluster.fetch) {
        member.process.kill9()?;
    }
    for member in &mut cluster.fetch {
        member.restart()?;
        member.process.wait_until_ready().await?;
    }
    // Their node ids are those of the killed ones, for as long as these count.
    Env::system().clock.sleep(FORGOTTEN_WITHIN).await;
    Ok(())
}

async fn served(process: &EskerProcess) -> anyhow::Result<f64> {
    metric(process.http, "esker_fleet_served_bytes_total").await
}

/// Scans through the first fetch process, and kills the other one once it has given some blocks.
async fn scan_and_kill(cluster: &mut TestCluster) -> anyhow::Result<(f64, Duration)> {
    let clock = Env::system().clock;
    let [first, second] = &mut cluster.fetch[..] else {
        anyhow::bail!("two fetch processes");
    };
    let before = served(&second.process).await?;
    let mut reader = PodReader::open(first.process.kafka, "second", LARGE).await?;
    let killing = async {
        let given = retried(ANSWER_WITHIN, async || {
            let given = served(&second.process).await? - before;
            ensure!(given > 3e6, "{given} bytes given");
            Ok(given)
        })
        .await?;
        second.process.kill9()?;
        anyhow::Ok((given, clock.now()))
    };
    let (scanned, killed) = futures::join!(reader.scan(SEGMENTS), killing);
    scanned?;
    let (given, at) = killed?;
    Ok((given, clock.now().since(at)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tails_cost_no_get_and_a_scan_one_a_block_and_a_kill_no_byte() -> anyhow::Result<()> {
    let shape = ClusterShape {
        metadata: 1,
        ingest: 1,
        fetch: 2,
    };
    let (_store, shaper, mut cluster) = counted(shape).await?;

    let (seen, sent) = tails(&cluster, &shaper).await?;
    let gets = shaper.report().count("get", Some(KeyClass::Session));
    let missed = unanswered(&cluster.fetch).await?;
    proved(&format!(
        "tails at 2 fetch processes: {seen:?} records of {sent} requests, {gets} GETs, {missed} \
         questions unanswered"
    ));
    ensure!(
        seen.iter().all(|seen| *seen == sent * 4),
        "{seen:?} of {sent}"
    );
    ensure!(
        gets <= missed,
        "{gets} GETs of segments, {missed} questions unanswered"
    );

    let mut writer = Connection::open(cluster.ingest[0].process.kafka).await?;
    for name in ["first", "second"] {
        topic(&cluster, name).await?;
        for number in 0..SEGMENTS {
            produce(&mut writer, name, number, LARGE).await?;
        }
    }
    forget_all(&mut cluster).await?;
    shaper.reset();
    let fetch = cluster.fetch.iter().map(|member| member.process.kafka);
    let opening = fetch.map(|at| PodReader::open(at, "first", LARGE));
    let mut readers = try_join_all(opening).await?;
    try_join_all(readers.iter_mut().map(|reader| reader.scan(SEGMENTS))).await?;

    let gets = shaper.report().count("get", Some(KeyClass::Session));
    let blocks = SEGMENTS * 4;
    let given = sum_of(&cluster.fetch, "esker_cache_peer_blocks_total").await?;
    let missed = unanswered(&cluster.fetch).await?;
    proved(&format!(
        "cold scans through 2 fetch processes at once, {blocks} blocks: {gets} GETs, {given} \
         blocks passed between them, {missed} questions unanswered"
    ));
    // One that is not waited for any more may be loaded at both ends.
    let most = blocks + 2 * missed;
    ensure!(
        (blocks..=most).contains(&gets),
        "{gets} GETs of {blocks} blocks"
    );
    ensure!(
        given + missed >= blocks,
        "the other process asks the owner for each block"
    );

    // Slow enough that there is something left to scan.
    let mut rule = Rule::new(ShapedFault::Slow {
        latency_millis: 60,
        bytes_per_second: None,
    });
    rule.operation = Some(StoreOperation::Get);
    shaper.set_rules(vec![rule]);
    let (given, after) = scan_and_kill(&mut cluster).await?;
    proved(&format!(
        "an owner killed behind {given} bytes that it gave: the scan went on, all records right, \
         and ended {} ms later",
        after.as_millis()
    ));
    Ok(())
}
