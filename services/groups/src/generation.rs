//! Generation: the number of a group's completed rebalances, which fences members of older ones.

/// A group's generation: 1 for its first members, 0 before. Rises with every rebalance (I17).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(i32);

impl Generation {
    /// Of a group that never had members.
    pub const NONE: Self = Self(0);

    /// As Kafka's wire has it; `None` when negative.
    #[must_use]
    pub fn from_wire(value: i32) -> Option<Self> {
        (value >= 0).then_some(Self(value))
    }

    /// As Kafka's wire has it: never negative.
    #[must_use]
    pub fn to_wire(self) -> i32 {
        self.0
    }

    /// The next one; after 2^31 - 1 comes 1.
    #[must_use]
    pub fn next(self) -> Self {
        self.0.checked_add(1).map_or(Self(1), Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_never_negative_and_wraps_to_one() {
        let last = Generation::from_wire(i32::MAX).unwrap();

        assert_eq!(Generation::NONE.next().to_wire(), 1);
        assert_eq!(last.next().to_wire(), 1);
        assert_eq!(Generation::from_wire(-1), None);
    }
}
