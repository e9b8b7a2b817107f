//! The clients beside the faults: producers at the ingest processes, and at every process that
//! takes clients a reader and one that asks, which stay there whatever happens: what a process says
//! of ends is seen throughout.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use esker_e2e::load::{ProducerKind, ProducerPlan, produce_before};
use esker_env::{Env, Shutdown};
use futures::future::try_join_all;

use super::pulse::Pulse;
use crate::asker::Asker;
use crate::load::{PARTITIONS, TOPIC};
use crate::reader::{PodAddress, Reader};
use crate::recorder::Recorder;

/// Producers that send again until they are acknowledged.
const IDEMPOTENT: u32 = 3;
/// All producers.
pub(crate) const PRODUCERS: u32 = IDEMPOTENT + 1;
/// Producers have to finish so long after the stop.
const FINISH_WITHIN: Duration = Duration::from_secs(60);
/// A client leaves a process that is silent for so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Who takes part.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Where producers go by turns.
    pub(crate) ingest: Vec<SocketAddr>,
    /// Every process that takes clients.
    pub(crate) pods: Vec<PodAddress>,
    pub(crate) recorder: Recorder,
    pub(crate) pulse: Pulse,
    pub(crate) seed: u64,
    /// Between two requests of a producer.
    pub(crate) pause: Duration,
}

/// How often each process said where a partition ends.
pub(crate) type EndsTold = BTreeMap<String, u64>;

impl Clients {
    fn plan(&self, producer: u32) -> ProducerPlan {
        let mut addresses = self.ingest.clone();
        let turn = usize::try_from(producer).unwrap_or(0) % addresses.len().max(1);
        addresses.rotate_left(turn);
        ProducerPlan {
            producer,
            kind: if producer <= IDEMPOTENT {
                ProducerKind::Idempotent
            } else {
                ProducerKind::Plain
            },
            addresses,
            topic: TOPIC.to_owned(),
            partitions: PARTITIONS,
            in_flight: 5,
            pause: self.pause,
            answer_within: ANSWER_WITHIN,
            finish_within: FINISH_WITHIN,
            seed: self.seed ^ u64::from(producer),
        }
    }

    /// Follows all partitions at one process, or wherever there is an answer.
    async fn read(&self, pods: Vec<PodAddress>, stop: &Shutdown) -> anyhow::Result<u64> {
        let all: Vec<i32> = (0..PARTITIONS).collect();
        let mut reader = Reader::new(&self.recorder, TOPIC, &all, false);
        reader.follow(&pods, 0, stop).await?;
        Ok(reader.ends)
    }

    /// Asks for ends and commits; each such client has a group of its own.
    async fn ask(&self, pods: Vec<PodAddress>, stop: &Shutdown) -> anyhow::Result<u64> {
        let group = pods
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>();
        let mut asker = Asker::new(&self.recorder, TOPIC, &group.join("+"));
        asker.ask_on(&pods, PARTITIONS, stop).await?;
        Ok(asker.ends)
    }

    async fn stay_at(&self, pod: &PodAddress, stop: &Shutdown) -> anyhow::Result<(String, u64)> {
        let here = || vec![pod.clone()];
        let (read, asked) = tokio::join!(self.read(here(), stop), self.ask(here(), stop));
        Ok((pod.0.clone(), read? + asked?))
    }

    /// Runs until asked to stop and everything is acknowledged.
    ///
    /// # Errors
    /// A client was told what no client may be told, or could not finish.
    pub(crate) async fn run(&self, stop: Shutdown) -> anyhow::Result<EndsTold> {
        let plans = (1..=PRODUCERS).map(|producer| self.plan(producer));
        let env = Env::system();
        let witness = Arc::new(self.pulse.clone());
        let producing = produce_before(&env, plans.collect(), Some(witness), &stop);
        let everywhere = self.pods.iter().map(|pod| self.stay_at(pod, &stop));
        let (produced, told, read, asked) = tokio::join!(
            producing,
            try_join_all(everywhere),
            self.read(self.pods.clone(), &stop),
            self.ask(self.pods.clone(), &stop),
        );
        produced?;
        read?;
        asked?;
        Ok(told?.into_iter().collect())
    }
}
