//! What latency of the store costs a producer: pipelining pays, and an acknowledgement takes little
//! longer than the linger and the store's own put.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use esker_e2e::load::{Connection, PRODUCE_VERSION, Sending, batch_of, padded, produce_request};
use esker_e2e::{StoreKind, TestStore, proved};
use esker_env::{Env, timeout};
use esker_kafka::client::{Client, NewTopic};
use esker_kafka::messages::{ApiKey, ProduceResponse};
use esker_record::Compression;
use esker_testkit::{
    EskerProcess, Profile, Rule, ShapedFault, Shaper, ShaperConfig, ShaperHandle, StoreOperation,
};
use esker_types::MonotonicTime;
use futures::future::try_join_all;

const TOPIC: &str = "timed";
const PRODUCE: (ApiKey, i16) = (ApiKey::Produce, PRODUCE_VERSION);
const LINGER: Duration = Duration::from_millis(100);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

async fn topic(process: &EskerProcess, partitions: i32) -> anyhow::Result<()> {
    let client = Client::connect(&process.kafka.to_string(), "e2e", Env::system()).await?;
    let topic = NewTopic {
        name: TOPIC,
        partitions: Some(partitions),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&topic).await?;
    Ok(())
}

fn batch(number: u64, bytes: usize) -> anyhow::Result<Bytes> {
    batch_of(
        [padded(&format!("1:{number}"), bytes)],
        Compression::None,
        None,
    )
}

fn acknowledged(reply: &ProduceResponse) -> anyhow::Result<()> {
    let mut answers = reply
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    ensure!(answers.all(|answer| answer.error_code == 0), "{reply:?}");
    Ok(())
}

/// Acknowledgements per second of a closed loop with so many requests in flight.
async fn rate(process: &EskerProcess, in_flight: u64, length: Duration) -> anyhow::Result<f64> {
    let clock = Env::system().clock;
    let mut connection = Connection::open(process.kafka).await?;
    let (mut sent, mut heard) = (0_u32, 0_u32);
    let start = clock.now();
    while clock.now().since(start) < length || heard < sent {
        let is_over = clock.now().since(start) >= length;
        if !is_over && u64::from(sent - heard) < in_flight {
            let request = produce_request(TOPIC, [(0, batch(u64::from(sent), 200)?)]);
            connection.sending.send(PRODUCE, &request).await?;
            sent += 1;
            continue;
        }
        acknowledged(&connection.receiving.receive(PRODUCE).await?)?;
        heard += 1;
    }
    Ok(f64::from(heard) / clock.now().since(start).as_secs_f64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_requests_in_flight_are_four_times_as_fast_as_one() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let slow = ShapedFault::Slow {
        latency_millis: 200,
        bytes_per_second: None,
    };
    let rule = Rule {
        operation: Some(StoreOperation::Put),
        key_contains: Some("/sessions/".to_owned()),
        ..Rule::new(slow)
    };
    let shaper = store.shaper(vec![rule]).await?;
    let process = EskerProcess::start(&store.arguments_through(&shaper)).await?;
    topic(&process, 1).await?;
    // Registers the session.
    rate(&process, 1, Duration::from_millis(500)).await?;

    let one = rate(&process, 1, Duration::from_secs(6)).await?;
    let five = rate(&process, 5, Duration::from_secs(6)).await?;

    proved(&format!(
        "200 ms puts, one producer, one partition: {one:.2} requests/s with 1 in flight, {five:.2} \
         with 5 in flight: {:.2} times",
        five / one
    ));
    ensure!(
        shaper.report().struck("SLOW") > 50,
        "the rule did not strike"
    );
    ensure!(
        five >= 4.0 * one,
        "{five:.2}/s is less than 4 times {one:.2}/s"
    );
    Ok(())
}

/// A connection's share of an open loop: requests leave on time whatever is unanswered.
#[derive(Clone, Copy, Debug)]
struct OpenLoop {
    first: MonotonicTime,
    interval: Duration,
    count: u32,
    value_bytes: usize,
    partitions: i32,
}

impl OpenLoop {
    fn due(&self, number: u32) -> MonotonicTime {
        self.first.after(self.interval * number)
    }

    async fn send(&self, mut sending: Sending) -> anyhow::Result<Sending> {
        let clock = Env::system().clock;
        for number in 0..self.count {
            let partition = i32::try_from(number)? % self.partitions;
            let batch = batch(u64::from(number), self.value_bytes)?;
            let request = produce_request(TOPIC, [(partition, batch)]);
            clock.sleep(self.due(number).since(clock.now())).await;
            sending.send(PRODUCE, &request).await?;
        }
        Ok(sending)
    }

    /// Times from when each request was due to when its answer was heard.
    async fn run(&self, connection: Connection) -> anyhow::Result<Vec<Duration>> {
        let clock = Env::system().clock;
        let Connection {
            sending,
            mut receiving,
        } = connection;
        let receive = async {
            let mut times = Vec::new();
            for number in 0..self.count {
                let reply = receiving.receive(PRODUCE);
                let reply = timeout(clock.as_ref(), ANSWER_WITHIN * 2, reply).await??;
                acknowledged(&reply)?;
                times.push(clock.now().since(self.due(number)));
            }
            anyhow::Ok(times)
        };
        let (sent, times) = tokio::join!(self.send(sending), receive);
        drop(sent?);
        times
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

async fn s3_standard(store: &TestStore) -> anyhow::Result<ShaperHandle> {
    let endpoint = store.endpoint().context("the S3 store")?;
    let upstream = endpoint.trim_start_matches("http://").parse()?;
    let config = ShaperConfig {
        profile: Profile::S3Standard,
        seed: 7,
        ..ShaperConfig::before(upstream)
    };
    Shaper::start(config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_takes_little_longer_than_linger_and_put() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let shaper = s3_standard(&store).await?;
    let process = EskerProcess::start(&store.arguments_through(&shaper)).await?;
    topic(&process, 16).await?;
    rate(&process, 1, Duration::from_secs(2)).await?;
    shaper.reset();
    let (connections, seconds, per_second) = (4, 40, 15);
    let open_loop = |number: u32| OpenLoop {
        first: MonotonicTime::default(),
        interval: Duration::from_secs(1) / per_second,
        count: seconds * per_second,
        value_bytes: 5 * 1024 + usize::try_from(number).unwrap_or(0),
        partitions: 16,
    };

    let start = Env::system().clock.now();
    let loops = (0..connections).map(|number| async move {
        let stagger = Duration::from_secs(1) / per_second / connections * number;
        let open_loop = OpenLoop {
            first: start.after(stagger),
            ..open_loop(number)
        };
        open_loop.run(Connection::open(process.kafka).await?).await
    });
    let times = try_join_all(loops).await?;

    let mut times: Vec<Duration> = times.into_iter().flatten().collect();
    times.sort_unstable();
    let report = shaper.report();
    let put = report.latency("put").context("puts")?;
    let put_p99 = Duration::from_secs_f64(put.p99_millis / 1000.0);
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    let bound = LINGER + put_p99.mul_f64(1.3);
    proved(&format!(
        "S3 Standard, {} KiB/s open loop on 16 partitions: produce p50 {p50:.0?} p99 {p99:.0?}; \
         proxy's put p50 {:.0} ms p99 {put_p99:.0?} of {}; bound {bound:.0?}",
        connections * per_second * 5,
        put.p50_millis,
        put.count
    ));
    ensure!(
        p99 <= bound,
        "produce p99 {p99:?} is above linger + 1.3 put p99 = {bound:?}"
    );
    Ok(())
}
