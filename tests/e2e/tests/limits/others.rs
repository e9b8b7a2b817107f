//! A client that keeps to the rules while others do not: it is served all the while.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::load::{Connection, PRODUCE_VERSION, batch_of, padded, produce_request};
use esker_e2e::{Wire, request};
use esker_env::Env;
use esker_kafka::client::{Client, FetchOptions, NewTopic};
use esker_kafka::messages::{ApiKey, ProduceResponse};
use esker_record::Compression;

/// What well-behaved clients write to.
pub(crate) const TOPIC: &str = "others";
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const VALUE_BYTES: usize = 1024;
/// ApiVersions version 0, as a frame.
const API_VERSIONS: i16 = 18;

/// ApiVersions is answered on `wire`.
pub(crate) async fn answers(wire: &mut Wire) -> anyhow::Result<()> {
    ensure!(is_answered(wire).await?, "closed without an answer");
    Ok(())
}

/// Whether ApiVersions is answered, rather than the connection closed.
pub(crate) async fn is_answered(wire: &mut Wire) -> anyhow::Result<bool> {
    // The peer may have closed already.
    if wire.send(&request(API_VERSIONS, 0, &[])).await.is_err() {
        return Ok(false);
    }
    Ok(wire.reply().await?.is_some())
}

/// A topic with `partitions`.
pub(crate) async fn topic(client: &Client, name: &str, partitions: i32) -> anyhow::Result<()> {
    let topic = NewTopic {
        name,
        partitions: Some(partitions),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&topic).await?;
    Ok(())
}

/// A client of the process at `kafka`.
pub(crate) async fn client_of(kafka: SocketAddr) -> anyhow::Result<Client> {
    Ok(Client::connect(&kafka.to_string(), "e2e", Env::system()).await?)
}

/// A producer and a consumer of [`TOPIC`] with connections of their own, open from the start.
pub(crate) struct Others {
    producing: Connection,
    client: Client,
    number: u64,
    next: i64,
}

impl Others {
    pub(crate) async fn start(kafka: SocketAddr) -> anyhow::Result<Self> {
        let client = client_of(kafka).await?;
        topic(&client, TOPIC, 1).await?;
        let mut others = Self {
            producing: Connection::open(kafka).await?,
            client,
            number: 0,
            next: 0,
        };
        others.serve().await?;
        Ok(others)
    }

    /// Writes a record and reads it back: how long that took.
    pub(crate) async fn serve(&mut self) -> anyhow::Result<Duration> {
        let clock = Env::system().clock;
        let begun = clock.now();
        self.number += 1;
        let value = padded(&format!("1:{}", self.number), VALUE_BYTES);
        let batch = batch_of([value], Compression::None, None)?;
        let request = produce_request(TOPIC, [(0, batch)]);
        let api = (ApiKey::Produce, PRODUCE_VERSION);
        let reply: ProduceResponse = self.producing.ask(api, &request, ANSWER_WITHIN).await?;
        let mut answers = reply
            .responses
            .iter()
            .flat_map(|one| &one.partition_responses);
        let answer = answers.next().context("no answer")?;
        ensure!(answer.error_code == 0, "{answer:?}");
        let offset = answer.base_offset;
        while self.next <= offset {
            let options = FetchOptions::default();
            let fetched = self.client.fetch(TOPIC, 0, self.next, options).await?;
            self.next = fetched.high_watermark.max(self.next);
        }
        Ok(clock.now().since(begun))
    }

    /// Serves again and again for `time`; the longest took so long.
    pub(crate) async fn serve_for(&mut self, time: Duration) -> anyhow::Result<Duration> {
        let clock = Env::system().clock;
        let until = clock.now().after(time);
        let mut longest = Duration::ZERO;
        while clock.now() < until {
            longest = longest.max(self.serve().await?);
            clock.sleep(Duration::from_millis(50)).await;
        }
        Ok(longest)
    }
}
