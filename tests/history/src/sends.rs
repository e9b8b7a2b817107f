//! Sends: who sent which records under which bounds, and where they were acknowledged.

use crate::anomaly::Kind;
use crate::checker::Checker;
use crate::error::HistoryError;
use crate::findings::{Cite, Mark};
use crate::format::{Done, Send};
use crate::limits::{RECORDS_MAX, SENDS_MAX};
use crate::tables::{Outcome, Record, SendIndex, Sent, TxnIndex, index, next_index};

/// Sequences are counted modulo 2^31.
pub(crate) const SEQUENCES: u32 = 1 << 31;

/// A send on its way.
#[derive(Debug)]
pub(crate) struct OpenSend {
    send: SendIndex,
    /// The same batch was sent before.
    again: bool,
}

impl Checker {
    pub(crate) fn begin_send(&mut self, p: u32, send: &Send) -> Result<OpenSend, HistoryError> {
        let key = self.key(&send.key)?;
        if send.vals.is_empty() {
            return self.contradiction("a send has at least one record");
        }
        if send
            .producer
            .is_some_and(|producer| producer.seq >= SEQUENCES)
        {
            return self.contradiction("a sequence is below 2^31");
        }
        let txn = match send.txn {
            Some(id) => Some(self.txn(id)?),
            None => None,
        };
        let first = send.vals.first().copied().unwrap_or(0);
        if let Some(record) = self.tables.by_value.get(&(key, first)).copied() {
            let again = self.send_again(record, send, txn)?;
            return Ok(OpenSend {
                send: again,
                again: true,
            });
        }
        if self.tables.sends.len() >= SENDS_MAX {
            return self.limit("sends", SENDS_MAX);
        }
        let number = next_index(self.tables.sends.len());
        let sent = self.new_send(p, key, send, txn);
        self.add_records(number, key, &send.vals)?;
        if let Some(txn) = txn.and_then(|txn| self.tables.txns.get_mut(index(txn))) {
            txn.sends.push(number);
        }
        self.tables.sends.push(sent);
        Ok(OpenSend {
            send: number,
            again: false,
        })
    }

    fn new_send(&mut self, p: u32, key: u32, send: &Send, txn: Option<TxnIndex>) -> Sent {
        let fence = send
            .producer
            .and_then(|producer| self.tables.producer_epochs.get(&producer.id).copied());
        let lane = (p, self.tables.process(p).incarnation);
        let first = next_index(self.tables.records.len());
        let line = self.line;
        let partition = self.partition(key);
        partition.has_txns |= txn.is_some();
        let floor = Mark::higher(partition.acked_end, partition.shown_end);
        Sent {
            key,
            first,
            count: next_index(send.vals.len()),
            producer: send.producer,
            txn,
            lane,
            cite: Cite {
                begun: line,
                done: 0,
            },
            acked: Cite::default(),
            outcome: Outcome::Open,
            base: None,
            floor,
            fence,
        }
    }

    fn add_records(&mut self, send: SendIndex, key: u32, vals: &[u64]) -> Result<(), HistoryError> {
        if self.tables.records.len() + vals.len() > RECORDS_MAX {
            return self.limit("records", RECORDS_MAX);
        }
        for (nth, value) in (0_u32..).zip(vals) {
            let record = next_index(self.tables.records.len());
            if self.tables.by_value.insert((key, *value), record).is_some() {
                return self.contradiction("a value is sent once in its partition");
            }
            self.tables.records.push(Record {
                value: *value,
                send,
                nth,
                offset: None,
                read: [Cite::default(); 2],
                in_last: [false; 2],
            });
        }
        self.figures.sent(vals.len());
        Ok(())
    }

    /// The send whose very batch this is.
    fn send_again(
        &self,
        record: u32,
        send: &Send,
        txn: Option<TxnIndex>,
    ) -> Result<SendIndex, HistoryError> {
        let before = self
            .tables
            .records
            .get(index(record))
            .map(|record| record.send);
        let number = before.unwrap_or(0);
        let is_same = self.tables.sends.get(index(number)).is_some_and(|before| {
            before.producer.is_some()
                && before.producer == send.producer
                && before.txn == txn
                && index(before.count) == send.vals.len()
                && (before.first..).zip(&send.vals).all(|(record, value)| {
                    let record = self.tables.records.get(index(record));
                    record.is_some_and(|record| record.value == *value)
                })
        });
        if !is_same {
            return self.contradiction(
                "a value is sent once in its partition, but for repeats of a producer's batch",
            );
        }
        Ok(number)
    }

    pub(crate) fn complete_send(
        &mut self,
        open: &OpenSend,
        done: &Done,
        outcome: Outcome,
        cite: Cite,
    ) -> Result<(), HistoryError> {
        if outcome == Outcome::Ok && done.offset.is_none() {
            return self.contradiction("a send that succeeded has an offset");
        }
        let Some(sent) = self.tables.sends.get_mut(index(open.send)) else {
            return Ok(());
        };
        let (key, count) = (sent.key, u64::from(sent.count));
        let before = (sent.base, sent.acked);
        match outcome {
            Outcome::Ok => sent.outcome = Outcome::Ok,
            // A refusal of a repeat says nothing about the first try.
            Outcome::Fail if !open.again => sent.outcome = Outcome::Fail,
            Outcome::Info if sent.outcome == Outcome::Open => sent.outcome = Outcome::Info,
            Outcome::Open | Outcome::Fail | Outcome::Info => {}
        }
        if !open.again {
            sent.cite.done = cite.done;
        }
        let producer = sent.producer;
        if let Some(base) = done.offset.filter(|_| outcome != Outcome::Fail) {
            if base.checked_add(count).is_none() {
                return self.contradiction("an offset is below 2^64");
            }
            if sent.base.is_none() {
                sent.base = Some(base);
                sent.acked = cite;
            }
            self.check_same_answer(key, base, before, cite);
        }
        if outcome != Outcome::Ok {
            return Ok(());
        }
        let base = done.offset.unwrap_or(0);
        let t = self.t;
        self.figures.acknowledged(count, t);
        Mark::raise(&mut self.partition(key).acked_end, base + count, cite);
        if let Some(producer) = producer {
            let heard = self.tables.producer_epochs.entry(producer.id);
            let heard = heard.or_insert(Mark { value: 0, cite });
            if u64::from(producer.epoch) > heard.value {
                *heard = Mark {
                    value: u64::from(producer.epoch),
                    cite,
                };
            }
        }
        Ok(())
    }

    fn check_same_answer(&mut self, key: u32, base: u64, before: (Option<u64>, Cite), cite: Cite) {
        let (Some(known), first) = before else {
            return;
        };
        if known == base {
            return;
        }
        let lines = [first.lines(), cite.lines()].concat();
        let name = self.partition(key).name.clone();
        let why = || format!("the batch was answered with {known}, then with {base}");
        self.findings
            .found(Kind::DuplicateAnswer, Some(&name), &lines, why);
    }
}
