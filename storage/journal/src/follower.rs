//! A standby: the state as far as the journal was read. Reading itself is in `replay.rs`.
//!
//! Opened by the metadata shell, which calls [`Follower::catch_up`] now and then and
//! [`Follower::take_over`] when it misses the leader.

use std::sync::Arc;

use esker_env::Env;
use esker_object::Bucket;
use esker_types::ClusterId;

use crate::config::JournalConfig;
use crate::error::ReplayError;
use crate::identity::{JournalIdentity, LeaderInfo};
use crate::limits::ADDRESS_BYTES_MAX;
use crate::place::{Place, RollNumber};
use crate::reader::{JournalReader, RollEnd};
use crate::schedule::SnapshotSchedule;
use crate::state::JournalState;

/// What the journal works with.
#[derive(Clone, Debug)]
pub struct JournalParts {
    /// The dependable bucket.
    pub bucket: Arc<dyn Bucket>,
    /// Time and randomness.
    pub env: Env,
    /// Whose journal, by `cluster.json`.
    pub cluster: ClusterId,
}

/// The way in.
///
/// ```
/// # use std::sync::Arc;
/// # use bytes::Bytes;
/// # use esker_env::{Env, Shutdown};
/// # use esker_journal::*;
/// # struct Count(u8);
/// # impl JournalState for Count {
/// #     type Outcome = u8;
/// #     fn empty() -> Self { Self(0) }
/// #     fn apply(&mut self, _: &Bytes) -> Result<u8, CommandError> { self.0 += 1; Ok(self.0) }
/// #     fn snapshot(&self) -> Vec<Bytes> { vec![Bytes::from(vec![self.0])] }
/// #     fn restore(parts: &[Bytes]) -> Result<Self, CommandError> { Ok(Self(parts[0][0])) }
/// # }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let env = Env::system();
/// let bucket = Arc::new(esker_object::MemoryBucket::new());
/// let cluster = env.rng.cluster_id();
/// let identity = JournalIdentity { owner: OwnerId::draw(&env.rng), address: "here".into() };
/// let parts = JournalParts { bucket, env, cluster };
/// let follower: Follower<Count> = Journal::open(parts, identity, Default::default()).await?;
/// let TakeOver::Won(mut leader) = follower.take_over().await? else { return Ok(()) };
/// let (stop, shutdown) = Shutdown::new();
/// let running = leader.task.run(shutdown);
/// let leading = async {
///     let ticket = leader.writer.append(Bytes::from_static(b"add one")).await;
///     while let Some(event) = leader.events.next().await {
///         if let JournalEvent::Durable { ticket: durable, command } = event {
///             assert_eq!(ticket, Ok(durable));
///             assert_eq!(leader.state.apply(&command), Ok(1));
///             stop.request();
///         }
///     }
/// };
/// futures::future::join(running, leading).await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Journal;

impl Journal {
    /// Reads the journal to its end (J5). Of a new cluster it is empty and nobody leads.
    ///
    /// # Errors
    /// [`ReplayError`]: see its variants; those that are not about the store need a person.
    pub async fn open<S: JournalState>(
        parts: JournalParts,
        identity: JournalIdentity,
        config: JournalConfig,
    ) -> Result<Follower<S>, ReplayError> {
        config.check();
        let address_bytes = identity.address.len();
        if address_bytes > ADDRESS_BYTES_MAX {
            return Err(ReplayError::Address { address_bytes });
        }
        let mut follower = Follower {
            reader: JournalReader {
                bucket: parts.bucket,
                cluster: parts.cluster,
            },
            env: parts.env,
            identity,
            config,
            state: S::empty(),
            schedule: SnapshotSchedule::new(&config),
            position: Position::Unread,
        };
        follower.catch_up().await?;
        Ok(follower)
    }
}

/// The first place of the journal that was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalReached {
    /// Its roll.
    pub roll: RollNumber,
    /// Its number in the roll.
    pub place: u64,
}

/// How far the journal was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Not at all; the state is empty.
    Unread,
    /// The state was dropped. The first usable snapshot from here upwards replaces it.
    Climbing { from: RollNumber, why: Climb },
    /// To the end: the first roll has not begun.
    NotBegun,
    /// The state holds all of `roll` below `next`.
    Reading {
        roll: RollNumber,
        leader: LeaderInfo,
        next: Place,
    },
    /// The state holds all of `roll`, which ended by this seal if the next roll's `prev` says so.
    Ended { roll: RollNumber, end: RollEnd },
}

/// Why a snapshot is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Climb {
    /// A listing showed one: a hint, which proves nothing when it fails.
    Hint,
    /// Entries below are known to be collected, so there must be one.
    TooOld,
}

/// The state as far as the journal was read, and what is needed to read on or to take over.
#[derive(Debug)]
pub struct Follower<S> {
    pub(crate) reader: JournalReader,
    pub(crate) env: Env,
    pub(crate) identity: JournalIdentity,
    pub(crate) config: JournalConfig,
    pub(crate) state: S,
    pub(crate) schedule: SnapshotSchedule,
    pub(crate) position: Position,
}

impl<S: JournalState> Follower<S> {
    /// Who leads, or has announced that it will, as far as the journal was read; `None` before the
    /// first start of a cluster.
    #[must_use]
    pub fn leader(&self) -> Option<&LeaderInfo> {
        match &self.position {
            Position::Unread | Position::Climbing { .. } | Position::NotBegun => None,
            Position::Reading { leader, .. } => Some(leader),
            Position::Ended { end, .. } => Some(&end.next_leader),
        }
    }

    /// How far the journal was read. It changes whenever something new was read, whoever wrote it.
    #[must_use]
    pub fn reached(&self) -> JournalReached {
        let at = |roll: RollNumber, place: Place| JournalReached {
            roll,
            place: place.get(),
        };
        match &self.position {
            Position::Unread | Position::NotBegun => at(RollNumber::FIRST, Place::OPENING),
            Position::Climbing { from, .. } => at(*from, Place::OPENING),
            Position::Reading { roll, next, .. } => at(*roll, *next),
            Position::Ended { roll, end } => at(*roll, end.seal.place.after()),
        }
    }

    /// The state as far as the journal was read. Not current: answers that must be need a leader.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }
}
