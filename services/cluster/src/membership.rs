//! Announces this process to the metadata service, again and again, and keeps what it hears.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use esker_env::{Env, Rng, Shutdown, timeout};
use esker_metadata_api::limits::{POD_ANNOUNCE_EVERY, POD_SESSIONS_MAX};
use esker_metadata_api::{AnnounceError, Pod, PodTable, Pods};
use esker_types::SessionId;
use tokio::sync::watch;

/// Node ids that are drawn where none is set. Clash is unlikely, found at once, and drawn again.
pub const NODE_IDS_DRAWN: RangeInclusive<i32> = 10_000..=99_999;
/// An announcement that is not answered by then is given up; the next one follows.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A node id for a process that was given none.
#[must_use]
pub fn draw_node_id(rng: &Rng) -> i32 {
    let (low, high) = (*NODE_IDS_DRAWN.start(), *NODE_IDS_DRAWN.end());
    let width = u64::from(high.abs_diff(low)).saturating_add(1);
    let drawn = i32::try_from(rng.below(width)).unwrap_or(0);
    low.saturating_add(drawn)
}

/// What this process knows of the cluster. Clones share it.
#[derive(Clone, Debug)]
pub struct Membership {
    here: Arc<watch::Sender<Arc<Pod>>>,
    table: watch::Receiver<Arc<PodTable>>,
}

/// The announcing, to be run until the process stops.
#[derive(Debug)]
pub struct MembershipTask {
    here: Arc<watch::Sender<Arc<Pod>>>,
    table: watch::Sender<Arc<PodTable>>,
    is_node_id_fixed: bool,
    pods: Arc<dyn Pods>,
    env: Env,
}

/// `table` with `here` in it, as it is now.
fn with_here(table: &PodTable, here: &Arc<Pod>) -> PodTable {
    let mut pods = table.pods.clone();
    pods.retain(|_, pod| pod.pod != here.pod);
    pods.insert(here.node_id, Arc::clone(here));
    PodTable {
        is_settled: table.is_settled,
        pods,
    }
}

impl Membership {
    /// Of the process `here`. With `is_node_id_fixed` its node id is kept although another process
    /// has it, and said so; else another one is drawn.
    #[must_use]
    pub fn start(
        here: Pod,
        is_node_id_fixed: bool,
        pods: Arc<dyn Pods>,
        env: Env,
    ) -> (Self, MembershipTask) {
        let here = Arc::new(here);
        let alone = Arc::new(with_here(&PodTable::default(), &here));
        let (here, _) = watch::channel(here);
        let here = Arc::new(here);
        let (told, table) = watch::channel(alone);
        let membership = Self {
            here: Arc::clone(&here),
            table,
        };
        let task = MembershipTask {
            here,
            table: told,
            is_node_id_fixed,
            pods,
            env,
        };
        (membership, task)
    }

    /// A cluster that never changes: of this process and `others`.
    #[must_use]
    pub fn fixed(here: Pod, others: impl IntoIterator<Item = Pod>) -> Self {
        let here = Arc::new(here);
        let others = others
            .into_iter()
            .map(|pod| (pod.node_id, Arc::new(pod)))
            .filter(|(node_id, _)| *node_id != here.node_id);
        let table = PodTable {
            is_settled: true,
            pods: others.collect(),
        };
        let (_, table) = watch::channel(Arc::new(with_here(&table, &here)));
        let (here, _) = watch::channel(here);
        Self {
            here: Arc::new(here),
            table,
        }
    }

    /// Who is there, as last heard; this process always is.
    #[must_use]
    pub fn table(&self) -> Arc<PodTable> {
        Arc::clone(&self.table.borrow())
    }

    /// This process, as others are told.
    #[must_use]
    pub fn here(&self) -> Arc<Pod> {
        Arc::clone(&self.here.borrow())
    }

    /// Tells everybody that this process writes `session` from now on: whoever reads at the end of
    /// the log asks it for the bytes. The oldest of too many is told no longer.
    pub fn writes(&self, session: SessionId) {
        self.here.send_modify(|here| {
            let mut writing = Pod::clone(here);
            writing.sessions.push(session);
            let extra = writing.sessions.len().saturating_sub(POD_SESSIONS_MAX);
            writing.sessions.drain(..extra);
            *here = Arc::new(writing);
        });
    }

    /// Tells everybody that this process is about to stop: within an announcement or two no client
    /// is sent here any more.
    pub fn drain(&self) {
        self.here.send_modify(|here| {
            let mut leaving = Pod::clone(here);
            leaving.is_draining = true;
            *here = Arc::new(leaving);
        });
    }
}

impl MembershipTask {
    /// Announces until asked to stop, and once more then: a process that drains is named to no
    /// client from that moment on.
    pub async fn run(self, shutdown: Shutdown) {
        let mut changes = self.here.subscribe();
        let mut is_clash_told = false;
        loop {
            let here = Arc::clone(&changes.borrow_and_update());
            let announcing = self.pods.announce(Pod::clone(&here));
            let clock = self.env.clock.as_ref();
            match timeout(clock, ANSWER_WITHIN, announcing).await {
                Ok(Ok(lease)) => self.publish(&lease.table, &here),
                Ok(Err(AnnounceError::NodeIdTaken)) if !self.is_node_id_fixed => {
                    self.draw_again(&here);
                }
                Ok(Err(error @ AnnounceError::NodeIdTaken)) => {
                    if !std::mem::replace(&mut is_clash_told, true) {
                        let node_id = here.node_id;
                        tracing::error!(node_id, %error, "clients see one of two processes only");
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, "announcement was not taken"),
                Err(error) => tracing::debug!(%error, "announcement was not answered"),
            }
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                _ = changes.changed() => {}
                () = clock.sleep(POD_ANNOUNCE_EVERY) => {}
            }
        }
        let last = Pod::clone(&changes.borrow());
        if last.is_draining {
            let announcing = self.pods.announce(last);
            // Whether it is heard or not, the process ends.
            let _ = timeout(self.env.clock.as_ref(), ANSWER_WITHIN, announcing).await;
        }
    }

    fn publish(&self, newer: &Arc<PodTable>, here: &Arc<Pod>) {
        self.table.send_if_modified(|table| {
            let next = with_here(&table.followed_by(newer), here);
            let is_new = **table != next;
            if is_new {
                *table = Arc::new(next);
            }
            is_new
        });
    }

    fn draw_again(&self, taken: &Arc<Pod>) {
        let node_id = draw_node_id(&self.env.rng);
        tracing::info!(
            taken = taken.node_id,
            node_id,
            "node id was taken, drew another"
        );
        self.here.send_modify(|here| {
            let mut renamed = Pod::clone(here);
            renamed.node_id = node_id;
            *here = Arc::new(renamed);
        });
        let renamed = Arc::clone(&self.here.borrow());
        self.table
            .send_modify(|table| *table = Arc::new(with_here(table, &renamed)));
    }
}

#[cfg(test)]
mod tests;
