//! Consumers, askers for LATEST, and the last reading of everything on every fetch pod.

use std::collections::BTreeMap;
use std::time::Duration;

use esker_fetch::{Fetch, FoundOffset, ReadError, ReadReply, ReadRequest};
use esker_history::format::{Digest, Isolation, Latest, Note, Operation, Poll, Read, Whole};
use esker_metadata_api::OffsetQuery;
use esker_record::{ReadLimits, read_records};
use esker_types::Offset;
use futures::FutureExt as _;

use crate::client::{Client, Target, value_of};
use crate::net::CallError;
use crate::recorder::Ended;

/// What a reader heard.
type Heard<T> = Result<Result<T, ReadError>, CallError>;

/// The records of a reply from `position` on, as a client decodes them.
pub(crate) fn decode(reply: &ReadReply, position: u64) -> Read {
    let mut read = Read {
        hw: Some(reply.high_watermark.get()),
        log_start: Some(reply.log_start.get()),
        ..Read::default()
    };
    for bytes in &reply.batches {
        let Ok(records) = read_records(bytes, &ReadLimits::default()) else {
            read.corrupt.push(position);
            continue;
        };
        for record in records {
            let Ok(record) = record else {
                read.corrupt.push(position);
                break;
            };
            let offset = u64::try_from(record.offset).unwrap_or(0);
            if offset < position {
                continue;
            }
            match value_of(&record) {
                Some(value) => read.recs.push((offset, value)),
                None => read.corrupt.push(offset),
            }
        }
    }
    read
}

/// Time for one partition to be read whole once all is well.
const READ_WITHIN: Duration = Duration::from_secs(60);

async fn read_one(fetch: Fetch, request: ReadRequest) -> Result<ReadReply, ReadError> {
    fetch.read(request).await
}

impl Client {
    async fn read(
        &self,
        pod: usize,
        target: &Target,
        position: u64,
        wait: Duration,
    ) -> Heard<ReadReply> {
        let request = ReadRequest {
            topic_partition: target.at,
            offset: Offset::new(position).unwrap_or_default(),
            bytes_max: 4096,
            records_max: None,
            wait,
        };
        self.call("read", pod, move |life| {
            let fetch = life.fetch.clone()?;
            Some(read_one(fetch, request).boxed())
        })
        .await
    }

    /// One poll; the position behind it, `None` when nothing was heard.
    async fn poll(
        &self,
        process: u32,
        pod: usize,
        target: &Target,
        position: u64,
        is_last: bool,
    ) -> Option<(u64, Read)> {
        let operation = Operation::Poll(Poll {
            keys: vec![target.key.clone()],
            iso: Isolation::Ru,
            last: is_last,
            txn: None,
        });
        let op = {
            let at = self.world.elapsed();
            self.world.recorder().invoke(at, process, pod, operation)
        };
        let wait = Duration::from_millis(if is_last { 0 } else { 50 + self.rng.below(700) });
        let heard = self.read(pod, target, position, wait).await;
        let (ended, found) = match heard {
            Ok(Ok(reply)) => {
                let read = decode(&reply, position);
                let ended = Ended::Read(target.key.clone(), read.clone());
                (ended, Some((reply.next_offset.get().max(position), read)))
            }
            Ok(Err(error)) => {
                if matches!(
                    error,
                    ReadError::UnknownPartition | ReadError::OutOfRange { .. }
                ) {
                    let key = &target.key;
                    self.world.violation(format!(
                        "{key}: a consumer at {position} is told {error:?} by pod {pod}"
                    ));
                }
                (Ended::Fail("read"), None)
            }
            Err(_) => (Ended::Fail("no answer"), None),
        };
        let count = found.as_ref().map_or(0, |(_, read)| read.recs.len());
        self.world.event(format_args!(
            "poll {op} of {} at {position}: {count}",
            target.key
        ));
        let at = self.world.elapsed();
        self.world.recorder().end(at, op, ended);
        found
    }

    /// A consumer that reads partitions in turn, from one pod for a while.
    pub(crate) async fn consume(self, targets: Vec<Target>) {
        let process = self.world.recorder().process();
        let mut positions: BTreeMap<String, u64> = targets
            .iter()
            .map(|target| (target.key.clone(), 0))
            .collect();
        let at = self.world.elapsed();
        self.world.recorder().assign(at, process, positions.clone());
        let mut pod = self.pick(|roles| roles.fetch);
        while !self.is_over() {
            for target in &targets {
                let position = positions.get(&target.key).copied().unwrap_or(0);
                match self.poll(process, pod, target, position, false).await {
                    Some((next, _)) => {
                        positions.insert(target.key.clone(), next);
                    }
                    None => {
                        pod = self.pick(|roles| roles.fetch);
                        self.pause(Duration::from_millis(200)).await;
                    }
                }
            }
            if self.rng.below(200) == 0 {
                // Begins again: what is read twice must be the same.
                for position in positions.values_mut() {
                    *position = 0;
                }
                let at = self.world.elapsed();
                self.world.recorder().assign(at, process, positions.clone());
            }
            if self.rng.below(60) == 0 {
                pod = self.pick(|roles| roles.fetch);
            }
            self.pause(Duration::from_millis(40)).await;
        }
    }

    pub(crate) async fn latest(&self, process: u32, pod: usize, target: &Target) -> Option<u64> {
        let operation = Operation::Latest(Latest {
            key: target.key.clone(),
            iso: Isolation::Ru,
        });
        let op = {
            let at = self.world.elapsed();
            self.world.recorder().invoke(at, process, pod, operation)
        };
        let place = target.at;
        let heard: Heard<Option<FoundOffset>> = self
            .call("latest", pod, move |life| {
                let fetch = life.fetch.clone()?;
                Some(async move { fetch.find_offset(place, OffsetQuery::Latest).await }.boxed())
            })
            .await;
        let (ended, found) = match heard {
            Ok(Ok(Some(found))) => {
                let offset = found.offset.get();
                (Ended::Offset(Some(offset)), Some(offset))
            }
            Ok(Ok(None)) => (Ended::Fail("none"), None),
            Ok(Err(error)) => {
                if matches!(error, ReadError::UnknownPartition) {
                    let key = &target.key;
                    self.world
                        .violation(format!("{key}: exists, and LATEST says it does not"));
                }
                (Ended::Fail("latest"), None)
            }
            Err(_) => (Ended::Fail("no answer"), None),
        };
        self.world
            .event(format_args!("latest {op} of {}: {ended:?}", target.key));
        let at = self.world.elapsed();
        self.world.recorder().end(at, op, ended);
        found
    }

    /// Asks for LATEST again and again.
    pub(crate) async fn ask_latest(self, targets: Vec<Target>) {
        let process = self.world.recorder().process();
        while !self.is_over() {
            for target in &targets {
                let pod = self.pick(|roles| roles.fetch);
                let _ = self.latest(process, pod, target).await;
                self.pause(Duration::from_millis(300)).await;
            }
        }
    }

    /// Reads a partition from its start to LATEST on `pod`; `false` when that was not possible.
    pub(crate) async fn read_whole(&self, pod: usize, target: &Target) -> bool {
        let process = self.world.recorder().process();
        let mut end = None;
        for _ in 0..60 {
            end = self.latest(process, pod, target).await;
            if end.is_some() {
                break;
            }
            self.pause(Duration::from_millis(500)).await;
        }
        let Some(end) = end else {
            self.world.violation(format!(
                "{}: no LATEST from pod {pod} after the heal",
                target.key
            ));
            return false;
        };
        let at = self.world.elapsed();
        let start = BTreeMap::from([(target.key.clone(), 0)]);
        self.world.recorder().assign(at, process, start);
        let (mut position, begun) = (0, at);
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        while position < end {
            match self.poll(process, pod, target, position, true).await {
                Some((next, read)) => {
                    for (offset, value) in &read.recs {
                        for part in [*offset, *value] {
                            hash = (hash ^ part).wrapping_mul(0x0100_0000_01b3);
                        }
                    }
                    if next == position {
                        self.pause(Duration::from_millis(100)).await;
                    }
                    position = next;
                }
                None => self.pause(Duration::from_millis(300)).await,
            }
            if self.world.elapsed() - begun > READ_WITHIN {
                let key = &target.key;
                self.world.violation(format!(
                    "{key}: pod {pod} reads to {position} only, LATEST is {end}"
                ));
                return false;
            }
        }
        let at = self.world.elapsed();
        let digest = Digest {
            key: target.key.clone(),
            from: 0,
            to: end,
            pod: pod.to_string(),
            hash: format!("{hash:016x}"),
        };
        self.world.recorder().note(at, Note::Digest(digest));
        true
    }

    pub(crate) fn note_whole(&self, target: &Target) {
        let whole = Whole {
            key: target.key.clone(),
            iso: Isolation::Ru,
        };
        let at = self.world.elapsed();
        self.world.recorder().note(at, Note::Whole(whole));
    }
}
