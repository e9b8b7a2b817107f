//! A producer with several requests in flight that writes down what it is told.
//!
//! Idempotent ones behave as Kafka's client does: what is not acknowledged is sent again, in order,
//! under the same sequences, over as many connections as it takes. Plain ones never send again, so
//! that each of their records is there once or not at all.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use esker_env::{Env, Rng, Shutdown, timeout};
use esker_kafka::KafkaError;
use esker_kafka::messages::produce_response::PartitionProduceResponse;
use esker_kafka::messages::{
    ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use esker_record::Compression;
use esker_types::{MonotonicTime, ProducerEpoch, ProducerId};
use futures::future::join_all;

use super::requests::{BatchOwner, PRODUCE_VERSION, batch_of, padded, produce_request};
use super::{Batch, Connection, History, SentBatch, Told, Witness};

const INIT_VERSION: i16 = 4;
const PRODUCE: (ApiKey, i16) = (ApiKey::Produce, PRODUCE_VERSION);
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Records of one batch, at most.
const RECORDS_MAX: u64 = 12;

/// What a producer promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerKind {
    /// Sequences, and retries until everything is acknowledged.
    Idempotent,
    /// acks = all, nothing is sent twice.
    Plain,
}

/// How a producer works.
#[derive(Clone, Debug)]
pub struct ProducerPlan {
    /// Stands in every value.
    pub producer: u32,
    /// Its kind.
    pub kind: ProducerKind,
    /// Tried in turn.
    pub addresses: Vec<SocketAddr>,
    /// Where to.
    pub topic: String,
    /// Partitions, used in turn.
    pub partitions: i32,
    /// Requests in flight.
    pub in_flight: usize,
    /// Pause between two requests.
    pub pause: Duration,
    /// A connection that answers nothing for so long is given up.
    pub answer_within: Duration,
    /// An idempotent producer that is not finished so long after the stop has failed.
    pub finish_within: Duration,
    /// Of the sizes of batches.
    pub seed: u64,
}

/// All of them produce side by side until asked to stop, then until nothing is unanswered.
///
/// One clock, that of `env`, gives the times of all histories: each clock counts from when it was
/// made, so the times of two say nothing about which came first.
///
/// # Errors
/// An answer that a client would take as final.
pub async fn produce(
    env: &Env,
    plans: Vec<ProducerPlan>,
    stop: &Shutdown,
) -> anyhow::Result<Vec<History>> {
    produce_before(env, plans, None, stop).await
}

/// The same before a witness, who hears of each request when it goes out and when it ends.
///
/// # Errors
/// As [`produce`].
pub async fn produce_before(
    env: &Env,
    plans: Vec<ProducerPlan>,
    witness: Option<Arc<dyn Witness>>,
    stop: &Shutdown,
) -> anyhow::Result<Vec<History>> {
    let of_plan = |plan| Producer::new(env, plan, witness.clone(), stop.clone());
    let producers = plans.into_iter().map(of_plan);
    let producers = producers.collect::<anyhow::Result<Vec<_>>>()?;
    let ended = join_all(producers.into_iter().map(Producer::run)).await;
    ended.into_iter().collect()
}

struct Producer {
    plan: ProducerPlan,
    env: Env,
    rng: Rng,
    stop: Shutdown,
    stopped_at: Option<MonotonicTime>,
    identity: Option<(ProducerId, ProducerEpoch)>,
    history: History,
    /// The next number of each partition.
    next: Vec<u64>,
    /// Batches to send again, by their place in the history.
    again: BTreeSet<usize>,
    /// Places in the history, each with what the witness called its request.
    in_flight: VecDeque<(usize, u64)>,
    witness: Option<Arc<dyn Witness>>,
    /// What the witness calls the connection.
    lane: u32,
    send_at: MonotonicTime,
}

/// What to do next on a connection.
enum Step {
    Send(usize),
    Wait(Duration),
    Finish,
}

impl Producer {
    fn new(
        env: &Env,
        plan: ProducerPlan,
        witness: Option<Arc<dyn Witness>>,
        stop: Shutdown,
    ) -> anyhow::Result<Self> {
        let history = History {
            producer: plan.producer,
            is_idempotent: plan.kind == ProducerKind::Idempotent,
            batches: Vec::new(),
            reconnects: 0,
            resent: 0,
        };
        Ok(Self {
            rng: Rng::from_seed(plan.seed),
            next: vec![0; usize::try_from(plan.partitions)?],
            plan,
            env: env.clone(),
            stop,
            stopped_at: None,
            identity: None,
            history,
            again: BTreeSet::new(),
            in_flight: VecDeque::new(),
            witness,
            lane: 0,
            send_at: MonotonicTime::default(),
        })
    }

    /// Until asked to stop and nothing is unanswered, over as many connections as it takes.
    async fn run(mut self) -> anyhow::Result<History> {
        let mut turn = 0;
        while !self.is_finished()? {
            let addresses = &self.plan.addresses;
            let address = *addresses
                .get(turn % addresses.len())
                .context("an address")?;
            turn += 1;
            if let Ok(connection) = Connection::open(address).await {
                self.lane = self.witness.as_ref().map_or(0, |one| one.connected());
                let ended = self.use_connection(connection).await;
                self.connection_ended();
                ended?;
            }
            self.env.clock.sleep(RECONNECT_PAUSE).await;
        }
        Ok(self.history)
    }

    fn is_idempotent(&self) -> bool {
        self.plan.kind == ProducerKind::Idempotent
    }

    fn is_finished(&mut self) -> anyhow::Result<bool> {
        if !self.stop.is_requested() {
            return Ok(false);
        }
        let now = self.env.clock.now();
        let stopped_at = *self.stopped_at.get_or_insert(now);
        let open = self.again.len() + self.in_flight.len();
        if open > 0 && now.since(stopped_at) > self.plan.finish_within {
            bail!(
                "producer {} still has {open} batches open",
                self.plan.producer
            );
        }
        Ok(open == 0)
    }

    /// Until the connection ends (Ok) or the answer is one that must not be (Err).
    async fn use_connection(&mut self, mut connection: Connection) -> anyhow::Result<()> {
        if self.is_idempotent() && self.identity.is_none() {
            self.identity = self.ask_identity(&mut connection).await?;
            if self.identity.is_none() {
                return Ok(());
            }
        }
        let Connection {
            mut sending,
            mut receiving,
        } = connection;
        let mut heard_at = self.env.clock.now();
        loop {
            let wait = match self.step()? {
                Step::Finish => return Ok(()),
                Step::Send(place) => {
                    let request = self.request(place)?;
                    if self.in_flight.is_empty() {
                        heard_at = self.env.clock.now();
                    }
                    self.note_connection(place);
                    let ticket = self.show_sent(place)?;
                    self.in_flight.push_back((place, ticket));
                    if sending.send(PRODUCE, &request).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                Step::Wait(wait) => wait,
            };
            let heard = receiving.receive::<ProduceResponse>(PRODUCE);
            match timeout(self.env.clock.as_ref(), wait, heard).await {
                Ok(Ok(reply)) => {
                    heard_at = self.env.clock.now();
                    self.hear(&reply)?;
                }
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    let silent = self.env.clock.now().since(heard_at);
                    if !self.in_flight.is_empty() && silent > self.plan.answer_within {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// `None` when the cluster cannot tell now.
    async fn ask_identity(
        &self,
        connection: &mut Connection,
    ) -> anyhow::Result<Option<(ProducerId, ProducerEpoch)>> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let api = (ApiKey::InitProducerId, INIT_VERSION);
        let asked = connection.ask(api, &request, self.plan.answer_within);
        let Ok(reply): Result<InitProducerIdResponse, _> = asked.await else {
            return Ok(None);
        };
        let error = KafkaError::from_code(reply.error_code).context("an unknown code")?;
        if error.is_retriable() {
            return Ok(None);
        }
        ensure!(
            error == KafkaError::None,
            "a producer id was refused with {error}"
        );
        let id = ProducerId::from_wire(*reply.producer_id).context("a producer id")?;
        let epoch = ProducerEpoch::from_wire(reply.producer_epoch).context("an epoch")?;
        Ok(Some((id, epoch)))
    }

    fn step(&mut self) -> anyhow::Result<Step> {
        if self.is_finished()? {
            return Ok(Step::Finish);
        }
        let now = self.env.clock.now();
        let has_room = self.in_flight.len() < self.plan.in_flight;
        // As Kafka's client: what failed goes first, in order, and nothing overtakes it.
        if let Some(place) = self.again.first().copied() {
            let overtaken = self.in_flight.back().is_some_and(|(last, _)| *last > place);
            if has_room && !overtaken {
                self.again.remove(&place);
                self.history.resent += 1;
                return Ok(Step::Send(place));
            }
            return Ok(Step::Wait(Duration::from_millis(200)));
        }
        if has_room && !self.stop.is_requested() {
            if now < self.send_at {
                return Ok(Step::Wait(self.send_at.since(now)));
            }
            self.send_at = now.after(self.plan.pause);
            return Ok(Step::Send(self.new_batch()?));
        }
        Ok(Step::Wait(Duration::from_millis(200)))
    }

    fn new_batch(&mut self) -> anyhow::Result<usize> {
        let place = self.history.batches.len();
        let turn = place % self.next.len();
        let next = self.next.get_mut(turn).context("a partition")?;
        let count = 1 + self.rng.below(RECORDS_MAX);
        self.history.batches.push(Batch {
            partition: i32::try_from(turn)?,
            first: *next,
            count,
            connection: self.history.reconnects,
            sent_at: self.env.clock.now(),
            told: Told::Unknown,
        });
        *next += count;
        Ok(place)
    }

    fn owner(&self, batch: &Batch) -> anyhow::Result<Option<BatchOwner>> {
        let Some((id, epoch)) = self.identity else {
            return Ok(None);
        };
        let base_sequence = i32::try_from(batch.first)?;
        Ok(Some(BatchOwner {
            id,
            epoch,
            base_sequence,
        }))
    }

    fn show_sent(&self, place: usize) -> anyhow::Result<u64> {
        let Some(witness) = &self.witness else {
            return Ok(0);
        };
        let batch = *self.batch(place)?;
        let sent = SentBatch {
            producer: self.plan.producer,
            topic: &self.plan.topic,
            batch,
            owner: self.owner(&batch)?,
        };
        Ok(witness.sends(self.lane, &sent))
    }

    fn show_told(&self, ticket: u64, told: Told) {
        if let Some(witness) = &self.witness {
            witness.told(ticket, told);
        }
    }

    fn request(&self, place: usize) -> anyhow::Result<ProduceRequest> {
        let batch = self.batch(place)?;
        let owner = self.owner(batch)?;
        let numbers = batch.first..batch.first + batch.count;
        let producer = self.plan.producer;
        let values = numbers.map(|number| padded(&format!("{producer}:{number}"), 100));
        let compression = match place % 4 {
            1 => Compression::Lz4,
            2 => Compression::Zstd,
            _ => Compression::None,
        };
        let bytes = batch_of(values, compression, owner)?;
        Ok(produce_request(
            &self.plan.topic,
            [(batch.partition, bytes)],
        ))
    }

    fn batch(&self, place: usize) -> anyhow::Result<&Batch> {
        self.history.batches.get(place).context("a batch of ours")
    }

    fn hear(&mut self, reply: &ProduceResponse) -> anyhow::Result<()> {
        let (place, ticket) = self.in_flight.pop_front().context("a reply to nothing")?;
        let mut answers = reply
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let answer = answers.next().context("a reply without the partition")?;
        let batch = *self.batch(place)?;
        ensure!(
            answer.index == batch.partition,
            "a reply to another partition"
        );
        if answer.error_code == 0 {
            let at = self.env.clock.now();
            let told = Told::Acknowledged {
                base_offset: answer.base_offset,
                at,
            };
            self.show_told(ticket, told);
            self.tell(place, told);
            return Ok(());
        }
        let told = self.fail(place, batch, answer);
        self.show_told(ticket, *told.as_ref().unwrap_or(&Told::Unknown));
        self.tell(place, told?);
        Ok(())
    }

    /// What an error tells of a batch; one that may be sent again is put aside for that.
    fn fail(
        &mut self,
        place: usize,
        batch: Batch,
        answer: &PartitionProduceResponse,
    ) -> anyhow::Result<Told> {
        let code = answer.error_code;
        let error = KafkaError::from_code(code).context("an unknown code")?;
        if self.is_idempotent() {
            let of_partition = |other: usize| {
                let other = self.history.batches.get(other);
                other.is_some_and(|other| other.partition == batch.partition)
            };
            // Only what stands behind a batch that failed may be out of order.
            let is_behind = self
                .again
                .iter()
                .any(|other| *other < place && of_partition(*other));
            let is_early = error == KafkaError::OutOfOrderSequenceNumber && is_behind;
            if error.is_retriable() || is_early {
                self.again.insert(place);
                return Ok(Told::Unknown);
            }
            let (producer, message) = (self.plan.producer, &answer.error_message);
            bail!("producer {producer}: {batch:?} was refused with {error} ({message:?})");
        }
        match error {
            KafkaError::RequestTimedOut => Ok(Told::Unknown),
            KafkaError::NotLeaderOrFollower
            | KafkaError::KafkaStorageError
            | KafkaError::UnknownTopicOrPartition => Ok(Told::Refused { code }),
            _ => bail!("{batch:?} was refused with {error}"),
        }
    }

    fn note_connection(&mut self, place: usize) {
        let connection = self.history.reconnects;
        if let Some(batch) = self.history.batches.get_mut(place) {
            batch.connection = connection;
        }
    }

    fn tell(&mut self, place: usize, told: Told) {
        if let Some(batch) = self.history.batches.get_mut(place) {
            batch.told = told;
        }
    }

    fn connection_ended(&mut self) {
        self.history.reconnects += 1;
        for (place, ticket) in std::mem::take(&mut self.in_flight) {
            self.show_told(ticket, Told::Unknown);
            if self.is_idempotent() {
                self.again.insert(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use esker_env::{Clock, SystemClock};
    use esker_kafka::messages::produce_response::TopicProduceResponse;
    use esker_types::Timestamp;
    use futures::future::BoxFuture;

    use super::*;

    const EARLIER: Duration = Duration::from_secs(3600);

    /// A clock that was made an hour ago.
    #[derive(Debug)]
    struct Old(SystemClock);

    impl Clock for Old {
        fn now(&self) -> MonotonicTime {
            self.0.now().after(EARLIER)
        }

        fn wall(&self) -> Timestamp {
            self.0.wall()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            self.0.sleep(duration)
        }
    }

    fn plan() -> ProducerPlan {
        ProducerPlan {
            producer: 1,
            kind: ProducerKind::Plain,
            addresses: Vec::new(),
            topic: "t".to_owned(),
            partitions: 1,
            in_flight: 1,
            pause: Duration::ZERO,
            answer_within: Duration::ZERO,
            finish_within: Duration::ZERO,
            seed: 1,
        }
    }

    #[test]
    fn a_producer_takes_all_its_times_from_the_clock_that_it_was_given() {
        let env = Env {
            clock: Arc::new(Old(SystemClock::new())),
            ..Env::system()
        };
        let (_trigger, stop) = Shutdown::new();
        let mut producer = Producer::new(&env, plan(), None, stop).unwrap();
        let answers = vec![PartitionProduceResponse::default()];
        let topic = TopicProduceResponse::default().with_partition_responses(answers);
        let reply = ProduceResponse::default().with_responses(vec![topic]);

        let place = producer.new_batch().unwrap();
        producer.in_flight.push_back((place, 0));
        producer.hear(&reply).unwrap();

        let batch = producer.history.batches[place];
        let Told::Acknowledged { at, .. } = batch.told else {
            panic!("{batch:?}")
        };
        assert!(batch.sent_at.since_start() >= EARLIER && at.since_start() >= EARLIER);
    }
}
