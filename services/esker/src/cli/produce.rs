//! `esker produce`: lines of stdin or a file to a topic.
//!
//! Several requests are in flight; an idempotent producer keeps the order and the number of records
//! through repetitions. Memory is bounded by `PRODUCE_BUFFER_BYTES_MAX` and one line.

mod batcher;
mod input;
mod record_maker;
mod sender;
mod unanswered;

use std::io;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use esker_env::Env;
use esker_kafka::KafkaError;
use esker_kafka::client::{ClientError, Target};
use esker_kafka::messages::metadata_request::MetadataRequestTopic;
use esker_kafka::messages::metadata_response::MetadataResponseTopic;
use esker_kafka::messages::{ApiKey, InitProducerIdRequest, MetadataRequest, StrBytes, TopicName};
use esker_record::Compression;
use esker_types::{ProducerEpoch, ProducerId};

use super::exit::{Cause, Exit, Failure, say};
use super::format::Encodings;
use super::limits::{AUTO_CREATE_TRIES_MAX, DELIVERY_RETRY_DELAY};
use super::progress::{Progress, Total};
use super::topic::pair;
use super::{Common, Session, partition_indexes};
use batcher::{Batcher, BatcherConfig, Producer};
use input::{Input, LineSplitter};
use record_maker::{InputKind, RecordMaker};
use sender::{Event, Sender};

/// `esker produce`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProduceCommand {
    #[command(flatten)]
    pub(super) common: Common,
    /// The topic
    topic: String,
    /// What a line of the input is
    #[arg(long, value_enum, default_value_t)]
    input: InputKind,
    /// What stands between key and value; a line without it has no key
    #[arg(long, value_name = "SEP", conflicts_with = "key", value_parser = separator)]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(short, long)]
    key: Option<String>,
    /// The partition of every record; without it the key decides
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// A header of every record; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    encodings: Encodings,
    /// How batches are compressed
    #[arg(short, long, value_enum, default_value_t = Codec::None)]
    compression: Codec,
    /// What an acknowledgement means: all = durable, 0 = none is waited for
    #[arg(short, long, value_enum, default_value_t = Acks::All)]
    acks: Acks,
    /// A file to read instead of stdin
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// How long a record waits for others of its batch
    #[arg(long, value_name = "MS", default_value_t = 5)]
    linger_ms: u64,
    /// Bytes of a batch before compression
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 512 * 1024,
        value_parser = clap::value_parser!(u32).range(1024..=16 * 1024 * 1024)
    )]
    batch_bytes: u32,
    /// Do not let the broker recognise repetitions
    #[arg(long)]
    no_idempotence: bool,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Acks {
    #[value(name = "0")]
    None,
    #[value(name = "1")]
    Leader,
    #[value(name = "all", alias = "-1")]
    All,
}

impl Codec {
    pub(crate) fn compression(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Snappy => Compression::Snappy,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd => Compression::Zstd,
        }
    }
}

impl Acks {
    fn to_wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// A separator as it is typed: `\t` is a tab.
fn separator(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("a separator has at least one character"),
        "\\t" => Ok("\t".to_owned()),
        "\\0" => Ok("\0".to_owned()),
        other => Ok(other.to_owned()),
    }
}

pub(crate) async fn run(command: ProduceCommand, env: Env) -> Result<(), Failure> {
    let session = Session::open(&command.common, env).await?;
    let topic = find_or_create(&session, &command.topic).await?;
    let indexes = partition_indexes(&topic);
    let partition_count = u32::try_from(indexes.len()).unwrap_or(0);
    if let Some(partition) = command.partition.filter(|one| !indexes.contains(one)) {
        let last = indexes.last().copied().unwrap_or(0);
        let tried = format!("append to partition {partition} of topic {}", command.topic);
        return Err(Failure::new(tried, Cause::Partition { last }));
    }
    let producer = match command.acks == Acks::All && !command.no_idempotence {
        true => Some(new_producer(&session).await?),
        false => None,
    };
    let config = BatcherConfig {
        compression: command.compression.compression(),
        batch_bytes: usize::try_from(command.batch_bytes).unwrap_or(usize::MAX),
        linger: Duration::from_millis(command.linger_ms),
        producer,
    };
    let batcher = Batcher::new(config, command.partition, partition_count, &session.env.rng);
    let maker = RecordMaker::new(&command)?;
    let input = Input::open(command.from.as_deref())?;
    let is_free = command.from.is_some() || !io::stdin().is_terminal();
    let begun = session.env.clock.now();
    let mut sender = Sender::new(session.clone(), &command.topic, command.acks, batcher);
    sender.learn(&topic);
    let mut run = Run {
        env: session.env.clone(),
        progress: Progress::start(
            command.common.plainness,
            is_free,
            input.bytes().map_or(Total::Unknown, Total::Bytes),
        ),
        input,
        splitter: LineSplitter::default(),
        maker,
        sender,
    };
    let outcome = run.copy().await;
    let summary = run.progress.finish(session.env.clock.now().since(begun));
    let verb = if command.acks == Acks::None {
        "sent"
    } else {
        "acknowledged"
    };
    say(&format!("{verb} {summary}"));
    outcome
}

/// The topic; a broker that creates topics by itself is asked for a missing one, as producers do.
async fn find_or_create(session: &Session, name: &str) -> Result<MetadataResponseTopic, Failure> {
    let mut found = session.topic(name).await;
    for _ in 0..AUTO_CREATE_TRIES_MAX {
        let code = match &found {
            Ok(_) => return found,
            Err(failure) => failure.code(),
        };
        match code {
            Some(KafkaError::UnknownTopicOrPartition) => {
                let topic = MetadataRequestTopic::default()
                    .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))));
                let request = MetadataRequest::default()
                    .with_topics(Some(vec![topic]))
                    .with_allow_auto_topic_creation(true);
                let asked = session.client.request(Target::Any, &request).await;
                asked.map_err(|error| Failure::client(format!("find topic {name}"), error))?;
            }
            Some(KafkaError::LeaderNotAvailable) => {}
            _ => return found,
        }
        session.env.clock.sleep(DELIVERY_RETRY_DELAY).await;
        found = session.topic(name).await;
    }
    found.map_err(|failure| match failure.exit() {
        Exit::NotFound => failure.advise(format!("esker topic create {name} makes it")),
        _ => failure,
    })
}

/// An id under which the broker recognises repetitions.
async fn new_producer(session: &Session) -> Result<Producer, Failure> {
    let tried = || "get a producer id".to_owned();
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let mut response = session.client.request(Target::Any, &request).await;
    for _ in 0..AUTO_CREATE_TRIES_MAX {
        let code = response.as_ref().map(|response| response.error_code);
        let error = code.ok().and_then(KafkaError::from_code);
        if !error.is_some_and(KafkaError::is_retriable) {
            break;
        }
        session.env.clock.sleep(DELIVERY_RETRY_DELAY).await;
        response = session.client.request(Target::Any, &request).await;
    }
    let advice = "--no-idempotence produces without one";
    let response = response.map_err(|error| match error {
        ClientError::Unsupported { .. } => Failure::client(tried(), error).advise(advice),
        _ => Failure::client(tried(), error),
    })?;
    if response.error_code != KafkaError::None.code() {
        let api = ApiKey::InitProducerId;
        return Err(Failure::refused(tried(), api, response.error_code, None).advise(advice));
    }
    let id = ProducerId::from_wire(response.producer_id.0);
    let epoch = ProducerEpoch::from_wire(response.producer_epoch);
    match (id, epoch) {
        (Some(id), Some(epoch)) => Ok(Producer { id, epoch }),
        _ => Err(Failure::new(tried(), Cause::Unanswered)),
    }
}

/// One run from input to acknowledgements.
#[derive(Debug)]
struct Run {
    env: Env,
    input: Input,
    splitter: LineSplitter,
    maker: RecordMaker,
    progress: Progress,
    sender: Sender,
}

impl Run {
    /// Until the input ends, or is interrupted, and everything read has been acknowledged.
    async fn copy(&mut self) -> Result<(), Failure> {
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        let mut was_interrupted = false;
        let mut reading = true;
        loop {
            let now = self.env.clock.now();
            self.sender.flush_due(now, !reading)?;
            self.sender.dispatch().await?;
            if !reading && self.sender.is_idle() {
                break;
            }
            let wake = self.sender.next_wake(now);
            let may_read = reading && !self.sender.is_full();
            tokio::select! {
                event = self.sender.next(), if self.sender.is_waiting() => {
                    let Event { records, bytes } = self.sender.handle(event)?;
                    self.progress.add(records, bytes);
                }
                chunk = self.input.next(), if may_read => match chunk {
                    Some(chunk) => self.take(&chunk?)?,
                    None => {
                        self.take_rest()?;
                        reading = false;
                    }
                },
                () = self.env.clock.sleep(wake.unwrap_or(Duration::MAX)), if wake.is_some() => {}
                _ = &mut interrupted, if !was_interrupted => {
                    say("interrupted: finishing what was read");
                    was_interrupted = true;
                    reading = false;
                }
            }
        }
        self.sender.finish().await?;
        match was_interrupted {
            true => Err(Failure::new("read all of the input", Cause::Interrupted)),
            false => Ok(()),
        }
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), Failure> {
        self.progress
            .advance(u64::try_from(chunk.len()).unwrap_or(0));
        for line in self.splitter.split(chunk)? {
            self.append(line)?;
        }
        Ok(())
    }

    fn take_rest(&mut self) -> Result<(), Failure> {
        match self.splitter.rest() {
            Some(line) => self.append(line),
            None => Ok(()),
        }
    }

    fn append(&mut self, line: Bytes) -> Result<(), Failure> {
        let record = self.maker.make(line, self.env.clock.wall())?;
        self.sender.append(&record, self.env.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_may_be_typed_as_an_escape() {
        assert_eq!(separator("\\t"), Ok("\t".to_owned()));
        assert_eq!(separator("::"), Ok("::".to_owned()));
        assert!(separator("").is_err());
    }

    #[test]
    fn acks_are_on_the_wire_as_kafka_has_them() {
        let wire = [Acks::None, Acks::Leader, Acks::All].map(Acks::to_wire);

        assert_eq!(wire, [0, 1, -1]);
    }
}
