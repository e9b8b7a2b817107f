//! Clean histories: a small log service that keeps every promise, and clients of all kinds.

use std::collections::BTreeMap;

use esker_history::format::{
    Absence, Assign, Commit, Committed, Digest, Done, End, Event, Header, Invoke, Isolation,
    Latest, Line, Note, Operation, Owns, Poll, Producer, Range, Read, Send, Whole,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const KEYS: [&str; 3] = ["a/0", "a/1", "b/0"];

/// What an offset holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    Record { value: u64, txn: Option<u64> },
    Void,
    Control,
}

#[derive(Clone, Copy, PartialEq)]
enum TxnState {
    Open,
    Committed,
    Aborted,
}

/// An operation that has begun; its effect comes now or when it completes.
#[derive(Clone)]
struct Pending {
    op: u64,
    what: Operation,
    answer: Option<Done>,
}

#[derive(Default)]
struct Client {
    pending: Option<Pending>,
    positions: BTreeMap<usize, u64>,
    producer_epoch: u32,
    sequences: BTreeMap<usize, u32>,
    /// A batch to be sent again.
    again: Option<Send>,
    txn: Option<u64>,
    txn_sends: u32,
}

pub(crate) struct World {
    rng: StdRng,
    pub(crate) header: Header,
    pub(crate) lines: Vec<Line>,
    t: u64,
    next_op: u64,
    next_value: u64,
    next_txn: u64,
    logs: [Vec<Slot>; 3],
    starts: [u64; 3],
    bases: BTreeMap<(usize, u64), u64>,
    txns: BTreeMap<u64, TxnState>,
    clients: Vec<Client>,
    commits: BTreeMap<usize, u64>,
    generation: u32,
    epoch: u64,
}

/// A history of about this many steps.
pub(crate) fn history(seed: u64, steps: u32) -> World {
    let mut world = World {
        rng: StdRng::seed_from_u64(seed),
        header: Header {
            gaps_are_noted: true,
            watermarks_over_pods: seed.is_multiple_of(2),
            append_time: vec!["a/0".to_owned()],
            ..Header::default()
        },
        lines: Vec::new(),
        t: 0,
        next_op: 0,
        next_value: 100,
        next_txn: 0,
        logs: Default::default(),
        starts: [0; 3],
        bases: BTreeMap::new(),
        txns: BTreeMap::new(),
        clients: Vec::new(),
        commits: BTreeMap::new(),
        generation: 1,
        epoch: 1,
    };
    world.clients.resize_with(8, Client::default);
    for _ in 0..steps {
        world.step();
    }
    world.end();
    world
}

fn len(log: &[Slot]) -> u64 {
    u64::try_from(log.len()).unwrap()
}

impl World {
    fn below(&mut self, bound: u64) -> u64 {
        self.rng.random_range(0..bound)
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn key(&mut self) -> usize {
        usize::try_from(self.below(3)).unwrap()
    }

    fn push(&mut self, event: Event) {
        self.t += 1 + self.below(1000);
        self.lines.push(Line { t: self.t, event });
    }

    fn step(&mut self) {
        if self.one_in(60) {
            self.epoch += 1;
        }
        if self.one_in(60) {
            self.generation += 1;
            let member = format!("m{}", self.generation);
            self.push(Event::Note(Note::Owns(Owns {
                group: "g".to_owned(),
                generation: self.generation,
                member,
                keys: vec![KEYS[0].to_owned(), KEYS[1].to_owned()],
            })));
        }
        if self.one_in(100) {
            self.retain();
        }
        let client = usize::try_from(self.below(8)).unwrap();
        if self.clients[client].pending.is_none() {
            self.begin(client);
        } else {
            self.complete(client);
        }
    }

    /// Clients 0 to 2 send as idempotent producers, 3 without; 4 in transactions; 5 and 6 read; 7
    /// asks.
    fn begin(&mut self, client: usize) {
        let what = match client {
            0..=2 => self.idempotent(client),
            3 => self.plain(),
            4 => self.transactional(client),
            5 | 6 => self.poll(client, false),
            _ => self.question(),
        };
        self.next_op += 1;
        let op = self.next_op;
        let pod = Some(format!("i{}", self.below(2)));
        self.push(Event::Invoke(Invoke {
            op,
            p: u32::try_from(client).unwrap(),
            pod,
            what: what.clone(),
        }));
        let answer = self.one_in(2).then(|| self.effect(client, op, &what));
        self.clients[client].pending = Some(Pending { op, what, answer });
    }

    fn values(&mut self) -> Vec<u64> {
        let count = 1 + self.below(3);
        let first = self.next_value;
        self.next_value += count;
        (first..first + count).collect()
    }

    fn idempotent(&mut self, client: usize) -> Operation {
        if let Some(again) = self.clients[client].again.clone() {
            return Operation::Send(again);
        }
        let key = self.key();
        let vals = self.values();
        let count = u32::try_from(vals.len()).unwrap();
        let id = u64::try_from(client).unwrap();
        let state = &mut self.clients[client];
        let seq = state.sequences.entry(key).or_insert((1 << 31) - 5);
        let producer = Producer {
            id,
            epoch: state.producer_epoch,
            seq: *seq,
        };
        *seq = (*seq + count) % (1 << 31);
        Operation::Send(Send {
            key: KEYS[key].to_owned(),
            vals,
            producer: Some(producer),
            txn: None,
        })
    }

    fn plain(&mut self) -> Operation {
        let key = self.key();
        Operation::Send(Send {
            key: KEYS[key].to_owned(),
            vals: self.values(),
            producer: None,
            txn: None,
        })
    }

    fn transactional(&mut self, client: usize) -> Operation {
        let Some(txn) = self.clients[client].txn else {
            self.next_txn += 1;
            let txn = self.next_txn;
            self.clients[client].txn = Some(txn);
            self.clients[client].txn_sends = 0;
            self.txns.insert(txn, TxnState::Open);
            return self.transactional(client);
        };
        if self.clients[client].txn_sends >= 2 && self.one_in(2) {
            let commit = !self.one_in(3);
            return Operation::End(End { txn, commit });
        }
        self.clients[client].txn_sends += 1;
        let key = self.key();
        Operation::Send(Send {
            key: KEYS[key].to_owned(),
            vals: self.values(),
            producer: None,
            txn: Some(txn),
        })
    }

    fn poll(&mut self, client: usize, last: bool) -> Operation {
        let key = self.key();
        self.position(client, key);
        let iso = if client == 5 {
            Isolation::Rc
        } else {
            Isolation::Ru
        };
        Operation::Poll(Poll {
            keys: vec![KEYS[key].to_owned()],
            iso,
            last,
            txn: None,
        })
    }

    /// A reader begins at the log's start, and there again when retention passed it.
    fn position(&mut self, client: usize, key: usize) -> u64 {
        let start = self.starts[key];
        let known = self.clients[client].positions.get(&key).copied();
        if let Some(known) = known.filter(|known| *known >= start) {
            return known;
        }
        self.clients[client].positions.insert(key, start);
        let at = self.clients[client].positions.iter();
        let at = at
            .map(|(key, next)| (KEYS[*key].to_owned(), *next))
            .collect();
        let p = u32::try_from(client).unwrap();
        self.push(Event::Assign(Assign { p, at }));
        start
    }

    fn question(&mut self) -> Operation {
        let key = self.key();
        let name = KEYS[key].to_owned();
        match self.below(3) {
            0 => Operation::Latest(Latest {
                key: name,
                iso: if self.one_in(2) {
                    Isolation::Rc
                } else {
                    Isolation::Ru
                },
            }),
            1 => Operation::Commit(Commit {
                group: "g".to_owned(),
                generation: self.generation,
                key: name,
                offset: self.next_value + self.below(50),
            }),
            _ => Operation::Committed(Committed {
                group: "g".to_owned(),
                key: name,
            }),
        }
    }

    fn number(key: &str) -> usize {
        KEYS.iter().position(|name| *name == key).unwrap()
    }

    fn done(op: u64) -> Done {
        Done {
            op,
            offset: None,
            read: BTreeMap::new(),
            epoch: None,
            error: None,
        }
    }

    fn effect(&mut self, client: usize, op: u64, what: &Operation) -> Done {
        let mut done = Self::done(op);
        match what {
            Operation::Send(send) => done.offset = Some(self.append(send)),
            Operation::Poll(poll) => {
                let key = Self::number(&poll.keys[0]);
                let read = self.read(client, key, poll.iso);
                done.read.insert(poll.keys[0].clone(), read);
            }
            Operation::Latest(latest) => {
                let key = Self::number(&latest.key);
                done.offset = Some(self.end_of(key, latest.iso));
                done.epoch = Some(self.epoch);
            }
            Operation::Commit(commit) => {
                let key = Self::number(&commit.key);
                self.commits.insert(key, commit.offset);
            }
            Operation::Committed(asked) => {
                done.offset = self.commits.get(&Self::number(&asked.key)).copied();
                done.epoch = Some(self.epoch);
            }
            Operation::End(end) => self.end_txn(end),
        }
        done
    }

    fn append(&mut self, send: &Send) -> u64 {
        let key = Self::number(&send.key);
        if let Some(base) = self.bases.get(&(key, send.vals[0])).copied() {
            return base;
        }
        if self.one_in(8) {
            let from = len(&self.logs[key]);
            let to = from + 1 + self.below(2);
            self.logs[key].extend((from..to).map(|_| Slot::Void));
            self.note_range(key, (from, to), Absence::Void);
        }
        let base = len(&self.logs[key]);
        let txn = send.txn;
        let records = send
            .vals
            .iter()
            .map(|value| Slot::Record { value: *value, txn });
        self.logs[key].extend(records);
        self.bases.insert((key, send.vals[0]), base);
        base
    }

    fn note_range(&mut self, key: usize, (from, to): (u64, u64), why: Absence) {
        self.push(Event::Note(Note::Range(Range {
            key: KEYS[key].to_owned(),
            from,
            to,
            why,
        })));
    }

    fn end_txn(&mut self, end: &End) {
        if self.txns.get(&end.txn) != Some(&TxnState::Open) {
            return;
        }
        let state = if end.commit {
            TxnState::Committed
        } else {
            TxnState::Aborted
        };
        self.txns.insert(end.txn, state);
        for key in 0..3 {
            let of = Some(end.txn);
            let is_in = |slot: &Slot| matches!(slot, Slot::Record { txn, .. } if *txn == of);
            if self.logs[key].iter().any(is_in) {
                let at = len(&self.logs[key]);
                self.logs[key].push(Slot::Control);
                self.note_range(key, (at, at + 1), Absence::Control);
            }
        }
    }

    fn end_of(&self, key: usize, iso: Isolation) -> u64 {
        let hw = len(&self.logs[key]);
        if iso == Isolation::Ru {
            return hw;
        }
        let is_open = |slot: &Slot| match slot {
            Slot::Record { txn: Some(txn), .. } => self.txns.get(txn) == Some(&TxnState::Open),
            _ => false,
        };
        let first = self.logs[key].iter().position(is_open);
        let lso = first.map_or(hw, |first| u64::try_from(first).unwrap());
        lso.max(self.starts[key])
    }

    fn read(&mut self, client: usize, key: usize, iso: Isolation) -> Read {
        let from = self.position_now(client, key);
        let lso = self.end_of(key, Isolation::Rc);
        let mut read = Read {
            hw: Some(len(&self.logs[key])),
            lso: Some(lso),
            log_start: Some(self.starts[key]),
            leader_epoch: Some(0),
            ..Read::default()
        };
        let most = 1 + usize::try_from(self.below(6)).unwrap();
        let end = self.end_of(key, iso);
        for offset in from..end {
            let slot = self.logs[key][usize::try_from(offset).unwrap()];
            let Slot::Record { value, txn } = slot else {
                continue;
            };
            let aborted = txn.and_then(|txn| self.txns.get(&txn)) == Some(&TxnState::Aborted);
            if iso == Isolation::Rc && aborted {
                continue;
            }
            read.recs.push((offset, value));
            read.times.push(offset * 10);
            if read.recs.len() == most {
                break;
            }
        }
        if let Some((offset, _)) = read.recs.last() {
            self.clients[client].positions.insert(key, offset + 1);
        }
        read
    }

    fn position_now(&self, client: usize, key: usize) -> u64 {
        self.clients[client]
            .positions
            .get(&key)
            .copied()
            .unwrap_or(0)
            .max(self.starts[key])
    }

    fn retain(&mut self) {
        let key = self.key();
        let start = self.starts[key];
        let to = self.end_of(key, Isolation::Rc).min(start + 3);
        // Not while a reader is on its way there.
        let reading = |client: &Client| {
            matches!(
                &client.pending,
                Some(Pending {
                    what: Operation::Poll(_),
                    ..
                })
            )
        };
        if to > start && !self.clients.iter().any(reading) {
            self.starts[key] = to;
            self.note_range(key, (start, to), Absence::Retention);
        }
    }

    fn complete(&mut self, client: usize) {
        let Pending { op, what, answer } = self.clients[client].pending.take().unwrap();
        let may_fail = matches!(
            what,
            Operation::Send(_) | Operation::Commit(_) | Operation::End(_)
        );
        if may_fail && self.one_in(10) {
            return self.lose(client, op, &what);
        }
        if answer.is_none() && matches!(what, Operation::Commit(_)) && self.one_in(10) {
            return self.push(Event::Fail(Self::done(op)));
        }
        let plain = matches!(&what, Operation::Send(send) if send.producer.is_none());
        if answer.is_none() && plain && self.one_in(10) {
            return self.push(Event::Fail(Self::done(op)));
        }
        let done = match answer {
            Some(done) => done,
            None => self.effect(client, op, &what),
        };
        self.push(Event::Ok(done));
        self.clients[client].again = None;
        if matches!(what, Operation::End(_)) {
            self.clients[client].txn = None;
        }
    }

    /// The answer is lost; a producer sends again, or begins a new epoch.
    fn lose(&mut self, client: usize, op: u64, what: &Operation) {
        self.push(Event::Info(Self::done(op)));
        match what {
            Operation::Send(send) if send.producer.is_some() => {
                let gives_up = self.one_in(4);
                let state = &mut self.clients[client];
                state.again = (!gives_up).then(|| send.clone());
                if gives_up {
                    state.producer_epoch += 1;
                    state.sequences.clear();
                }
            }
            Operation::End(end) => {
                // Decided now at the latest, so that the log's end becomes readable.
                self.end_txn(end);
                self.clients[client].txn = None;
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        for client in 0..8 {
            if self.clients[client].pending.is_some() {
                self.complete(client);
            }
        }
        if let Some(txn) = self.clients[4].txn.take() {
            let what = Operation::End(End { txn, commit: true });
            self.next_op += 1;
            let op = self.next_op;
            let (p, pod) = (4, None);
            self.push(Event::Invoke(Invoke {
                op,
                p,
                pod,
                what: what.clone(),
            }));
            let done = self.effect(4, op, &what);
            self.push(Event::Ok(done));
        }
        for key in 0..3 {
            let iso = if self.one_in(2) {
                Isolation::Rc
            } else {
                Isolation::Ru
            };
            self.last_reading(key, iso);
        }
    }

    fn last_reading(&mut self, key: usize, iso: Isolation) {
        self.clients.push(Client::default());
        let client = self.clients.len() - 1;
        let name = KEYS[key].to_owned();
        let start = self.starts[key];
        let p = u32::try_from(client).unwrap();
        let at = BTreeMap::from([(name.clone(), start)]);
        self.push(Event::Assign(Assign { p, at }));
        self.clients[client].positions.insert(key, start);
        loop {
            self.next_op += 1;
            let op = self.next_op;
            let what = Operation::Poll(Poll {
                keys: vec![name.clone()],
                iso,
                last: true,
                txn: None,
            });
            let pod = Some("i0".to_owned());
            let mut read = self.read(client, key, iso);
            if read.recs.is_empty() {
                break;
            }
            read.hw = Some(len(&self.logs[key]));
            self.push(Event::Invoke(Invoke { op, p, pod, what }));
            let mut done = Self::done(op);
            done.read.insert(name.clone(), read);
            self.push(Event::Ok(done));
        }
        self.push(Event::Note(Note::Whole(Whole {
            key: name.clone(),
            iso,
        })));
        for pod in ["i0", "i1"] {
            self.push(Event::Note(Note::Digest(Digest {
                key: name.clone(),
                from: start,
                to: len(&self.logs[key]),
                pod: pod.to_owned(),
                hash: format!("{:x}", len(&self.logs[key])),
            })));
        }
    }
}
