//! What all clients have in common: whom they ask, and how a produce goes over a connection.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use esker_env::Rng;
use esker_ingest::{AppendError, AppendRequest, Appended};
use esker_metadata_api::Admin as _;
use esker_record::{BatchBuilder, Compression, NewRecord};
use esker_types::{ProducerEpoch, ProducerId, Timestamp, TopicId, TopicPartition};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, select};
use tokio::sync::{mpsc, oneshot};

use crate::clock::sleep;
use crate::net::{Call, CallError};
use crate::options::Roles;
use crate::remote::Remote;
use crate::world::{Place, World};

/// A partition, and its name in the history.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) at: TopicPartition,
    pub(crate) key: String,
}

impl Target {
    pub(crate) fn new(topic: TopicId, name: &str, partition: u32) -> Option<Self> {
        let partition = esker_types::PartitionIndex::new(partition)?;
        Some(Self {
            at: TopicPartition { topic, partition },
            key: format!("{name}-{}", partition.get()),
        })
    }
}

/// What clients share besides the world.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// No new batch is begun; what was begun is tried until it is acknowledged.
    pub(crate) is_winding_down: AtomicBool,
    /// Everything ends.
    pub(crate) is_over: AtomicBool,
    /// Producers that still have a batch to be acknowledged, or work to do.
    pub(crate) busy: AtomicUsize,
    /// Producer ids given out.
    ids: Mutex<BTreeSet<ProducerId>>,
}

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) rng: Rng,
}

/// How long a client waits for an answer.
pub(crate) const CLIENT_TIMEOUT: Duration = Duration::from_secs(35);

/// The outcome of one batch as the client hears it.
pub(crate) type Heard = Result<Result<Appended, AppendError>, CallError>;

impl Client {
    pub(crate) fn is_winding_down(&self) -> bool {
        self.shared.is_winding_down.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Relaxed)
    }

    /// Some pod with the role; dead or alive.
    pub(crate) fn pick(&self, has: impl Fn(&Roles) -> bool) -> usize {
        let pods: Vec<usize> = self
            .world
            .pods
            .iter()
            .filter(|slot| has(&slot.roles))
            .map(|slot| slot.index)
            .collect();
        let at = self.rng.below(u64::try_from(pods.len()).unwrap_or(1));
        pods.get(usize::try_from(at).unwrap_or(0))
            .copied()
            .unwrap_or(0)
    }

    pub(crate) async fn pause(&self, mean: Duration) {
        sleep(mean.mul_f64(0.2 + 1.6 * self.rng.unit())).await;
    }

    /// A call to a pod, given up after a while.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        to: usize,
        make: impl Fn(&crate::pods::Incarnation) -> Option<BoxFuture<'static, T>>
        + Send
        + Sync
        + 'static,
    ) -> Result<T, CallError> {
        let call = Call {
            from: Place::Clients,
            to,
            what,
            is_idempotent: false,
        };
        let asked = Box::pin(self.world.call(call, Box::new(make)));
        match select(asked, sleep(CLIENT_TIMEOUT)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(CallError::Lost),
        }
    }

    /// A question to the metadata service by way of pod `to`, as fronts ask.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        to: usize,
        ask: impl Fn(Arc<Remote>) -> BoxFuture<'static, T> + Send + Sync + 'static,
    ) -> Result<T, CallError> {
        self.call(what, to, move |life| Some(ask(Arc::clone(&life.remote))))
            .await
    }

    pub(crate) async fn producer_id(&self) -> ProducerId {
        loop {
            let to = self.pick(|roles| roles.ingest);
            let asked = self.ask("producer id", to, |remote| {
                async move { remote.producer_id().await }.boxed()
            });
            if let Ok(Ok(id)) = asked.await {
                self.world.event(format_args!("producer id {id:?}"));
                let ids = self.shared.ids.lock();
                if !ids.unwrap_or_else(PoisonError::into_inner).insert(id) {
                    self.world.violation(format!("{id:?} was given out twice"));
                }
                return id;
            }
            self.pause(Duration::from_millis(500)).await;
        }
    }

    /// The way back of one reply; `false` when it gets lost.
    async fn reply_arrives(&self, from: usize) -> bool {
        let (here, there) = (Place::Pod(from), Place::Clients);
        sleep(self.world.way(here, there)).await;
        let is_lost = self.world.is_cut(here, there) || self.world.is_lost();
        if is_lost {
            self.world.count_fault("network loss: produce reply");
        }
        !is_lost
    }

    /// Sends batches over one connection, in order; their outcomes come in order too.
    pub(crate) fn produce(
        &self,
        to: usize,
        batches: Vec<(TopicPartition, Bytes)>,
    ) -> Vec<oneshot::Receiver<Heard>> {
        let (mut tellers, mut hearers) = (Vec::new(), Vec::new());
        for _ in &batches {
            let (teller, hearer) = oneshot::channel();
            tellers.push(teller);
            hearers.push(hearer);
        }
        let client = self.clone();
        self.world.spawn(async move {
            let count = batches.len();
            let (outcomes, mut heard) = mpsc::channel(count.max(1));
            let sent = client.call("produce", to, move |life| {
                let ingest = life.ingest.clone()?;
                let (batches, outcomes) = (batches.clone(), outcomes.clone());
                Some(connection(ingest, batches, outcomes).boxed())
            });
            let mut sent = Box::pin(sent);
            let mut tellers = tellers.into_iter();
            let lost = loop {
                let next = match select(Box::pin(heard.recv()), &mut sent).await {
                    Either::Left((outcome, _)) => Ok(outcome),
                    Either::Right((ended, _)) => Err(ended),
                };
                match next {
                    Ok(Some(outcome)) => {
                        if !client.reply_arrives(to).await {
                            break CallError::Lost;
                        }
                        if let Some(teller) = tellers.next() {
                            // The client itself never goes away.
                            let _ = teller.send(Ok(outcome));
                        }
                    }
                    Ok(None) | Err(Ok(())) => break CallError::Lost,
                    Err(Err(error)) => break error,
                }
            };
            for teller in tellers {
                let _ = teller.send(Err(lost));
            }
        });
        hearers
    }
}

/// The connection's task on the pod: admits in order, answers in order.
async fn connection(
    ingest: esker_ingest::Ingest,
    batches: Vec<(TopicPartition, Bytes)>,
    outcomes: mpsc::Sender<Result<Appended, AppendError>>,
) {
    let mut pending = Vec::new();
    for (topic_partition, batch) in batches {
        let request = AppendRequest {
            topic_partition,
            batch,
            expected_end: None,
        };
        pending.push(ingest.admit(request).await);
    }
    for admitted in pending {
        let outcome = match admitted {
            Ok(admitted) => admitted.outcome().await,
            Err(error) => Err(error),
        };
        // The client may be gone.
        let _ = outcomes.send(outcome).await;
    }
}

/// A real record batch whose records carry `values`.
pub(crate) fn batch(
    values: &[u64],
    producer: Option<(ProducerId, i32)>,
    filler_bytes: usize,
) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some((id, sequence)) = producer {
        builder = builder.producer(id, ProducerEpoch::default(), sequence);
    }
    for value in values {
        let mut bytes = value.to_be_bytes().to_vec();
        bytes.resize(8 + filler_bytes, 7);
        let record = NewRecord {
            timestamp: Timestamp::from_millis(1_767_225_600_000),
            value: Some(Bytes::from(bytes)),
            ..NewRecord::default()
        };
        let pushed = builder.push(&record);
        assert_eq!(pushed, Ok(()), "a small batch takes its records");
    }
    builder.build().unwrap_or_default()
}

/// What a record of ours carries; `None` for what no client of ours wrote.
pub(crate) fn value_of(record: &esker_record::Record) -> Option<u64> {
    let bytes = record.value.as_ref()?.get(..8)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
