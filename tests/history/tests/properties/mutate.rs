//! What can be done to a clean history so that a promise is broken in it, one change at a time.

use std::collections::{BTreeMap, BTreeSet};

use esker_history::Kind;
use esker_history::format::{
    Absence, Done, Event, Invoke, Isolation, Line, Note, Operation, Owns, Range, Send,
};
use rand::RngExt as _;
use rand::rngs::StdRng;

/// Changes a history; false when it has no place for the change.
type Change = fn(&mut Edit<'_>) -> bool;

/// Each change, and the anomalies of which at least one must be told.
pub(crate) const MUTATIONS: &[(&str, Change, &[Kind])] = &[
    (
        "drop from the last reading",
        drop_last,
        &[
            Kind::Unseen,
            Kind::IntPollSkip,
            Kind::PollSkip,
            Kind::TornTxn,
            Kind::EmptyBelowHw,
            Kind::LostWrite,
        ],
    ),
    (
        "drop from a poll",
        drop_middle,
        &[Kind::EmptyBelowHw, Kind::IntPollSkip, Kind::LostWrite],
    ),
    ("read a record twice", double, &[Kind::IntNonmonotonicPoll]),
    ("read a poll again", repeat_poll, &[Kind::NonmonotonicPoll]),
    (
        "swap two records",
        swap,
        &[Kind::Duplicate, Kind::InconsistentOffsets, Kind::Moved],
    ),
    (
        "acknowledge another offset",
        re_offset,
        &[
            Kind::Moved,
            Kind::InconsistentOffsets,
            Kind::DuplicateAnswer,
        ],
    ),
    ("call a success failed", fail_send, &[Kind::G1a]),
    (
        "call a commit an abort",
        abort_txn,
        &[Kind::G1a, Kind::UncommittedRead],
    ),
    ("read from nowhere", unsent, &[Kind::Unsent]),
    ("show a lower watermark", lower_hw, &[Kind::HwRegress]),
    ("show a lower lso", lower_lso, &[Kind::LsoRegress]),
    (
        "show a lower log start",
        lower_start,
        &[Kind::LogStartRegress],
    ),
    (
        "show a lower leader epoch",
        lower_leader,
        &[Kind::LeaderEpochRegress],
    ),
    (
        "answer a lower LATEST",
        lower_latest,
        &[Kind::LatestRegress, Kind::LatestBelowAck],
    ),
    ("read beyond the watermark", beyond, &[Kind::ReadBeyondHw]),
    ("read nothing", empty, &[Kind::EmptyBelowHw]),
    ("send later", send_later, &[Kind::RealTime, Kind::Unsent]),
    ("forget why a gap is", forget_void, &[Kind::Gap]),
    ("call a record void", void_record, &[Kind::VoidShown]),
    (
        "end the watermark in a void range",
        void_tail,
        &[Kind::HwInVoid],
    ),
    (
        "answer an offset never committed",
        wrong_commit,
        &[Kind::OffsetRegress],
    ),
    (
        "lose a committed offset",
        lose_commit,
        &[Kind::OffsetRegress],
    ),
    (
        "commit under an old generation",
        old_generation,
        &[Kind::FencedGroup],
    ),
    ("own a partition twice", own_twice, &[Kind::Ownership]),
    (
        "answer a duplicate elsewhere",
        other_answer,
        &[Kind::DuplicateAnswer],
    ),
    (
        "swap sequences",
        swap_sequences,
        &[Kind::SequenceOrder, Kind::SequenceGap],
    ),
    ("skip a sequence", skip_sequence, &[Kind::SequenceGap]),
    (
        "write under an old epoch",
        old_producer,
        &[Kind::FencedProducer],
    ),
    (
        "answer under an old epoch",
        old_epoch,
        &[Kind::EpochRegress],
    ),
    ("flip a bit", flip, &[Kind::Corruption]),
    ("give another hash", other_hash, &[Kind::PodEquality]),
    ("turn a timestamp back", turn_back, &[Kind::TimeRegress]),
    (
        "copy a record into a void range",
        copy,
        &[Kind::Duplicate, Kind::VoidShown],
    ),
];

/// A history that is being changed.
pub(crate) struct Edit<'a> {
    pub(crate) lines: Vec<Line>,
    pub(crate) rng: &'a mut StdRng,
}

impl Edit<'_> {
    /// One of these at random.
    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() {
            return None;
        }
        all.get(self.rng.random_range(0..all.len())).cloned()
    }

    fn invokes(&self) -> BTreeMap<u64, (usize, Invoke)> {
        let lines = self.lines.iter().enumerate();
        let invokes = lines.filter_map(|(at, line)| match &line.event {
            Event::Invoke(invoke) => Some((invoke.op, (at, invoke.clone()))),
            _ => None,
        });
        invokes.collect()
    }

    /// Operations that succeeded: line of the answer, the question with its line, the answer.
    fn answered(&self) -> Vec<(usize, usize, Invoke, Done)> {
        let invokes = self.invokes();
        let lines = self.lines.iter().enumerate();
        let answered = lines.filter_map(|(at, line)| match &line.event {
            Event::Ok(done) => {
                let (begun, invoke) = invokes.get(&done.op)?;
                Some((at, *begun, invoke.clone(), done.clone()))
            }
            _ => None,
        });
        answered.collect()
    }

    fn put(&mut self, at: usize, done: Done) -> bool {
        self.lines[at].event = Event::Ok(done);
        true
    }

    /// Successful reads of one partition with at least so many records.
    fn reads(&self, least: usize) -> Vec<(usize, Invoke, Done)> {
        let all = self.answered().into_iter();
        let polls = all.filter(|(_, _, _, done)| {
            done.read
                .values()
                .next()
                .is_some_and(|read| read.recs.len() >= least)
        });
        polls
            .map(|(at, _, invoke, done)| (at, invoke, done))
            .collect()
    }

    fn sends(&self) -> Vec<(usize, usize, Send, u64)> {
        let all = self.answered().into_iter();
        let sends = all.filter_map(|(at, begun, invoke, done)| match invoke.what {
            Operation::Send(send) => Some((at, begun, send, done.offset?)),
            _ => None,
        });
        sends.collect()
    }

    /// Values that a successful read of the isolation holds, by partition.
    fn read_values(&self, iso: Option<Isolation>) -> BTreeSet<(String, u64)> {
        let mut values = BTreeSet::new();
        for (_, invoke, done) in self.reads(1) {
            let Operation::Poll(poll) = &invoke.what else {
                continue;
            };
            if iso.is_none_or(|iso| iso == poll.iso) {
                for (key, read) in &done.read {
                    values.extend(read.recs.iter().map(|(_, value)| (key.clone(), *value)));
                }
            }
        }
        values
    }

    fn insert(&mut self, at: usize, event: Event) {
        let t = self.lines[at - 1].t;
        self.lines.insert(at, Line { t, event });
    }

    /// Numbers operations anew in the order of their begin, and makes time rise.
    fn renumber(&mut self) {
        let mut numbers = BTreeMap::new();
        for (at, line) in (1_u64..).zip(&mut self.lines) {
            line.t = at;
            match &mut line.event {
                Event::Invoke(invoke) => {
                    let number = u64::try_from(numbers.len()).unwrap();
                    numbers.insert(invoke.op, number);
                    invoke.op = number;
                }
                Event::Ok(done) | Event::Fail(done) | Event::Info(done) => {
                    done.op = numbers[&done.op];
                }
                Event::Assign(_) | Event::Note(_) => {}
            }
        }
    }
}

fn read_of(done: &mut Done) -> &mut esker_history::format::Read {
    done.read.values_mut().next().unwrap()
}

fn is_last(invoke: &Invoke) -> bool {
    matches!(&invoke.what, Operation::Poll(poll) if poll.last)
}

fn drop_last(edit: &mut Edit<'_>) -> bool {
    let all: Vec<_> = edit
        .reads(1)
        .into_iter()
        .filter(|(_, ask, _)| is_last(ask))
        .collect();
    let Some((at, _, mut done)) = edit.pick(&all) else {
        return false;
    };
    let read = read_of(&mut done);
    let nth = edit.rng.random_range(0..read.recs.len());
    let (_, value) = read.recs.remove(nth);
    read.times.remove(nth);
    // A record that nobody was told of may be missing.
    let acked = edit
        .sends()
        .iter()
        .any(|(_, _, send, _)| send.vals.contains(&value));
    acked && edit.put(at, done)
}

fn drop_middle(edit: &mut Edit<'_>) -> bool {
    let all: Vec<_> = edit
        .reads(3)
        .into_iter()
        .filter(|(_, ask, _)| !is_last(ask))
        .collect();
    let Some((at, _, mut done)) = edit.pick(&all) else {
        return false;
    };
    let read = read_of(&mut done);
    let (offset, value) = read.recs.remove(1);
    read.times.remove(1);
    let key = done.read.keys().next().unwrap().clone();
    let acked = edit.sends();
    let acked = acked
        .iter()
        .any(|(_, _, send, _)| send.txn.is_none() && send.vals.contains(&value));
    let removed = edit.lines.iter().any(|line| match &line.event {
        Event::Note(Note::Range(range)) => {
            range.why == Absence::Retention && range.key == key && range.to > offset
        }
        _ => false,
    });
    acked && !removed && edit.put(at, done)
}

fn double(edit: &mut Edit<'_>) -> bool {
    let Some((at, _, mut done)) = edit.pick(&edit.reads(1)) else {
        return false;
    };
    let read = read_of(&mut done);
    read.recs.insert(0, read.recs[0]);
    read.times.insert(0, read.times[0]);
    edit.put(at, done)
}

fn repeat_poll(edit: &mut Edit<'_>) -> bool {
    let Some((at, invoke, done)) = edit.pick(&edit.reads(1)) else {
        return false;
    };
    let op = u64::MAX - 1;
    edit.insert(at + 1, Event::Invoke(Invoke { op, ..invoke }));
    edit.insert(at + 2, Event::Ok(Done { op, ..done }));
    edit.renumber();
    true
}

fn swap(edit: &mut Edit<'_>) -> bool {
    let Some((at, _, mut done)) = edit.pick(&edit.reads(2)) else {
        return false;
    };
    let recs = &mut read_of(&mut done).recs;
    let (first, second) = (recs[0].1, recs[1].1);
    (recs[0].1, recs[1].1) = (second, first);
    // Unknown batches without a producer have no known place.
    let known = edit.sends();
    let is_known = |value| {
        known
            .iter()
            .any(|(_, _, send, _)| send.vals.contains(&value))
    };
    is_known(first) && is_known(second) && edit.put(at, done)
}

fn re_offset(edit: &mut Edit<'_>) -> bool {
    let read = edit.read_values(None);
    let all = edit.sends().into_iter();
    let all = all.filter(|(_, _, send, _)| {
        send.producer.is_some() && read.contains(&(send.key.clone(), send.vals[0]))
    });
    let Some((at, _, _, base)) = edit.pick(&all.collect::<Vec<_>>()) else {
        return false;
    };
    let Event::Ok(mut done) = edit.lines[at].event.clone() else {
        return false;
    };
    done.offset = Some(base + 1);
    edit.put(at, done)
}

fn fail_send(edit: &mut Edit<'_>) -> bool {
    let read = edit.read_values(None);
    let all = edit.sends().into_iter();
    let all = all.filter(|(_, _, send, _)| {
        send.producer.is_none() && read.contains(&(send.key.clone(), send.vals[0]))
    });
    let Some((at, ..)) = edit.pick(&all.collect::<Vec<_>>()) else {
        return false;
    };
    let Event::Ok(done) = edit.lines[at].event.clone() else {
        return false;
    };
    edit.lines[at].event = Event::Fail(Done {
        offset: None,
        ..done
    });
    true
}

fn abort_txn(edit: &mut Edit<'_>) -> bool {
    let read = edit.read_values(Some(Isolation::Rc));
    let sends = edit.sends();
    let mut ends = Vec::new();
    for (op, (at, invoke)) in edit.invokes() {
        if let Operation::End(end) = &invoke.what {
            let shown = sends.iter().any(|(_, _, send, _)| {
                send.txn == Some(end.txn) && read.contains(&(send.key.clone(), send.vals[0]))
            });
            if end.commit && shown {
                ends.push((op, at));
            }
        }
    }
    let Some((_, at)) = edit.pick(&ends) else {
        return false;
    };
    let Event::Invoke(invoke) = &mut edit.lines[at].event else {
        return false;
    };
    if let Operation::End(end) = &mut invoke.what {
        end.commit = false;
    }
    true
}

fn unsent(edit: &mut Edit<'_>) -> bool {
    let Some((at, _, mut done)) = edit.pick(&edit.reads(1)) else {
        return false;
    };
    read_of(&mut done).recs[0].1 = 7;
    edit.put(at, done)
}

/// A poll behind another of the same pod and partition that had told this or more.
fn lower(
    edit: &mut Edit<'_>,
    of: fn(&mut esker_history::format::Read) -> &mut Option<u64>,
) -> bool {
    let mut told: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
    let mut polls = Vec::new();
    let answered = edit.answered();
    for (at, begun, invoke, mut done) in answered.clone() {
        let Some(key) = done.read.keys().next().cloned() else {
            continue;
        };
        let before = answered.iter().filter(|(other, _, asked, answer)| {
            *other < begun && asked.pod == invoke.pod && answer.read.contains_key(&key)
        });
        for (_, _, _, answer) in before {
            let value = of(read_of(&mut answer.clone())).unwrap_or(0);
            let most = told.entry((key.clone(), invoke.pod.clone())).or_default();
            *most = value.max(*most);
        }
        let floor = told.remove(&(key, invoke.pod)).unwrap_or(0);
        if floor > 0 {
            *of(read_of(&mut done)) = Some(floor - 1);
            polls.push((at, done));
        }
    }
    match edit.pick(&polls) {
        Some((at, done)) => edit.put(at, done),
        None => false,
    }
}

fn lower_hw(edit: &mut Edit<'_>) -> bool {
    lower(edit, |read| &mut read.hw)
}

fn lower_lso(edit: &mut Edit<'_>) -> bool {
    lower(edit, |read| &mut read.lso)
}

fn lower_start(edit: &mut Edit<'_>) -> bool {
    lower(edit, |read| &mut read.log_start)
}

fn lower_leader(edit: &mut Edit<'_>) -> bool {
    for (at, _, mut done) in edit.reads(0) {
        if let Some(read) = done.read.values_mut().next() {
            read.leader_epoch = Some(1);
            edit.put(at, done);
            break;
        }
    }
    lower(edit, |read| &mut read.leader_epoch)
}

fn lower_latest(edit: &mut Edit<'_>) -> bool {
    let sends = edit.sends();
    let all = edit.answered().into_iter();
    let all = all.filter_map(|(at, begun, invoke, done)| {
        let Operation::Latest(latest) = &invoke.what else {
            return None;
        };
        let acked = sends.iter().filter(|(acked, _, send, _)| {
            *acked < begun && send.key == latest.key && latest.iso == Isolation::Ru
        });
        let floor = acked.map(|(_, _, _, base)| *base).max()?;
        let offset = Some(floor);
        Some((at, Done { offset, ..done }))
    });
    match edit.pick(&all.collect::<Vec<_>>()) {
        Some((at, done)) => edit.put(at, done),
        None => false,
    }
}

fn beyond(edit: &mut Edit<'_>) -> bool {
    let Some((at, _, mut done)) = edit.pick(&edit.reads(1)) else {
        return false;
    };
    let read = read_of(&mut done);
    read.hw = read.recs.last().map(|(offset, _)| *offset);
    read.lso = read.hw;
    edit.put(at, done)
}

fn empty(edit: &mut Edit<'_>) -> bool {
    let all: Vec<_> = edit
        .reads(1)
        .into_iter()
        .filter(|(_, ask, _)| is_last(ask))
        .collect();
    let Some((at, invoke, done)) = edit.pick(&all) else {
        return false;
    };
    let mut nothing = done;
    let read = read_of(&mut nothing);
    read.recs.clear();
    read.times.clear();
    let op = u64::MAX - 1;
    let begun = edit.invokes()[&nothing.op].0;
    nothing.op = op;
    edit.insert(begun, Event::Invoke(Invoke { op, ..invoke }));
    edit.insert(begun + 1, Event::Ok(nothing));
    edit.renumber();
    at > 0
}

fn send_later(edit: &mut Edit<'_>) -> bool {
    let sends = edit.sends();
    let mut places = Vec::new();
    for (at, begun, send, base) in &sends {
        let other = sends.iter().find(|(other_at, _, other, other_base)| {
            other.key == send.key && other_base > base && other_at < at && other_at > begun
        });
        let first = sends
            .iter()
            .filter(|(_, _, other, _)| other.vals == send.vals)
            .count()
            == 1;
        if let Some((other_at, ..)) = other.filter(|_| first && send.producer.is_none()) {
            places.push((*begun, *other_at));
        }
    }
    let Some((begun, behind)) = edit.pick(&places) else {
        return false;
    };
    let line = edit.lines.remove(begun);
    edit.lines.insert(behind, line);
    edit.renumber();
    true
}

fn ranges(edit: &Edit<'_>, why: Absence) -> Vec<(usize, Range)> {
    let lines = edit.lines.iter().enumerate();
    let ranges = lines.filter_map(|(at, line)| match &line.event {
        Event::Note(Note::Range(range)) if range.why == why => Some((at, range.clone())),
        _ => None,
    });
    ranges.collect()
}

fn whole(edit: &Edit<'_>, key: &str) -> Option<Isolation> {
    edit.lines.iter().find_map(|line| match &line.event {
        Event::Note(Note::Whole(whole)) if whole.key == key => Some(whole.iso),
        _ => None,
    })
}

fn forget_void(edit: &mut Edit<'_>) -> bool {
    let removed = ranges(edit, Absence::Retention);
    let all = ranges(edit, Absence::Void).into_iter();
    let all = all.filter(|(_, range)| {
        let kept = removed
            .iter()
            .all(|(_, one)| one.key != range.key || one.to <= range.from);
        kept && whole(edit, &range.key) == Some(Isolation::Ru)
    });
    let all: Vec<_> = all.collect();
    // A void range is there because a batch follows it; that one must be known to be there.
    let sends = edit.sends();
    let last = |range: &Range| {
        sends
            .iter()
            .any(|(_, _, send, base)| send.key == range.key && *base >= range.to)
    };
    let all: Vec<_> = all.into_iter().filter(|(_, range)| last(range)).collect();
    let Some((at, _)) = edit.pick(&all) else {
        return false;
    };
    edit.lines.remove(at);
    true
}

fn void_record(edit: &mut Edit<'_>) -> bool {
    let Some((_, _, done)) = edit.pick(&edit.reads(1)) else {
        return false;
    };
    let (key, read) = done.read.iter().next().unwrap();
    let from = read.recs[0].0;
    let note = Note::Range(Range {
        key: key.clone(),
        from,
        to: from + 1,
        why: Absence::Void,
    });
    edit.insert(edit.lines.len(), Event::Note(note));
    true
}

fn void_tail(edit: &mut Edit<'_>) -> bool {
    let Some((_, _, done)) = edit.pick(&edit.reads(1)) else {
        return false;
    };
    let (key, read) = done.read.iter().next().unwrap();
    let to = read.hw.unwrap();
    let note = Note::Range(Range {
        key: key.clone(),
        from: to - 1,
        to,
        why: Absence::Void,
    });
    edit.insert(edit.lines.len(), Event::Note(note));
    true
}

fn committed(edit: &Edit<'_>) -> Vec<(usize, Done)> {
    let all = edit.answered().into_iter();
    let all = all.filter(|(_, _, invoke, _)| matches!(invoke.what, Operation::Committed(_)));
    all.map(|(at, _, _, done)| (at, done)).collect()
}

fn wrong_commit(edit: &mut Edit<'_>) -> bool {
    let Some((at, done)) = edit.pick(&committed(edit)) else {
        return false;
    };
    let offset = Some(3);
    edit.put(at, Done { offset, ..done })
}

fn lose_commit(edit: &mut Edit<'_>) -> bool {
    let answered = edit.answered();
    let all = answered.iter().filter_map(|(at, begun, invoke, done)| {
        let Operation::Committed(asked) = &invoke.what else {
            return None;
        };
        let known = answered.iter().any(|(acked, _, other, _)| {
            *acked < *begun && matches!(&other.what, Operation::Commit(one) if one.key == asked.key)
        });
        known.then(|| {
            (
                *at,
                Done {
                    offset: None,
                    ..done.clone()
                },
            )
        })
    });
    match edit.pick(&all.collect::<Vec<_>>()) {
        Some((at, done)) => edit.put(at, done),
        None => false,
    }
}

fn old_generation(edit: &mut Edit<'_>) -> bool {
    let mut current = 0;
    let mut commits = Vec::new();
    let answered: BTreeSet<u64> = edit
        .answered()
        .iter()
        .map(|(_, _, ask, _)| ask.op)
        .collect();
    for (at, line) in edit.lines.iter().enumerate() {
        match &line.event {
            Event::Note(Note::Owns(owns)) => current = owns.generation,
            Event::Invoke(invoke)
                if matches!(invoke.what, Operation::Commit(_))
                    && current > 1
                    && answered.contains(&invoke.op) =>
            {
                commits.push((at, current - 1));
            }
            _ => {}
        }
    }
    let Some((at, generation)) = edit.pick(&commits) else {
        return false;
    };
    let Event::Invoke(invoke) = &mut edit.lines[at].event else {
        return false;
    };
    if let Operation::Commit(commit) = &mut invoke.what {
        commit.generation = generation;
    }
    true
}

fn own_twice(edit: &mut Edit<'_>) -> bool {
    let owns = edit.lines.iter().find_map(|line| match &line.event {
        Event::Note(Note::Owns(owns)) => Some(owns.clone()),
        _ => None,
    });
    let Some(owns) = owns else {
        return false;
    };
    let member = "another".to_owned();
    let note = Note::Owns(Owns { member, ..owns });
    edit.insert(edit.lines.len(), Event::Note(note));
    true
}

fn other_answer(edit: &mut Edit<'_>) -> bool {
    let all = edit.sends().into_iter();
    let all: Vec<_> = all
        .filter(|(_, _, send, _)| send.producer.is_some())
        .collect();
    let Some((at, _, send, base)) = edit.pick(&all) else {
        return false;
    };
    let op = u64::MAX - 1;
    let what = Operation::Send(send);
    let (p, pod) = (99, None);
    edit.insert(at + 1, Event::Invoke(Invoke { op, p, pod, what }));
    let offset = Some(base + 1);
    let done = Done {
        op,
        offset,
        read: BTreeMap::new(),
        epoch: None,
        error: None,
    };
    edit.insert(at + 2, Event::Ok(done));
    edit.renumber();
    true
}

/// Batches of one producer, epoch and partition that are in the log.
fn of_one_producer(edit: &Edit<'_>) -> Vec<Vec<(u64, Send)>> {
    let mut all: BTreeMap<(String, u64, u32), BTreeMap<u64, Send>> = BTreeMap::new();
    for (_, _, send, base) in edit.sends() {
        if let Some(producer) = send.producer {
            let writer = (send.key.clone(), producer.id, producer.epoch);
            all.entry(writer).or_default().insert(base, send);
        }
    }
    let many = all.into_values().filter(|batches| batches.len() >= 3);
    many.map(|batches| batches.into_iter().collect()).collect()
}

/// Gives a batch another sequence or epoch, wherever it is sent.
fn change_producer(edit: &mut Edit<'_>, send: &Send, seq: u32, epoch: u32) {
    for line in &mut edit.lines {
        if let Event::Invoke(invoke) = &mut line.event
            && let Operation::Send(sent) = &mut invoke.what
            && sent.vals == send.vals
            && let Some(producer) = &mut sent.producer
        {
            producer.seq = seq;
            producer.epoch = epoch;
        }
    }
}

fn swap_sequences(edit: &mut Edit<'_>) -> bool {
    let all = of_one_producer(edit);
    let Some(batches) = edit.pick(&all) else {
        return false;
    };
    let (one, other) = (&batches[1].1, &batches[2].1);
    let (left, right) = (one.producer.unwrap(), other.producer.unwrap());
    change_producer(edit, one, right.seq, left.epoch);
    change_producer(edit, other, left.seq, left.epoch);
    true
}

fn skip_sequence(edit: &mut Edit<'_>) -> bool {
    let removed = ranges(edit, Absence::Retention);
    let all = of_one_producer(edit).into_iter().filter(|batches| {
        let key = &batches[0].1.key;
        whole(edit, key) == Some(Isolation::Ru) && removed.iter().all(|(_, one)| one.key != *key)
    });
    let Some(batches) = edit.pick(&all.collect::<Vec<_>>()) else {
        return false;
    };
    let last = &batches[batches.len() - 1].1;
    let producer = last.producer.unwrap();
    change_producer(edit, last, (producer.seq + 1) % (1 << 31), producer.epoch);
    true
}

fn old_producer(edit: &mut Edit<'_>) -> bool {
    let sends = edit.sends();
    let mut later = Vec::new();
    for (_, begun, send, _) in &sends {
        let Some(producer) = send.producer.filter(|producer| producer.epoch > 0) else {
            continue;
        };
        let known = sends.iter().any(|(acked, _, other, _)| {
            let same = other
                .producer
                .is_some_and(|one| one.id == producer.id && one.epoch == producer.epoch);
            acked < begun && same
        });
        let first = edit.lines.iter().find_map(|line| match &line.event {
            Event::Invoke(Invoke {
                op,
                what: Operation::Send(one),
                ..
            }) if one.vals == send.vals => Some(*op),
            _ => None,
        });
        let is_first = first.is_some_and(|op| edit.invokes()[&op].0 == *begun);
        if known && is_first {
            later.push(send.clone());
        }
    }
    let Some(send) = edit.pick(&later) else {
        return false;
    };
    let producer = send.producer.unwrap();
    change_producer(edit, &send, producer.seq, producer.epoch - 1);
    true
}

fn old_epoch(edit: &mut Edit<'_>) -> bool {
    let answered = edit.answered();
    let all = answered.iter().filter_map(|(at, begun, _, done)| {
        let before = answered.iter().filter(|(other, ..)| other < begun);
        let floor = before.filter_map(|(_, _, _, done)| done.epoch).max()?;
        let epoch = Some(floor - 1);
        done.epoch.map(|_| {
            (
                *at,
                Done {
                    epoch,
                    ..done.clone()
                },
            )
        })
    });
    match edit.pick(&all.collect::<Vec<_>>()) {
        Some((at, done)) => edit.put(at, done),
        None => false,
    }
}

fn flip(edit: &mut Edit<'_>) -> bool {
    let Some((at, _, mut done)) = edit.pick(&edit.reads(1)) else {
        return false;
    };
    let read = read_of(&mut done);
    read.corrupt.push(read.recs[0].0);
    edit.put(at, done)
}

fn other_hash(edit: &mut Edit<'_>) -> bool {
    for line in edit.lines.iter_mut().rev() {
        if let Event::Note(Note::Digest(digest)) = &mut line.event {
            digest.hash = "other".to_owned();
            return true;
        }
    }
    false
}

fn turn_back(edit: &mut Edit<'_>) -> bool {
    let all = edit
        .reads(2)
        .into_iter()
        .filter(|(_, _, done)| done.read.contains_key("a/0"));
    let Some((at, _, mut done)) = edit.pick(&all.collect::<Vec<_>>()) else {
        return false;
    };
    let times = &mut read_of(&mut done).times;
    times[1] = times[0];
    times[0] += 1;
    edit.put(at, done)
}

fn copy(edit: &mut Edit<'_>) -> bool {
    let known: BTreeSet<u64> = edit
        .sends()
        .into_iter()
        .filter(|(_, _, send, _)| send.producer.is_some())
        .flat_map(|(_, _, send, _)| send.vals)
        .collect();
    let void = ranges(edit, Absence::Void);
    let mut places = Vec::new();
    for (at, invoke, done) in edit.reads(1) {
        let (key, read) = done.read.iter().next().unwrap();
        let (offset, value) = read.recs[read.recs.len() - 1];
        let range = void
            .iter()
            .find(|(_, range)| range.key == *key && range.from > offset);
        if let Some((_, range)) = range.filter(|_| is_last(&invoke) && known.contains(&value)) {
            places.push((at, done.clone(), (range.from, value)));
        }
    }
    let Some((at, mut done, record)) = edit.pick(&places) else {
        return false;
    };
    let read = read_of(&mut done);
    read.recs.push(record);
    read.times.push(u64::MAX);
    edit.put(at, done)
}
