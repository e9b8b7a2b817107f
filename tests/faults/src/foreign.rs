//! A producer and a reader on librdkafka, in a process of their own, that write into the history.
//!
//! The process says what it is about to do and waits for the word (`clients/librdkafka_client.py`),
//! so that the history has one clock. It is there where `.ci/bootstrap compat` installed it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use esker_env::{Env, Shutdown, timeout};
use esker_history::format::{Done, Isolation, Operation, Poll, Producer, Read, Send};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::load::{PARTITIONS, TOPIC};
use crate::reader::{PodAddress, value_in};
use crate::recorder::{End, Recorder, key, nothing, value};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/librdkafka_client.py");
/// Above every id that a cluster gives: the name of the producer in the history.
const PRODUCER_ID: u64 = 1 << 40;

/// The interpreter that has librdkafka's client, if there is one.
pub(crate) fn python() -> Option<PathBuf> {
    esker_testkit::bootstrapped("compat-python/bin/python", "compat").ok()
}

/// One line of the process.
#[derive(Debug, Deserialize)]
struct Told {
    who: Who,
    begin: Option<u64>,
    end: Option<u64>,
    #[serde(default)]
    finished: bool,
    partition: Option<i32>,
    record: Option<u32>,
    offset: Option<u64>,
    error: Option<String>,
    #[serde(default)]
    records: Vec<(i32, u64, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Who {
    Producer,
    Reader,
}

impl Who {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Producer => b"producer\n",
            Self::Reader => b"reader\n",
        }
    }
}

/// The process at work; killed on drop.
#[derive(Debug)]
pub(crate) struct Foreign {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    recorder: Recorder,
    number: u32,
    producer: u32,
    reader: u32,
    open: BTreeMap<(Who, u64), u64>,
    finished: u32,
    operations: u64,
}

impl Foreign {
    /// Starts it; `number` is that of its producer.
    pub(crate) fn start(
        python: &PathBuf,
        pods: &[PodAddress],
        number: u32,
        recorder: &Recorder,
    ) -> anyhow::Result<Self> {
        let addresses = pods.iter().map(|(_, address)| address.to_string());
        let addresses: Vec<String> = addresses.collect();
        let mut child = Command::new(python)
            .args([SCRIPT, &addresses.join(","), TOPIC])
            .args([PARTITIONS.to_string(), number.to_string()])
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start the clients on librdkafka")?;
        let foreign = Self {
            stdin: child.stdin.take().context("stdin is a pipe")?,
            lines: BufReader::new(child.stdout.take().context("stdout is a pipe")?).lines(),
            _child: child,
            recorder: recorder.clone(),
            number,
            producer: recorder.process(),
            reader: recorder.process(),
            open: BTreeMap::new(),
            finished: 0,
            operations: 0,
        };
        let all = (0..PARTITIONS).map(|partition| (key(TOPIC, partition), 0));
        recorder.assign(foreign.reader, all.collect());
        Ok(foreign)
    }

    /// Writes down all that it does until it has finished behind `stop`; how many operations.
    ///
    /// # Errors
    /// It ended early, did not finish, or had a record refused for good.
    pub(crate) async fn run(&mut self, stop: &Shutdown, limit: Duration) -> anyhow::Result<u64> {
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => break,
                line = self.lines.next_line() => self.take(line?).await?,
            }
        }
        self.stdin.write_all(b"stop\n").await?;
        let rest = async {
            while self.finished < 2 {
                let line = self.lines.next_line().await?;
                self.take(line).await?;
            }
            anyhow::Ok(())
        };
        let clock = Env::system().clock;
        timeout(clock.as_ref(), limit, rest).await??;
        Ok(self.operations)
    }

    async fn take(&mut self, line: Option<String>) -> anyhow::Result<()> {
        let line = line.context("it has ended")?;
        let told: Told = serde_json::from_str(&line).with_context(|| line.clone())?;
        if told.finished {
            self.finished += 1;
        } else if let Some(op) = told.begin {
            self.begin(op, &told)?;
            self.stdin.write_all(told.who.word()).await?;
        } else if let Some(op) = told.end {
            self.end(op, told)?;
        }
        Ok(())
    }

    fn begin(&mut self, op: u64, told: &Told) -> anyhow::Result<()> {
        let (p, what) = match told.who {
            Who::Producer => {
                let partition = told.partition.context("a partition")?;
                let record = told.record.context("a record")?;
                let producer = Producer {
                    id: PRODUCER_ID + u64::from(self.number),
                    epoch: 0,
                    seq: record,
                };
                let send = Send {
                    key: key(TOPIC, partition),
                    vals: vec![value(self.number, u64::from(record))],
                    producer: Some(producer),
                    txn: None,
                };
                (self.producer, Operation::Send(send))
            }
            Who::Reader => {
                let poll = Poll {
                    keys: (0..PARTITIONS).map(|at| key(TOPIC, at)).collect(),
                    iso: Isolation::Ru,
                    last: false,
                    txn: None,
                };
                (self.reader, Operation::Poll(poll))
            }
        };
        let number = self.recorder.begin(p, None, what);
        self.open.insert((told.who, op), number);
        Ok(())
    }

    fn end(&mut self, op: u64, told: Told) -> anyhow::Result<()> {
        let number = self.open.remove(&(told.who, op));
        let number = number.context("an end without a begin")?;
        self.operations += 1;
        if told.who == Who::Producer {
            let end = told.offset.map_or(End::Info, |_| End::Ok);
            let done = Done {
                offset: told.offset,
                error: told.error.clone(),
                ..nothing()
            };
            self.recorder.end(number, end, done);
            ensure!(
                told.offset.is_some(),
                "a record was given up: {:?}",
                told.error
            );
            return Ok(());
        }
        let mut read: BTreeMap<String, Read> = BTreeMap::new();
        for (partition, offset, text) in told.records {
            let part = read.entry(key(TOPIC, partition)).or_default();
            // Python decoded the bytes as Latin-1: each character is one byte.
            let bytes = text.chars().map(|one| u8::try_from(u32::from(one)));
            match bytes.collect::<Result<Vec<u8>, _>>() {
                Ok(bytes) => match value_in(&bytes) {
                    Ok(value) => part.recs.push((offset, value)),
                    Err(_) => part.corrupt.push(offset),
                },
                Err(error) => bail!("a character that is no byte: {error}"),
            }
        }
        let done = Done { read, ..nothing() };
        self.recorder.end(number, End::Ok, done);
        Ok(())
    }
}
