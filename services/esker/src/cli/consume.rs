//! `esker consume`: the records of a topic to stdout.
//!
//! With a group it goes on where the group stopped and commits what has been written; it reads all
//! partitions by itself and never joins, so a group with members is refused.

mod position;
mod reader;

use std::io;
use std::io::{BufWriter, IsTerminal as _, Stdout, Write as _};
use std::time::Duration;

use clap::Args;
use esker_env::Env;
use esker_kafka::client::OffsetToCommit;
use esker_record::{ReadLimits, read_records, split_batches};

use super::exit::{Cause, Failure, say};
use super::format::{Encodings, Format, write_json};
use super::limits::COMMIT_INTERVAL;
use super::progress::{Progress, Total};
use super::start::Start;
use super::{Common, Output, Session, group, partition_indexes};
use position::Position;
use reader::{Chunk, Reader};

/// `esker consume`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConsumeCommand {
    #[command(flatten)]
    pub(super) common: Common,
    /// The topic
    topic: String,
    /// Where to begin: earliest, latest, an offset, -N (N before the end) or @TIMESTAMP
    #[arg(
        long,
        value_name = "PLACE",
        default_value = "earliest",
        allow_hyphen_values = true
    )]
    from: Start,
    /// Only this partition; may be given again
    #[arg(short, long = "partition", value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// End after so many records
    #[arg(short = 'n', long)]
    count: Option<u64>,
    /// Where to end, as for --from; without it at the end, as it is now
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    until: Option<Start>,
    /// Do not end: wait for more records
    #[arg(short = 'F', long, conflicts_with = "until")]
    follow: bool,
    /// kcat's word for the default
    #[arg(short, long, hide = true, conflicts_with = "follow")]
    exit: bool,
    /// Go on where this group stopped, and commit; the group must have no members
    #[arg(short, long)]
    group: Option<String>,
    /// Text of a record: %t topic, %p partition, %o offset, %T timestamp, %k key, %v value,
    /// %h headers, %K and %V bytes of key and value, %% percent; \n \t \r \0 \\ \xHH
    #[arg(short, long, conflicts_with = "output")]
    format: Option<Format>,
    #[command(flatten)]
    encodings: Encodings,
}

/// Writes records, as many as are wanted.
#[derive(Debug)]
struct Writer {
    stdout: BufWriter<Stdout>,
    topic: String,
    /// `None` is JSON.
    format: Option<Format>,
    encodings: Encodings,
    left: Option<u64>,
    progress: Progress,
}

pub(crate) async fn run(command: ConsumeCommand, env: Env) -> Result<(), Failure> {
    let session = Session::open(&command.common, env).await?;
    let positions = positions(&session, &command).await?;
    let total = match command.follow {
        true => command.count,
        false => Some(position::records_to_come(&positions, command.count)),
    };
    let is_free = !io::stdout().is_terminal();
    let format = match (command.common.output, command.format) {
        (_, Some(format)) => Some(format),
        (Output::Table, None) => Some(Format::values()),
        (Output::Json, None) => None,
    };
    let mut writer = Writer {
        stdout: BufWriter::with_capacity(64 * 1024, io::stdout()),
        topic: command.topic.clone(),
        format,
        encodings: command.encodings,
        left: command.count,
        progress: Progress::start(
            command.common.plainness,
            is_free,
            total.map_or(Total::Unknown, Total::Records),
        ),
    };
    let begun = session.env.clock.now();
    let mut reader = Reader::new(session.clone(), command.topic.clone(), positions);
    let mut commits = Commits {
        session: session.clone(),
        group: command.group,
        topic: command.topic,
        written: Vec::new(),
    };
    let outcome = copy(&session, &mut reader, &mut writer, &mut commits).await;
    // What has been written is committed whatever ended the run, but for a stdout that is gone.
    let outcome = match outcome {
        Ok(()) => commits.commit().await,
        Err(failure) => Err(failure),
    };
    let elapsed = session.env.clock.now().since(begun);
    let summary = writer.progress.finish(elapsed);
    if outcome.is_ok() && is_free && io::stderr().is_terminal() {
        say(&summary);
    }
    outcome
}

/// Fetches ahead while it writes, until the end, the count or an interrupt.
async fn copy(
    session: &Session,
    reader: &mut Reader,
    writer: &mut Writer,
    commits: &mut Commits,
) -> Result<(), Failure> {
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut commit_at = session.env.clock.now().after(COMMIT_INTERVAL);
    while writer.left != Some(0) {
        reader.start_fetches();
        if reader.is_done() {
            break;
        }
        let chunks = tokio::select! {
            chunks = reader.next() => chunks?,
            _ = &mut interrupted => break,
        };
        reader.start_fetches();
        for chunk in &chunks {
            if let Some(next) = writer.write(chunk)? {
                commits.note(chunk.partition, next);
            }
        }
        writer.flush()?;
        if session.env.clock.now() >= commit_at {
            commits.commit().await?;
            commit_at = session.env.clock.now().after(COMMIT_INTERVAL);
        }
    }
    Ok(())
}

/// Where to begin in each wanted partition, and where to end.
async fn positions(session: &Session, command: &ConsumeCommand) -> Result<Vec<Position>, Failure> {
    let topic = &command.topic;
    let found = session.topic(topic).await?;
    let existing = partition_indexes(&found);
    let wanted = match command.partitions.is_empty() {
        true => existing.clone(),
        false => command.partitions.clone(),
    };
    if let Some(missing) = wanted.iter().find(|one| !existing.contains(one)) {
        let last = existing.last().copied().unwrap_or(0);
        let tried = format!("read partition {missing} of topic {topic}");
        return Err(Failure::new(tried, Cause::Partition { last }));
    }
    let committed = match &command.group {
        None => group::Committed::new(),
        Some(name) => {
            let described = group::find(session, name).await?;
            let tried = format!("read topic {topic} alone for group {name}");
            group::check_unused(described.as_ref(), &tried)?;
            group::committed(session, name).await?
        }
    };
    let mut positions = Vec::new();
    for (partition, bounds) in session.bounds(topic, &wanted).await? {
        let start = match committed.get(&(topic.clone(), partition)) {
            Some(offset) => Start::Offset(*offset),
            None => command.from,
        };
        let until = command.until.unwrap_or(Start::Latest);
        let end = match command.follow {
            true => None,
            false => Some(until.resolve(session, topic, partition, bounds).await?),
        };
        let next = start.resolve(session, topic, partition, bounds).await?;
        positions.push(Position {
            partition,
            next,
            end,
        });
    }
    Ok(positions)
}

impl Writer {
    /// Writes what the chunk has for us; gives the offset to go on from, when any was reached.
    fn write(&mut self, chunk: &Chunk) -> Result<Option<i64>, Failure> {
        let tried = || format!("read topic {} partition {}", self.topic, chunk.partition);
        let mut reached = None;
        let (mut records, mut bytes) = (0, 0);
        'batches: for split in split_batches(&chunk.batches) {
            let (header, range) = split.map_err(|error| Failure::new(tried(), error))?;
            if header.is_control() {
                continue;
            }
            let batch = chunk.batches.slice(range);
            let batch_bytes = u64::from(header.batch_bytes());
            let read = read_records(&batch, &ReadLimits::default());
            for record in read.map_err(|error| Failure::new(tried(), error))? {
                let record = record.map_err(|error| Failure::new(tried(), error))?;
                if record.offset < chunk.from || chunk.end.is_some_and(|end| record.offset >= end) {
                    continue;
                }
                if self.left == Some(0) {
                    break 'batches;
                }
                let place = (self.topic.as_str(), chunk.partition);
                let (out, encodings) = (&mut self.stdout, self.encodings);
                let written = match &self.format {
                    Some(format) => format.write(out, encodings, place, &record),
                    None => write_json(out, encodings, place, &record),
                };
                written.map_err(Failure::output)?;
                reached = record.offset.checked_add(1);
                self.left = self.left.map(|left| left.saturating_sub(1));
                records += 1;
            }
            bytes += batch_bytes;
        }
        self.progress.add(records, bytes);
        // A chunk that was read to its end leads past control batches and gaps as well.
        Ok(match self.left {
            Some(0) => reached,
            _ => Some(chunk.end.map_or(chunk.next, |end| chunk.next.min(end))),
        })
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(Failure::output)
    }
}

/// What a group goes on from, once it has been written.
#[derive(Debug)]
struct Commits {
    session: Session,
    group: Option<String>,
    topic: String,
    written: Vec<(i32, i64)>,
}

impl Commits {
    fn note(&mut self, partition: i32, next: i64) {
        self.written.retain(|(noted, _)| *noted != partition);
        self.written.push((partition, next));
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let Some(group) = &self.group else {
            return Ok(());
        };
        if self.written.is_empty() {
            return Ok(());
        }
        let offsets = self
            .written
            .iter()
            .map(|(partition, offset)| OffsetToCommit {
                topic: &self.topic,
                partition: *partition,
                offset: *offset,
            });
        let offsets: Vec<_> = offsets.collect();
        let committed = self.session.client.offset_commit(group, &offsets).await;
        committed.map_err(|error| Failure::client(format!("commit for group {group}"), error))?;
        self.written.clear();
        Ok(())
    }
}

/// How long a failed fetch waits before the next.
fn pause(failures: u32) -> Duration {
    super::limits::FETCH_RETRY_DELAY.min(Duration::from_millis(50) * failures.min(20))
}
