//! Becoming the leader: a seal that fences, and a head that proves the seal.
//!
//! The seal stops the old owner, but only our head of the next roll shows that the seal stands on a
//! real end: before it no entry, no snapshot, no answer, which is why a [`Leadership`] is made of
//! it alone. Cost: 2 PUTs in sequence behind the GETs of `catch_up`.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use esker_chain::limits::SETTLE_RETRY;
use esker_chain::{SettleError, Settled, create_settled};
use esker_env::Env;
use esker_object::Patience;
use esker_types::{Planted, SequencerEpoch, planted};
use futures::FutureExt as _;

use crate::error::{ReplayError, TakeOverError};
use crate::events::JournalEvents;
use crate::follower::{Follower, Position};
use crate::limits::{CHALLENGE_ROUNDS_MAX, DENIED_MAX};
use crate::object::{Head, Seal};
use crate::pipeline::{Author, Pipeline};
use crate::place::{PlaceId, RollNumber, SealRef};
use crate::reader::{JournalReader, RollEnd};
use crate::state::JournalState;
use crate::task::JournalTask;
use crate::writer::JournalWriter;

/// What a won take-over gives: the state, complete, and the journal to go on with. Nothing happens
/// until `task` runs.
#[derive(Debug)]
pub struct Leadership<S> {
    /// The state at the start of `roll`: all that was ever durable.
    pub state: S,
    /// The new epoch.
    pub epoch: SequencerEpoch,
    /// The first roll of ours.
    pub roll: RollNumber,
    /// To append with.
    pub writer: JournalWriter,
    /// What became durable; the first event is [`RollBegun`](crate::JournalEvent::RollBegun).
    pub events: JournalEvents,
    /// To be run until the end of the leadership.
    pub task: JournalTask,
}

/// How a take-over ended.
#[derive(Debug)]
pub enum TakeOver<S> {
    /// We lead.
    Won(Leadership<S>),
    /// Another process was first, or came back: follow it.
    Lost(Follower<S>),
}

impl<S: JournalState> Follower<S> {
    /// Challenges the leader that was known when this was called, and returns when it is known who
    /// leads: a seal at the first missing place, then the head of the next roll (2 PUTs). To be
    /// called when that leader is missed, after a jittered wait: liveness only. A leader found
    /// meanwhile is followed, not challenged.
    ///
    /// # Errors
    /// [`TakeOverError`]: nobody knows who leads. Open anew, under a new owner id, or stop.
    ///
    /// # Cancel safety
    /// Dropped, it may still have deposed the leader. Open anew, under a new owner id.
    pub async fn take_over(mut self) -> Result<TakeOver<S>, TakeOverError> {
        let challenged = self.leader().cloned();
        self.read_on().await?;
        // An owner who is met appending is busy: from then on its places are sealed ahead.
        let mut ahead = 0;
        for _ in 0..CHALLENGE_ROUNDS_MAX {
            if self.leader() != challenged.as_ref() {
                return Ok(TakeOver::Lost(self));
            }
            let Some(leader) = &challenged else {
                return self.start_first_roll().await;
            };
            if let Some((roll, end)) = self.challenge(leader.epoch.next(), ahead).await? {
                return self.begin_next_roll(roll, end).await;
            }
            ahead = places_ahead(self.config.in_flight_max);
        }
        tracing::warn!("leader appends faster than it can be challenged");
        Ok(TakeOver::Lost(self))
    }

    /// As [`Self::catch_up`], but goes on while the store fails in passing, as the puts of a
    /// take-over do, and bears that it denies rights for [`DENIED_MAX`].
    async fn read_on(&mut self) -> Result<(), TakeOverError> {
        let mut patience = patience();
        let mut backoff = SETTLE_RETRY.begin();
        loop {
            let error = match self.catch_up().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let now = self.env.clock.now();
            match &error {
                ReplayError::Store(source) if patience.bears(source.kind, now) => {}
                _ => return Err(TakeOverError::Replay(error)),
            }
            tracing::warn!(%error, "journal could not be read in a take-over, again");
            let delay = backoff.next_delay(&self.env.rng);
            let delay = delay.unwrap_or(SETTLE_RETRY.delay_max);
            self.env.clock.sleep(delay).await;
        }
    }

    fn author(&self, epoch: SequencerEpoch) -> Author {
        Author {
            cluster: self.reader.cluster,
            identity: self.identity.clone(),
            epoch,
        }
    }

    /// J10: who creates the head of roll 0 owns it. That nothing else was there was looked at after
    /// the head was found missing.
    async fn start_first_roll(self) -> Result<TakeOver<S>, TakeOverError> {
        let author = self.author(SequencerEpoch::FIRST);
        let head = Head {
            roll: RollNumber::FIRST,
            leader: author.leader(),
            prev: None,
        };
        let object = head.encode(author.cluster, self.env.rng.write_id());
        let at = RollNumber::FIRST.opening();
        let created = create(&self.reader, &self.env, at, object, patience()).await;
        match created.map_err(TakeOverError::Settle)? {
            Settled::Ours => Ok(TakeOver::Won(self.lead(author, RollNumber::FIRST))),
            Settled::Other(_) => self.follow().await,
        }
    }

    /// One round of a challenge: seals at the first missing place and `ahead` places behind it.
    async fn challenge(
        &mut self,
        epoch: SequencerEpoch,
        ahead: u64,
    ) -> Result<Option<(RollNumber, RollEnd)>, TakeOverError> {
        let (first, prev) = match &self.position {
            Position::Reading { roll, next, .. } => {
                let (roll, place) = (*roll, *next);
                (PlaceId { roll, place }, None)
            }
            Position::Ended { roll, end } => (roll.after().opening(), Some(end.seal)),
            Position::Unread | Position::Climbing { .. } | Position::NotBegun => return Ok(None),
        };
        let first = match prev.is_none() && planted(Planted::JournalSealNotLowest) {
            true => PlaceId {
                place: first.place.after(),
                ..first
            },
            false => first,
        };
        // Behind place 0 nothing can stand before the head does.
        let ahead = if prev.is_some() { 0 } else { ahead };
        let author = self.author(epoch);
        let seals = (0..=ahead).map(|ahead| Seal {
            at: PlaceId {
                place: first.place.ahead(ahead),
                ..first
            },
            next_leader: author.leader(),
            prev,
        });
        let puts = seals.map(|seal| put_seal(&self.reader, &self.env, seal, patience()));
        let puts = futures::future::join_all(puts).await;
        let ours = puts.into_iter().collect::<Result<Vec<_>, _>>();
        let ours = ours.map_err(TakeOverError::Settle)?;
        if let [Some(end)] = ours.as_slice() {
            // All below it was read, and it is ours: no need to look.
            let (roll, end) = (first.roll, end.clone());
            self.position = Position::Ended {
                roll,
                end: end.clone(),
            };
            return Ok(Some((roll, end)));
        }
        self.read_on().await?;
        Ok(match &self.position {
            Position::Ended { roll, end } if ours.iter().flatten().any(|own| own == end) => {
                Some((*roll, end.clone()))
            }
            Position::Ended { .. }
            | Position::Reading { .. }
            | Position::Unread
            | Position::Climbing { .. }
            | Position::NotBegun => None,
        })
    }

    /// The head proves the seal: the next roll had not begun, so nothing of this one was collected.
    async fn begin_next_roll(
        self,
        roll: RollNumber,
        end: RollEnd,
    ) -> Result<TakeOver<S>, TakeOverError> {
        let author = self.author(end.next_leader.epoch);
        assert_eq!(
            end.next_leader,
            author.leader(),
            "J9: whoever the seal names begins the next roll"
        );
        let head = Head {
            roll: roll.after(),
            leader: author.leader(),
            prev: Some(end.seal),
        };
        let object = head.encode(author.cluster, self.env.rng.write_id());
        if planted(Planted::JournalLeadsBeforeHead) {
            let at = roll.after().opening();
            let put = create(&self.reader, &self.env, at, object, patience());
            let _sent = put.now_or_never();
            return Ok(TakeOver::Won(self.lead(author, roll.after())));
        }
        let at = roll.after().opening();
        let created = create(&self.reader, &self.env, at, object, patience()).await;
        match created.map_err(TakeOverError::Settle)? {
            Settled::Other(_) if planted(Planted::JournalStrangersHead) => {
                Ok(TakeOver::Won(self.lead(author, roll.after())))
            }
            Settled::Ours => Ok(TakeOver::Won(self.lead(author, roll.after()))),
            // Either we are deposed already, or our seal stands on a collected place and the state
            // lacks commands: the verdict says which, and replay acts on it.
            Settled::Other(_) => self.follow().await,
        }
    }

    async fn follow(mut self) -> Result<TakeOver<S>, TakeOverError> {
        self.read_on().await?;
        Ok(TakeOver::Lost(self))
    }

    /// The head of `roll` is ours.
    fn lead(self, author: Author, roll: RollNumber) -> Leadership<S> {
        let epoch = author.epoch;
        tracing::info!(%roll, %epoch, owner = %author.identity.owner, "took over the journal");
        let pipeline = Pipeline::new(author, roll, self.config, self.schedule);
        let (writer, events, task) = JournalTask::new(self.reader, self.env, self.config, pipeline);
        Leadership {
            state: self.state,
            epoch,
            roll,
            writer,
            events,
            task,
        }
    }
}

/// What the puts of a take-over bear.
fn patience() -> Patience {
    Patience::new(DENIED_MAX)
}

/// `None` when somebody else holds the place.
pub(crate) async fn put_seal(
    reader: &JournalReader,
    env: &Env,
    seal: Seal,
    patience: Patience,
) -> Result<Option<RollEnd>, SettleError> {
    let write_id = env.rng.write_id();
    let object = seal.encode(reader.cluster, write_id);
    let settled = create(reader, env, seal.at, object, patience).await?;
    Ok(match settled {
        Settled::Ours => Some(RollEnd {
            seal: SealRef {
                place: seal.at.place,
                write_id,
            },
            next_leader: seal.next_leader,
        }),
        Settled::Other(_) => None,
    })
}

pub(crate) async fn create(
    reader: &JournalReader,
    env: &Env,
    at: PlaceId,
    object: Bytes,
    patience: Patience,
) -> Result<Settled, SettleError> {
    let key = at.key(reader.cluster);
    create_settled(reader.bucket.as_ref(), env, &key, object, patience).await
}

fn places_ahead(in_flight_max: usize) -> u64 {
    u64::try_from(in_flight_max)
        .unwrap_or(u64::MAX)
        .saturating_mul(2)
}
