//! The clients of a run: producers, readers, and one that asks; all write into one history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use esker_e2e::load::{ProducerKind, ProducerPlan, produce_before};
use esker_env::{Env, Shutdown};
use futures::future::try_join_all;

use crate::asker::Asker;
use crate::foreign::{self, Foreign};
use crate::reader::{PodAddress, Reader};
use crate::recorder::Recorder;

/// The topic of the load.
pub(crate) const TOPIC: &str = "faults";
/// The group of the load.
const GROUP: &str = "faults-group";
/// Partitions of the topic.
pub(crate) const PARTITIONS: i32 = 4;

/// What runs beside the faults.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Idempotent producers.
    pub(crate) idempotent: u32,
    /// Producers that never send again.
    pub(crate) plain: u32,
    /// Readers of all partitions.
    pub(crate) readers: usize,
    /// Between two requests of a producer.
    pub(crate) pause: Duration,
    /// A client goes to the next pod behind so long a silence.
    pub(crate) answer_within: Duration,
    /// Producers have to finish so long after the stop.
    pub(crate) finish_within: Duration,
    /// Whether a producer and a reader on librdkafka take part.
    pub(crate) librdkafka: bool,
    /// Names of the first producer of this load; each load of a run has its own.
    pub(crate) first_producer: u32,
}

/// What came of a load.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// The errors that readers were told, by name.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Operations of the clients on librdkafka.
    pub(crate) librdkafka: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            idempotent: 2,
            plain: 1,
            readers: 2,
            pause: Duration::from_millis(8),
            answer_within: Duration::from_secs(3),
            finish_within: Duration::from_secs(45),
            librdkafka: false,
            first_producer: 1,
        }
    }
}

impl Load {
    fn plans(&self, pods: &[PodAddress], seed: u64) -> Vec<ProducerPlan> {
        let count = self.idempotent + self.plain;
        let plans = (0..count).map(|at| ProducerPlan {
            producer: self.first_producer + at,
            kind: if at < self.idempotent {
                ProducerKind::Idempotent
            } else {
                ProducerKind::Plain
            },
            addresses: pods.iter().map(|(_, address)| *address).collect(),
            topic: TOPIC.to_owned(),
            partitions: PARTITIONS,
            in_flight: 5,
            pause: self.pause,
            answer_within: self.answer_within,
            finish_within: self.finish_within,
            seed: seed ^ u64::from(self.first_producer + at),
        });
        plans.collect()
    }

    /// Runs until asked to stop.
    ///
    /// # Errors
    /// A client was told what no client may be told, or could not finish.
    pub(crate) async fn run(
        &self,
        pods: Vec<PodAddress>,
        recorder: Recorder,
        seed: u64,
        stop: Shutdown,
    ) -> anyhow::Result<Ended> {
        let env = Env::system();
        let witness = Arc::new(recorder.clone());
        let producers = produce_before(&env, self.plans(&pods, seed), Some(witness), &stop);
        let all: Vec<i32> = (0..PARTITIONS).collect();
        let readers = (0..self.readers).map(|first| {
            let mut reader = Reader::new(&recorder, TOPIC, &all, false);
            let (pods, stop) = (pods.clone(), stop.clone());
            async move {
                reader.follow(&pods, first, &stop).await?;
                anyhow::Ok(reader.errors)
            }
        });
        let mut asker = Asker::new(&recorder, TOPIC, GROUP);
        let foreign = async {
            if !self.librdkafka {
                return anyhow::Ok(0);
            }
            let python = foreign::python().context("no librdkafka")?;
            let number = self.first_producer + 90;
            let mut client = Foreign::start(&python, &pods, number, &recorder)?;
            client.run(&stop, self.finish_within).await
        };
        let (produced, read, asked, foreign) = tokio::join!(
            producers,
            try_join_all(readers),
            asker.ask_on(&pods, PARTITIONS, &stop),
            Box::pin(foreign),
        );
        let librdkafka = foreign.context("the clients on librdkafka")?;
        produced?;
        asked?;
        let mut errors = BTreeMap::new();
        for (name, count) in read?.into_iter().flatten() {
            *errors.entry(name).or_insert(0) += count;
        }
        Ok(Ended { errors, librdkafka })
    }
}
