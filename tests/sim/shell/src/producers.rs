//! Producers: with sequences (one lane tries its batch until it is acknowledged, on any pod), and
//! plain ones with several batches in flight on one connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_history::format::{Operation, Producer, Send};
use esker_ingest::{AppendError, AppendErrorKind};
use esker_metadata_api::ProduceRefusal;
use esker_types::ProducerId;

use crate::client::{Client, Heard, Target, batch};
use crate::net::CallError;
use crate::recorder::Ended;

/// What the client learnt of one attempt.
enum Told {
    Acked,
    /// Surely not in the log.
    No,
    Perhaps,
    /// Refused for good: a healthy producer never hears that.
    Never,
}

impl Client {
    fn judge(&self, op: u64, heard: Heard, target: &Target) -> Told {
        let at = self.world.elapsed();
        let (ended, told) = match heard {
            Ok(Ok(appended)) => {
                let offset = appended.base_offset.get();
                (Ended::Offset(Some(offset)), Told::Acked)
            }
            Ok(Err(error)) => {
                let name = name_of(&error);
                match error.kind() {
                    AppendErrorKind::Indeterminate => (Ended::Info(name), Told::Perhaps),
                    AppendErrorKind::Retry | AppendErrorKind::Refresh | AppendErrorKind::Closed
                        if !is_unknown(&error) =>
                    {
                        (Ended::Fail(name), Told::No)
                    }
                    _ => {
                        self.world.violation(format!(
                            "{}: healthy producer refused: {error:?}",
                            target.key
                        ));
                        (Ended::Fail(name), Told::Never)
                    }
                }
            }
            Err(CallError::NotSent) => (Ended::Fail("not sent"), Told::No),
            Err(CallError::Lost) => (Ended::Info("lost"), Told::Perhaps),
        };
        self.world
            .event(format_args!("send {op} to {}: {ended:?}", target.key));
        let mut recorder = self.world.recorder();
        if matches!(told, Told::Acked) {
            recorder.acked += 1;
        }
        recorder.end(at, op, ended);
        told
    }

    /// One lane of an idempotent producer.
    pub(crate) async fn sequenced_lane(self, id: ProducerId, target: Target, gap: Duration) {
        self.shared.busy.fetch_add(1, Ordering::Relaxed);
        let mut sequence = 0_i32;
        let mut process = self.world.recorder().process();
        let mut pod = self.pick(|roles| roles.ingest);
        while !self.is_winding_down() {
            let count = 1 + self.rng.below(4);
            let values = self.world.recorder().values(count);
            let filler = usize::try_from(self.rng.below(300)).unwrap_or(0);
            let bytes = batch(&values, Some((id, sequence)), filler);
            loop {
                let send = Operation::Send(Send {
                    key: target.key.clone(),
                    vals: values.clone(),
                    producer: Some(Producer {
                        id: u64::try_from(id.to_wire()).unwrap_or(0),
                        epoch: 0,
                        seq: u32::try_from(sequence).unwrap_or(0),
                    }),
                    txn: None,
                });
                let at = self.world.elapsed();
                let op = self.world.recorder().invoke(at, process, pod, send);
                let hearers = self.produce(pod, vec![(target.at, bytes.clone())]);
                let heard = first(hearers).await;
                match self.judge(op, heard, &target) {
                    Told::Acked => break,
                    Told::Never => {
                        self.shared.busy.fetch_sub(1, Ordering::Relaxed);
                        return;
                    }
                    Told::No => {}
                    Told::Perhaps => process = self.world.recorder().process(),
                }
                if self.is_over() {
                    // Not acknowledged in time: the run says so.
                    return;
                }
                self.pause(Duration::from_millis(150)).await;
                if self.rng.below(3) > 0 {
                    pod = self.pick(|roles| roles.ingest);
                }
            }
            sequence = sequence.wrapping_add(i32::try_from(count).unwrap_or(1));
            if self.rng.below(20) == 0 {
                pod = self.pick(|roles| roles.ingest);
            }
            self.pause(gap).await;
        }
        self.shared.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// A producer without sequences: sends several batches at once and never the same again.
    pub(crate) async fn plain(self, targets: Vec<Target>, gap: Duration) {
        self.shared.busy.fetch_add(1, Ordering::Relaxed);
        let mut process = self.world.recorder().process();
        let mut pod = self.pick(|roles| roles.ingest);
        while !self.is_winding_down() {
            let count = 1 + self.rng.below(4);
            let (mut sent, mut batches) = (Vec::new(), Vec::new());
            let at = self.world.elapsed();
            for _ in 0..count {
                let which = self.rng.below(u64::try_from(targets.len()).unwrap_or(1));
                let Some(target) = targets.get(usize::try_from(which).unwrap_or(0)) else {
                    return;
                };
                let records = 1 + self.rng.below(3);
                let values = self.world.recorder().values(records);
                batches.push((target.at, batch(&values, None, 20)));
                let send = Operation::Send(Send {
                    key: target.key.clone(),
                    vals: values,
                    producer: None,
                    txn: None,
                });
                let op = self.world.recorder().invoke(at, process, pod, send);
                sent.push((op, target.clone()));
            }
            let hearers = self.produce(pod, batches);
            let mut is_clean = true;
            for ((op, target), hearer) in sent.into_iter().zip(hearers) {
                let heard = hearer.await.unwrap_or(Err(CallError::Lost));
                is_clean &= matches!(self.judge(op, heard, &target), Told::Acked);
            }
            if !is_clean {
                process = self.world.recorder().process();
                pod = self.pick(|roles| roles.ingest);
            }
            self.pause(gap).await;
        }
        self.shared.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The topic exists and stays.
fn is_unknown(error: &AppendError) -> bool {
    matches!(
        error,
        AppendError::UnknownPartition | AppendError::Refused(ProduceRefusal::UnknownPartition)
    )
}

async fn first(hearers: Vec<tokio::sync::oneshot::Receiver<Heard>>) -> Heard {
    match hearers.into_iter().next() {
        Some(hearer) => hearer.await.unwrap_or(Err(CallError::Lost)),
        None => Err(CallError::Lost),
    }
}

fn name_of(error: &AppendError) -> &'static str {
    match error {
        AppendError::Acks { .. } => "acks",
        AppendError::UnknownPartition => "unknown partition",
        AppendError::Unconfirmed(_) => "unconfirmed",
        AppendError::Empty => "empty",
        AppendError::Invalid(_) => "invalid",
        AppendError::TimestampTooEarly { .. } => "too early",
        AppendError::Transactional => "transactional",
        AppendError::Refused(_) => "refused",
        AppendError::Voided => "voided",
        AppendError::StoreRefused => "store refused",
        AppendError::NotReserved => "not reserved",
        AppendError::NoSequencer { .. } => "no sequencer",
        AppendError::Undecided => "undecided",
        AppendError::Stopping => "stopping",
    }
}
