//! Where an object of the journal stands: its roll, and its place in the roll.

use esker_object::ObjectKey;
use esker_types::{ClusterId, WriteId};

/// Number of a roll, counted from 0 through all epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollNumber(u64);

impl RollNumber {
    /// The first roll of a cluster.
    pub const FIRST: Self = Self(0);

    /// Wraps a stored number.
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// The bare number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The roll behind this one.
    #[must_use]
    pub fn after(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The roll before this one; `None` for the first.
    #[must_use]
    pub fn before(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Place 0 of the roll: its head, or the seal of a roll whose owner never came.
    pub(crate) fn opening(self) -> PlaceId {
        PlaceId {
            roll: self,
            place: Place::OPENING,
        }
    }
}

impl std::fmt::Display for RollNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A place of a roll: 0 opens it, entries stand from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(u64);

impl Place {
    pub(crate) const OPENING: Self = Self(0);
    pub(crate) const FIRST_ENTRY: Self = Self(1);

    pub(crate) fn new(value: u64) -> Self {
        Self(value)
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn after(self) -> Self {
        self.ahead(1)
    }

    pub(crate) fn ahead(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// Places from `earlier` up to this one; 0 when `earlier` is not earlier.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One place of one roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PlaceId {
    pub(crate) roll: RollNumber,
    pub(crate) place: Place,
}

impl PlaceId {
    pub(crate) fn key(self, cluster: ClusterId) -> ObjectKey {
        ObjectKey::journal_place(cluster, self.roll.get(), self.place.get())
    }
}

impl std::fmt::Display for PlaceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.roll, self.place.get())
    }
}

/// Which seal: its place in its roll, and the write that made it. Two seals are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SealRef {
    pub(crate) place: Place,
    pub(crate) write_id: WriteId,
}
