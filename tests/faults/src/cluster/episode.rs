//! One fault: begun under load, held beyond every deadline, ended, and the cluster whole again.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::Scene;
use super::members::Role;
use super::strike::{self, Kind, Line};
use crate::asker::end_of;
use crate::load::TOPIC;
use crate::outcome::millis;

/// Acknowledgements of all producers flow again, so long after a fault begins that leaves the work
/// to others: a silent leader is replaced within 15 s, and clients of a silent process leave it
/// behind 3 s.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);
/// The same behind the end of any fault.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// A process that takes clients says again where a partition ends.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// What was done, and how long everything took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Episode {
    pub(crate) kind: Kind,
    pub(crate) role: Role,
    pub(crate) round: u32,
    /// Of cuts.
    pub(crate) line: Option<Line>,
    /// Who was hit.
    pub(crate) pod: String,
    /// How long the fault lasted.
    pub(crate) held_millis: u64,
    /// From its begin to the first acknowledgement of a later request.
    pub(crate) first_millis: Option<u64>,
    /// Until every producer had one, if others could do the work.
    pub(crate) all_millis: Option<u64>,
    /// From its end until every producer had one.
    pub(crate) back_millis: Option<u64>,
    /// From its end until the process that was hit told an end; of metadata: until all are ready.
    pub(crate) answers_millis: Option<u64>,
}

impl Episode {
    pub(crate) fn new(kind: Kind, role: Role, round: u32) -> Self {
        Self {
            kind,
            role,
            round,
            line: None,
            pod: String::new(),
            held_millis: 0,
            first_millis: None,
            all_millis: None,
            back_millis: None,
            answers_millis: None,
        }
    }
}

fn seconds(time: Option<u64>) -> String {
    let time = time.map(|millis| Duration::from_millis(millis).as_secs_f64());
    time.map_or("-".to_owned(), |time| format!("{time:.1} s"))
}

impl fmt::Display for Episode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>2}  {:<8} {:<18} {:<11} held {:>7}  first {:>7}  all {:>7}  back {:>7}  \
             answers {:>7}",
            self.round + 1,
            self.kind.label(),
            self.line.map_or("", Line::label),
            self.pod,
            seconds(Some(self.held_millis)),
            seconds(self.first_millis),
            seconds(self.all_millis),
            seconds(self.back_millis),
            seconds(self.answers_millis)
        )
    }
}

impl Scene {
    /// How long a fault lasts at least.
    fn hold(&self, kind: Kind, role: Role) -> Duration {
        let millis = match (kind, self.is_long) {
            // Started again as soon as others have taken over.
            (Kind::Kill, _) => 0,
            // Beyond the 5 s of announcements, of segments in doubt and of a leader's silence.
            (_, false) => 7000,
            (Kind::Stop, true) if role != Role::Metadata => 12_000 + self.rng.below(8000),
            (_, true) => 12_000 + self.rng.below(18_000),
        };
        Duration::from_millis(millis)
    }

    async fn pause(&self, least: u64, most: u64) {
        let time = least + self.rng.below(most - least + 1);
        let clock = self.cluster.clock();
        clock.sleep(Duration::from_millis(time)).await;
    }

    /// Plays it from the choice of the process to the cluster that is whole again.
    pub(crate) async fn play_episode(&mut self, episode: &mut Episode) -> anyhow::Result<()> {
        self.pause(200, if self.is_long { 2500 } else { 700 }).await;
        let (kind, role) = (episode.kind, episode.role);
        let place = self.cluster.victim(role, episode.round).await?;
        let line = Line::of_round(role, episode.round)?;
        episode.line = (kind == Kind::Cut).then_some(line);
        episode.pod.clone_from(&self.cluster.member(place)?.name);

        let begun = self.cluster.clock().now();
        strike::begin(&mut self.cluster, place, kind, line)?;
        self.pulse.mark();
        let is_for_others = kind != Kind::Cut || line.leaves_work_to_others(role);
        if is_for_others {
            let beat = self.pulse.until_all(TAKEN_OVER_WITHIN).await;
            episode.all_millis = beat.context("while it lasted")?.all.map(millis);
        }
        let held = self.cluster.clock().now().since(begun);
        let rest = self.hold(kind, role).saturating_sub(held);
        self.cluster.clock().sleep(rest).await;
        episode.first_millis = self.pulse.beat().first.map(millis);

        let ended = self.cluster.clock().now();
        episode.held_millis = millis(ended.since(begun));
        strike::end(&mut self.cluster, place, kind)?;
        self.pulse.mark();
        let back = self.pulse.until_all(BACK_WITHIN).await;
        episode.back_millis = back.context("behind its end")?.all.map(millis);
        if role != Role::Metadata {
            self.tells_an_end(place).await?;
            let since = self.cluster.clock().now().since(ended);
            episode.answers_millis = Some(millis(since));
        }
        self.cluster.settled().await?;
        if role == Role::Metadata {
            let since = self.cluster.clock().now().since(ended);
            episode.answers_millis = Some(millis(since));
        }
        Ok(())
    }

    async fn tells_an_end(&mut self, place: usize) -> anyhow::Result<()> {
        let address = self.cluster.member(place)?.address();
        let begun = self.cluster.clock().now();
        loop {
            let told = end_of(&self.recorder, TOPIC, &address, 0).await;
            if told.is_ok() {
                return Ok(());
            }
            let since = self.cluster.clock().now().since(begun);
            ensure!(since < ANSWERS_WITHIN, "{} tells no ends", address.0);
            self.cluster.clock().sleep(Duration::from_millis(20)).await;
        }
    }
}
