//! Reads the journal to its end (J5), one roll at a time: the verdict first, then the roll.
//!
//! Only what the bucket holds without a gap is applied, never what a leader tells. A place that is
//! missing while there is no verdict proves nothing but that this is the end for now. Damage is
//! called upwards only, and never by a listing. Cost: 2 GETs when nothing is new, a GET an entry.

#[cfg(test)]
mod tests;

use esker_object::ObjectKey;
use esker_types::{Planted, planted};
use futures::stream::{self, StreamExt as _};

use crate::collect::{SnapshotKey, list_snapshots, parse};
use crate::error::ReplayError;
use crate::follower::{Climb, Follower, Position};
use crate::identity::LeaderInfo;
use crate::limits::REPLAY_READS_MAX;
use crate::object::Entry;
use crate::place::{Place, PlaceId, RollNumber};
use crate::reader::{Behind, Opening, OpeningHolder, RollEnd};
use crate::snapshot::read_snapshot;
use crate::state::JournalState;

/// Whether a step may be followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Moved,
    AtEnd,
}

/// A roll, and how far it was read.
#[derive(Clone, Debug)]
struct ReadRoll {
    roll: RollNumber,
    leader: LeaderInfo,
    next: Place,
}

impl ReadRoll {
    fn place_id(&self) -> PlaceId {
        PlaceId {
            roll: self.roll,
            place: self.next,
        }
    }
}

impl<S: JournalState> Follower<S> {
    /// Reads on to the end of the journal. Two GETs when there is nothing new; call it as often as
    /// a standby should be fresh, once a minute or when the leader is missed.
    ///
    /// # Errors
    /// [`ReplayError`]: as [`Journal::open`](crate::Journal::open).
    ///
    /// # Cancel safety
    /// What was read stays read.
    pub async fn catch_up(&mut self) -> Result<(), ReplayError> {
        // Each step moves up the journal; a leader cannot write faster than it is read for long.
        while self.step().await? == Progress::Moved {}
        Ok(())
    }

    async fn step(&mut self) -> Result<Progress, ReplayError> {
        match self.position.clone() {
            Position::Unread => self.begin().await,
            Position::NotBegun => self.begin_at_first_roll().await,
            Position::Climbing { from, why } => self.climb(from, why).await,
            Position::Reading { roll, leader, next } => {
                self.read_roll(ReadRoll { roll, leader, next }).await
            }
            Position::Ended { roll, end } => match self.reader.verdict(roll).await? {
                None => Ok(Progress::AtEnd),
                Some(verdict) => self.judge(roll, &end, verdict),
            },
        }
    }

    /// Any snapshot will do; the newest one is the shortest way.
    async fn begin(&mut self) -> Result<Progress, ReplayError> {
        let rows = list_snapshots(&self.reader).await;
        let rows = rows.map_err(ReplayError::Store)?;
        let done = rows
            .iter()
            .filter_map(|row| parse(self.reader.cluster, &row.key))
            .filter(|(_, key)| *key == SnapshotKey::Done)
            .map(|(roll, _)| roll);
        match done.max() {
            None => self.begin_at_first_roll().await,
            Some(newest) => Ok(self.drop_state(newest, Climb::Hint)),
        }
    }

    /// Without a snapshot: roll 0, empty. J10: a bucket that holds other things but not its head,
    /// looked for *after* they were listed, is incomplete.
    async fn begin_at_first_roll(&mut self) -> Result<Progress, ReplayError> {
        let mut opening = self.reader.opening(RollNumber::FIRST).await?;
        if opening.is_none() {
            let everything = ObjectKey::everything(self.reader.cluster);
            let rows = self.reader.bucket.list_after(&everything, None, 1).await;
            let holds_objects = !rows.map_err(ReplayError::Store)?.is_empty();
            if holds_objects {
                opening = self.reader.opening(RollNumber::FIRST).await?;
            }
            if holds_objects && opening.is_none() {
                return Err(ReplayError::Incomplete);
            }
        }
        let Some(opening) = opening else {
            self.position = Position::NotBegun;
            return Ok(Progress::AtEnd);
        };
        self.state = S::empty();
        self.schedule.restored(0);
        self.open_roll(RollNumber::FIRST, opening)
    }

    fn drop_state(&mut self, from: RollNumber, why: Climb) -> Progress {
        tracing::debug!(%from, ?why, "looking for a snapshot of the journal");
        self.state = S::empty();
        self.position = Position::Climbing { from, why };
        Progress::Moved
    }

    /// The state lacks commands of `roll` that were collected: a snapshot above it exists (J4).
    fn too_old(&mut self, roll: RollNumber) -> Progress {
        self.drop_state(roll.after(), Climb::TooOld)
    }

    /// Up, roll by roll: a list of parts goes only after a later one exists, so what was missed
    /// here is met higher up.
    async fn climb(&mut self, from: RollNumber, why: Climb) -> Result<Progress, ReplayError> {
        if let Some(snapshot) = read_snapshot(&self.reader, from).await? {
            let roll = from;
            let opening = self.reader.opening(roll).await?;
            let opening = opening.ok_or(ReplayError::Damaged { roll })?;
            let restored = S::restore(&snapshot.parts);
            self.state = restored.map_err(|source| ReplayError::Command { roll, source })?;
            self.schedule.restored(snapshot.snapshot_bytes);
            return self.open_roll(roll, opening);
        }
        let above = from.after();
        if self.reader.opening(above).await?.is_some() {
            return Ok(self.drop_state(above, why));
        }
        match why {
            Climb::Hint => self.begin_at_first_roll().await,
            Climb::TooOld => Err(ReplayError::Damaged { roll: above }),
        }
    }

    /// `roll` has begun, and the state holds all below it.
    fn open_roll(&mut self, roll: RollNumber, opening: Opening) -> Result<Progress, ReplayError> {
        let falls = |epoch| opening.leader().epoch < epoch;
        if self.leader().is_some_and(|before| falls(before.epoch)) {
            return Err(self.contradiction(roll.opening()));
        }
        self.schedule.roll();
        self.position = match opening.holder {
            OpeningHolder::Head(leader) => Position::Reading {
                roll,
                leader,
                next: Place::FIRST_ENTRY,
            },
            OpeningHolder::Seal(end) => Position::Ended { roll, end },
        };
        Ok(Progress::Moved)
    }

    fn contradiction(&self, at: PlaceId) -> ReplayError {
        ReplayError::Contradiction {
            key: at.key(self.reader.cluster),
        }
    }

    /// A seal was met as the end of `roll`, and there is a verdict. The seal counts only if the
    /// verdict names it; otherwise it stands on a collected place.
    fn judge(
        &mut self,
        roll: RollNumber,
        end: &RollEnd,
        verdict: Opening,
    ) -> Result<Progress, ReplayError> {
        if verdict.prev != Some(end.seal) && !planted(Planted::JournalSealBelieved) {
            return Ok(self.too_old(roll));
        }
        if let OpeningHolder::Head(leader) = &verdict.holder
            && *leader != end.next_leader
        {
            return Err(self.contradiction(roll.after().opening()));
        }
        self.open_roll(roll.after(), verdict)
    }

    async fn read_roll(&mut self, reading: ReadRoll) -> Result<Progress, ReplayError> {
        match self.reader.verdict(reading.roll).await? {
            Some(verdict) => self.read_ended_roll(reading, verdict).await,
            None => self.walk(reading).await,
        }
    }

    /// With a verdict the roll is exactly the entries below its seal.
    async fn read_ended_roll(
        &mut self,
        mut reading: ReadRoll,
        verdict: Opening,
    ) -> Result<Progress, ReplayError> {
        let roll = reading.roll;
        let end = verdict.prev.map(|seal| seal.place);
        let end = end.filter(|end| *end >= reading.next);
        let end = end.ok_or_else(|| self.contradiction(roll.after().opening()))?;
        let reader = self.reader.clone();
        let places = (reading.next.get()..end.get()).map(Place::new);
        let reads = places.map(|place| {
            let reader = &reader;
            async move { reader.behind(PlaceId { roll, place }).await }
        });
        let mut reads = stream::iter(reads).buffered(REPLAY_READS_MAX);
        while let Some(behind) = reads.next().await {
            match behind? {
                Behind::Entry {
                    entry,
                    object_bytes,
                } => self.apply(&mut reading, &entry, object_bytes)?,
                Behind::Missing if planted(Planted::JournalEntrySkipped) => {
                    reading.next = reading.next.after();
                }
                Behind::Missing | Behind::Seal(_) => return Ok(self.too_old(roll)),
            }
        }
        assert_eq!(
            reading.next, end,
            "J5: a roll is exactly the entries below its seal"
        );
        self.open_roll(roll.after(), verdict)
    }

    /// Without a verdict the roll is read to the first seal or missing place, in windows that grow
    /// as long as all of them is there.
    async fn walk(&mut self, mut reading: ReadRoll) -> Result<Progress, ReplayError> {
        let roll = reading.roll;
        let reader = self.reader.clone();
        let mut window = 1_u64;
        loop {
            let first = reading.next;
            let reads = (0..window).map(|ahead| {
                let place = first.ahead(ahead);
                reader.behind(PlaceId { roll, place })
            });
            for behind in futures::future::join_all(reads).await {
                match behind? {
                    Behind::Entry {
                        entry,
                        object_bytes,
                    } => self.apply(&mut reading, &entry, object_bytes)?,
                    Behind::Seal(end) => return self.met_seal(roll, end).await,
                    Behind::Missing => return Ok(Progress::AtEnd),
                }
            }
            let window_max = u64::try_from(REPLAY_READS_MAX).unwrap_or(u64::MAX);
            window = window.saturating_mul(2).min(window_max);
        }
    }

    async fn met_seal(&mut self, roll: RollNumber, end: RollEnd) -> Result<Progress, ReplayError> {
        match self.reader.verdict(roll).await? {
            Some(verdict) => self.judge(roll, &end, verdict),
            None => {
                self.position = Position::Ended { roll, end };
                Ok(Progress::AtEnd)
            }
        }
    }

    /// Applies an entry and moves behind it, as one step without an await.
    fn apply(
        &mut self,
        reading: &mut ReadRoll,
        entry: &Entry,
        object_bytes: u64,
    ) -> Result<(), ReplayError> {
        let roll = reading.roll;
        assert_eq!(
            entry.at,
            reading.place_id(),
            "J5: entries are applied in the order of their places"
        );
        if entry.epoch != reading.leader.epoch {
            return Err(self.contradiction(entry.at));
        }
        for command in &entry.commands {
            if let Err(source) = self.state.apply(command) {
                // Half an entry is in the state: it is of no use any more.
                self.state = S::empty();
                self.position = Position::Unread;
                return Err(ReplayError::Command { roll, source });
            }
        }
        self.schedule.entry(object_bytes);
        reading.next = reading.next.after();
        self.position = Position::Reading {
            roll,
            leader: reading.leader.clone(),
            next: reading.next,
        };
        Ok(())
    }
}
