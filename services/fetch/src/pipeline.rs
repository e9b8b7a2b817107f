//! The stages of a fetch in order: (admit) locate, plan, read, assemble, wait; (reply). What a
//! sequential reader will ask for next is loaded while it digests the answer.
//!
//! One request is one task's work, so no queue lies between stages. Bounds: bytes of a response
//! by `response_bytes_max`, memory by the cache's permits, look-ups and reads in flight by
//! `limits.rs`. Nothing waits for memory of the cache while it holds some: what cannot be had at
//! once is left out, and who has nothing then waits with empty hands. Every round begins anew
//! from the view; nothing is kept while the waiter sleeps.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use esker_cache::{Heat, ReadErrorKind};
use esker_types::{MonotonicTime, Offset, Timestamp};

use crate::ahead::ReadAhead;

use crate::assemble::{Assembled, Assembler, Limit, Progress};
use crate::cold::ColdReads;
use crate::error::ReadError;
use crate::locate::{Located, Locator, ReadIntent};
use crate::metrics::Counters;
use crate::pace::{ColdPace, Portion, TailLook};
use crate::planner::{self, PartPlan, ReadPlan, Span, order};
use crate::reader::{Hands, ReadOn, Reader, Remedy, SpanBytes, Trouble};
use crate::slices::Slices;
use crate::view::{Marks, Stretch};
use crate::waiter::Waiter;

/// One request, admitted.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) intents: Vec<ReadIntent>,
    /// Bytes of the whole response.
    pub(crate) bytes_max: u32,
    /// Bytes worth answering before the deadline.
    pub(crate) bytes_min: u32,
    pub(crate) records_max: Option<u32>,
    pub(crate) deadline: MonotonicTime,
    /// Place of the intent that gets its share first.
    pub(crate) first: usize,
    /// Places of intents whose reader is sent to another node: it hears of the log's ends only.
    pub(crate) elsewhere: BTreeMap<usize, i32>,
}

/// What one intent found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) marks: Marks,
    /// Whole batches, in slices.
    pub(crate) records: Vec<Bytes>,
    pub(crate) next_offset: Offset,
}

/// What a request found.
#[derive(Debug)]
pub(crate) struct Served {
    /// One per intent, in order.
    pub(crate) parts: Vec<Result<Part, ReadError>>,
    pub(crate) bytes: u64,
    /// Place of the first intent that had batches and got none.
    pub(crate) starved: Option<usize>,
    /// Less than planned, since others hold the memory.
    pub(crate) is_short: bool,
}

/// Why a part has no records.
enum Missed {
    /// Others hold all memory.
    Short,
    Error(ReadError),
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) locator: Locator,
    pub(crate) reader: Reader,
    pub(crate) cold: ColdReads,
    pub(crate) pace: Arc<ColdPace>,
    pub(crate) ahead: ReadAhead,
    pub(crate) waiter: Waiter,
    pub(crate) counters: Arc<Counters>,
}

fn heat(stretch: &Stretch) -> Heat {
    match stretch.hot {
        true => Heat::Hot,
        false => Heat::Cold,
    }
}

fn heat_at(located: &[Located], part: usize) -> Heat {
    match located.get(part) {
        Some(Located::Ready(stretch)) => heat(stretch),
        Some(Located::AtEnd(_) | Located::Failed(_)) | None => Heat::Cold,
    }
}

fn is_tail(look: TailLook, stretch: &Stretch) -> bool {
    look.is_tail(stretch.hot, stretch.grew)
}

/// Bytes of an answer from the end of logs that grow, and from elsewhere.
fn bytes_by_place(look: TailLook, located: &[Located], served: &Served) -> (u64, u64) {
    let (mut tail, mut old) = (0, 0);
    for (at, part) in located.iter().zip(&served.parts) {
        let (Located::Ready(stretch), Ok(part)) = (at, part) else {
            continue;
        };
        let bytes: usize = part.records.iter().map(Bytes::len).sum();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        match is_tail(look, stretch) {
            true => tail += bytes,
            false => old += bytes,
        }
    }
    (tail, old)
}

/// Of the old records that were found, about the age of the oldest.
fn oldest(located: &[Located]) -> Timestamp {
    let cold = located.iter().filter_map(|located| match located {
        Located::Ready(stretch) if !stretch.hot => stretch.extents.first(),
        Located::Ready(_) | Located::AtEnd(_) | Located::Failed(_) => None,
    });
    let ages = cold.map(|extent| extent.max_timestamp);
    ages.min().unwrap_or_default()
}

/// Whether an answer without any records says that there are some. A reader below the end is never
/// told that there is nothing.
fn hides_records(job: &Job, served: &Served) -> bool {
    let mut parts = job.intents.iter().zip(&served.parts);
    let hides = |(intent, part): (&ReadIntent, &Result<Part, ReadError>)| {
        let part = part.as_ref();
        part.is_ok_and(|part| part.marks.high_watermark > intent.offset)
    };
    served.bytes == 0 && parts.any(hides)
}

impl Pipeline {
    /// Answers when `bytes_min` bytes are there, at the deadline, or when a partition fails.
    pub(crate) async fn serve(&self, job: &Job) -> Served {
        let mut is_last_look = false;
        let mut has_waited = false;
        loop {
            let generation = self.locator.view.generation();
            let mut located = self.locator.locate_all(&job.intents).await;
            for place in job.elsewhere.keys() {
                send_away(located.get_mut(*place));
            }
            let plan = planner::plan(&job.intents, &located, job.bytes_max, job.first);
            let is_failed = located
                .iter()
                .any(|located| matches!(located, Located::Failed(_)));
            let is_at_once = job.intents.is_empty() || !job.elsewhere.is_empty();
            let is_due = is_at_once || self.waiter.is_due(job.deadline);
            let bytes_min = u64::from(job.bytes_min);
            if is_due || is_failed || plan.available_bytes >= bytes_min {
                let look = self.pace.look(has_waited);
                let served = self.read_in_turn(job, &located, plan, look).await;
                let (tail, old) = bytes_by_place(look, &located, &served);
                self.pace.answered(tail, old, has_waited);
                let failed = served.parts.iter().any(Result::is_err);
                if served.is_short {
                    // Others want memory too: nothing is loaded that nobody has asked for.
                    return served;
                }
                // The log grew between the look at it and the answer, whose marks say so.
                if !is_last_look && !is_at_once && hides_records(job, &served) {
                    is_last_look = true;
                    continue;
                }
                // The plan was an estimate: what came may be less than was hoped for.
                if is_due || failed || served.bytes >= bytes_min {
                    self.ahead.follow(job, &located, &served);
                    return served;
                }
            }
            self.waiter
                .wait(&job.intents, &located, generation, job.deadline)
                .await;
            has_waited = true;
        }
    }

    /// Reads old records when their turn has come, and not too many at once, while there is a pace.
    /// Whoever gets records of the tail too does not wait.
    async fn read_in_turn(
        &self,
        job: &Job,
        located: &[Located],
        plan: ReadPlan,
        look: TailLook,
    ) -> Served {
        let has = |tail: bool| {
            let mut located = located.iter();
            located
                .any(|at| matches!(at, Located::Ready(stretch) if is_tail(look, stretch) == tail))
        };
        let pace = self.pace.bytes_per_second();
        let Some(pace) = pace.filter(|_| has(false) && !has(true)) else {
            return self.read_granted(job, located, plan, job.bytes_max).await;
        };
        let portion = Portion::at(pace);
        let bytes_max = portion.answer_bytes.max(job.bytes_min).min(job.bytes_max);
        // Whatever it keeps blocks for, each of them is loaded.
        let all = |_: usize| Heat::Cold;
        let (plan, bytes_max) = self.cut(job, located, bytes_max, portion.load_bytes, all);
        let is_cut = plan.available_bytes > u64::from(bytes_max);
        let loads = self.reader.cold_bytes(&plan, all);
        let answers = plan.available_bytes.min(u64::from(bytes_max));
        let waited = self.pace.turn(loads.max(answers)).await;
        self.counters.paced(waited);
        let served = self.read_granted(job, located, plan, bytes_max).await;
        Served {
            is_short: served.is_short || is_cut && served.bytes > 0,
            ..served
        }
    }

    /// The plan for as much of `bytes_max` as loads no more than `loads_max`, or than the smallest
    /// answer does, and how much that is. Only what `heat_of` has as cold counts. Small pieces of
    /// many segments cost a block each: no other way to know than to plan.
    fn cut(
        &self,
        job: &Job,
        located: &[Located],
        mut bytes_max: u32,
        loads_max: u64,
        heat_of: impl Fn(usize) -> Heat,
    ) -> (ReadPlan, u32) {
        let planned = |bytes_max| {
            let plan = planner::plan(&job.intents, located, bytes_max, job.first);
            let loads = self.reader.cold_bytes(&plan, &heat_of);
            (plan, loads)
        };
        let (mut plan, mut loads) = planned(bytes_max);
        if loads <= loads_max {
            return (plan, bytes_max);
        }
        let loads_max = planned(1).1.max(loads_max);
        while loads > loads_max && bytes_max > 1 {
            bytes_max /= 2;
            (plan, loads) = planned(bytes_max);
        }
        (plan, bytes_max)
    }

    /// Reads what was planned for `bytes_max` within the memory that old records may take now.
    async fn read_granted(
        &self,
        job: &Job,
        located: &[Located],
        plan: ReadPlan,
        bytes_max: u32,
    ) -> Served {
        let heat_of = |part: usize| heat_at(located, part);
        let wanted = self.reader.cold_bytes(&plan, heat_of);
        let grant = self.cold.grant(wanted, oldest(located)).await;
        if grant.bytes >= wanted {
            return self.read(job, located, &plan).await;
        }
        let (trimmed, _) = self.cut(job, located, bytes_max, grant.bytes, heat_of);
        let served = self.read(job, located, &trimmed).await;
        if served.bytes > 0 {
            return Served {
                is_short: true,
                ..served
            };
        }
        // What was planned failed. A reader below the end is never told that there is nothing.
        self.read(job, located, &plan).await
    }

    /// Reads and assembles what was planned, each partition within what is left.
    async fn read(&self, job: &Job, located: &[Located], plan: &ReadPlan) -> Served {
        let spans = self.reader.read(plan, |part| heat_at(located, part)).await;
        let mut served = Served {
            parts: without_records(&job.intents, located),
            bytes: 0,
            starved: None,
            is_short: false,
        };
        let mut short = None;
        let mut spans: Vec<_> = spans.into_iter().map(Some).collect();
        for place in order(job.intents.len(), job.first) {
            let bytes = spans.get_mut(place).and_then(Option::take);
            let found = self.part_at(job, located, plan, place, bytes, &mut served);
            if let Some(Missed::Short) = found.await {
                short = short.or(Some(place));
            }
        }
        served.is_short = short.is_some();
        drop(spans);
        if let Some(place) = short.filter(|_| served.bytes == 0) {
            let first_only = first_span(plan, place);
            let found = self.part_at(job, located, &first_only, place, None, &mut served);
            found.await;
        }
        self.counters.served(served.bytes);
        self.raise_marks(job, &mut served);
        served
    }

    /// One intent's part of the answer. `bytes`: what was read for it, in hand with the others';
    /// `None`: nothing is in hand.
    async fn part_at(
        &self,
        job: &Job,
        located: &[Located],
        plan: &ReadPlan,
        place: usize,
        bytes: Option<Vec<SpanBytes>>,
        served: &mut Served,
    ) -> Option<Missed> {
        let (intent, plan) = (job.intents.get(place)?, plan.parts.get(place)?);
        let Some(Located::Ready(stretch)) = located.get(place) else {
            return None;
        };
        let left = u64::from(job.bytes_max).saturating_sub(served.bytes);
        let limit = Limit {
            bytes: left.min(u64::from(intent.bytes_max)),
            records: job.records_max.map(u64::from),
            first_whole: served.bytes == 0,
        };
        let hands = match bytes {
            Some(_) => Hands::Full,
            None => Hands::Empty,
        };
        let bytes = bytes.unwrap_or_default();
        let found = self.part(intent, stretch, plan, bytes, limit, hands).await;
        let slot = served.parts.get_mut(place)?;
        match found {
            Ok(part) => {
                let bytes: usize = part.records.iter().map(Bytes::len).sum();
                served.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
                if bytes == 0 {
                    served.starved = served.starved.or(Some(place));
                }
                *slot = Ok(part);
                None
            }
            Err(Missed::Error(error)) => {
                *slot = Err(error);
                None
            }
            Err(Missed::Short) => {
                served.starved = served.starved.or(Some(place));
                Some(Missed::Short)
            }
        }
    }

    /// Reading takes time: another request may have shown a higher high watermark meanwhile (CP6).
    fn raise_marks(&self, job: &Job, served: &mut Served) {
        for (intent, part) in job.intents.iter().zip(&mut served.parts) {
            let now = self.locator.view.marks(intent.topic_partition);
            if let (Ok(part), Some(now)) = (part, now) {
                part.marks = part.marks.max(now);
            }
        }
    }

    /// One partition's batches, with every remedy tried when its bytes are wrong.
    async fn part(
        &self,
        intent: &ReadIntent,
        stretch: &Stretch,
        plan: &PartPlan,
        bytes: Vec<SpanBytes>,
        limit: Limit,
        hands: Hands,
    ) -> Result<Part, Missed> {
        let mut stretch = stretch.clone();
        let mut plan = plan.clone();
        let mut bytes = bytes;
        let mut tried = None;
        loop {
            let heat = heat(&stretch);
            let how = ReadOn { heat, hands };
            let trouble = match self.assemble(intent, &plan, bytes, limit, how).await {
                Ok(assembled) => return Ok(finished(stretch.marks, assembled)),
                Err(trouble) => trouble,
            };
            if hands == Hands::Full && trouble.is_overload() {
                return Err(Missed::Short);
            }
            let remedy = trouble.remedy(tried);
            self.counters.remedied(remedy);
            match remedy {
                Remedy::ReadAgain => {
                    let error: &dyn std::error::Error = &trouble;
                    tracing::warn!(error, "bytes of an extent are wrong, reading them again");
                    self.reader.forget(trouble.extent());
                }
                Remedy::LocateAgain => {
                    self.locator.view.distrust(intent.topic_partition);
                    stretch = match self.locator.locate(intent).await {
                        Located::Ready(stretch) => stretch,
                        Located::AtEnd(marks) => return Ok(nothing(marks, intent)),
                        Located::Failed(error) => return Err(Missed::Error(error)),
                    };
                    plan = replan(intent, &stretch, limit);
                }
                Remedy::GiveUp => return Err(Missed::Error(unreadable(&trouble))),
            }
            tried = Some(remedy);
            bytes = Vec::new();
        }
    }

    /// One partition's batches from the planned spans. What was not read yet is read now, but only
    /// while nothing was taken: a batch may be larger than its estimate.
    async fn assemble(
        &self,
        intent: &ReadIntent,
        plan: &PartPlan,
        bytes: Vec<SpanBytes>,
        limit: Limit,
        how: ReadOn,
    ) -> Result<Assembled, Trouble> {
        let mut assembler = Assembler::new(intent.offset, limit);
        let mut bytes = bytes.into_iter();
        for span in &plan.spans {
            let ready = bytes.next();
            assembler.begin(&span.extent);
            match self.take_span(&mut assembler, span, ready, how).await {
                Ok(Progress::Through) => {}
                Ok(Progress::Full | Progress::Needs(_)) => break,
                // What was taken is good; the next fetch meets the trouble at its front.
                Err(_) if assembler.has_any() => break,
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(assembler.finish())
    }

    async fn take_span(
        &self,
        assembler: &mut Assembler,
        span: &Span,
        ready: Option<SpanBytes>,
        how: ReadOn,
    ) -> Result<Progress, Trouble> {
        let extent = &span.extent;
        let trouble = |source| Trouble::Cache {
            extent: *extent,
            source,
        };
        let mut bytes = match ready {
            Some(ready) => ready.map_err(trouble)?,
            None => {
                let planned = span.range.byte_count();
                let read = self.reader.read_on(extent, 0, planned, how).await;
                read.map_err(trouble)?
            }
        };
        loop {
            let progress = assembler.take(&bytes).map_err(|source| Trouble::Fault {
                extent: *extent,
                source,
            })?;
            let Progress::Needs(end) = progress else {
                return Ok(progress);
            };
            if assembler.has_any() {
                return Ok(progress);
            }
            let from = match how.hands {
                Hands::Full => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                // Who may wait holds nothing: what is let go of is in the cache.
                Hands::Empty => 0,
            };
            if from == 0 {
                bytes = Slices::default();
            }
            let more = self.reader.read_on(extent, from, end, how).await;
            bytes.append(more.map_err(trouble)?);
        }
    }
}

/// Where the trouble ends: told once, loudly when a person must look.
pub(crate) fn unreadable(trouble: &Trouble) -> ReadError {
    let error: &dyn std::error::Error = trouble;
    match trouble.kind() {
        ReadErrorKind::Retry => tracing::warn!(error, "records could not be read for now"),
        ReadErrorKind::Refresh | ReadErrorKind::Corrupt => {
            tracing::error!(error, "records cannot be read");
        }
    }
    let segment = trouble.segment();
    ReadError::Unreadable { segment }
}

fn finished(marks: Marks, assembled: Assembled) -> Part {
    Part {
        marks,
        records: assembled.records,
        next_offset: assembled.next_offset,
    }
}

fn nothing(marks: Marks, intent: &ReadIntent) -> Part {
    Part {
        marks,
        records: Vec::new(),
        next_offset: intent.offset,
    }
}

/// What is there is left to the reader's other node.
fn send_away(located: Option<&mut Located>) {
    if let Some(located) = located
        && let Located::Ready(stretch) = located
    {
        *located = Located::AtEnd(stretch.marks);
    }
}

/// The answers before anything was read.
fn without_records(intents: &[ReadIntent], located: &[Located]) -> Vec<Result<Part, ReadError>> {
    let answer = |(intent, located): (&ReadIntent, &Located)| match located {
        Located::Ready(stretch) => Ok(nothing(stretch.marks, intent)),
        Located::AtEnd(marks) => Ok(nothing(*marks, intent)),
        Located::Failed(error) => Err(*error),
    };
    intents.iter().zip(located).map(answer).collect()
}

/// The plan of one part, no more than its first span.
fn first_span(plan: &ReadPlan, place: usize) -> ReadPlan {
    let mut plan = plan.clone();
    if let Some(part) = plan.parts.get_mut(place) {
        part.spans.truncate(1);
    }
    plan
}

/// Spans for one partition that was located again.
fn replan(intent: &ReadIntent, stretch: &Stretch, limit: Limit) -> PartPlan {
    let bytes_max = u32::try_from(limit.bytes).unwrap_or(u32::MAX);
    let located = [Located::Ready(stretch.clone())];
    let plan = planner::plan(std::slice::from_ref(intent), &located, bytes_max, 0);
    plan.parts.into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use esker_types::{PartitionIndex, TopicId, TopicPartition};

    use super::*;

    fn offset(number: u64) -> Offset {
        Offset::new(number).unwrap()
    }

    fn job(at: u64) -> Job {
        let topic_partition = TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::default(),
        };
        Job {
            intents: vec![ReadIntent {
                topic_partition,
                offset: offset(at),
                bytes_max: 100,
            }],
            bytes_max: 100,
            bytes_min: 1,
            records_max: None,
            deadline: MonotonicTime::default(),
            first: 0,
            elsewhere: BTreeMap::new(),
        }
    }

    fn served(high_watermark: u64, bytes: u64) -> Served {
        let marks = Marks {
            log_start: offset(0),
            high_watermark: offset(high_watermark),
        };
        Served {
            parts: vec![Ok(Part {
                marks,
                records: Vec::new(),
                next_offset: offset(0),
            })],
            bytes,
            starved: None,
            is_short: false,
        }
    }

    #[test]
    fn an_answer_that_says_of_records_and_brings_none_is_not_given() {
        // esker-faults --cluster 10, kill -9: 6375 was asked, nothing came, the end was 6383.
        assert!(hides_records(&job(6375), &served(6383, 0)));
        assert!(!hides_records(&job(6375), &served(6375, 0)), "at the end");
        assert!(
            !hides_records(&job(6375), &served(6383, 1)),
            "others are in front"
        );
        let refused = Served {
            parts: vec![Err(ReadError::TimedOut)],
            bytes: 0,
            starved: None,
            is_short: false,
        };
        assert!(!hides_records(&job(6375), &refused));
    }
}
