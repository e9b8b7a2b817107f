//! Epochs: three kinds of number that fence, never to be mixed up.

/// Number of the current sequencer; rises with each take-over. Internal, never shown to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequencerEpoch(u64);

impl SequencerEpoch {
    /// The epoch of the first sequencer of a cluster is 1.
    pub const FIRST: Self = Self(1);

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

    /// The epoch of a challenger.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl std::fmt::Display for SequencerEpoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Kafka's leader epoch of a partition: constant from the topic's creation on (R4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(i32);

impl LeaderEpoch {
    /// The constant epoch of every partition.
    pub const CONSTANT: Self = Self(0);

    /// As Kafka's wire has it.
    #[must_use]
    pub fn to_wire(self) -> i32 {
        self.0
    }
}

/// Kafka's producer epoch: 0 to 32767.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(i16);

impl ProducerEpoch {
    /// `None` when negative.
    #[must_use]
    pub fn from_wire(value: i16) -> Option<Self> {
        (value >= 0).then_some(Self(value))
    }

    /// As Kafka's wire has it.
    #[must_use]
    pub fn to_wire(self) -> i16 {
        self.0
    }

    /// The next epoch; `None` when this id is used up.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}
