//! What a client may do, as Kafka's bit sets (bit n: operation n of `AclOperation`).
//!
//! No authoriser exists, so everybody may do all that the kind of resource has.

/// CREATE, DELETE, ALTER, DESCRIBE, READ, WRITE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// READ, DELETE, DESCRIBE; groups have no settings here.
const GROUP: i32 = bits(&[3, 6, 8]);
/// CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);
/// What stands for "not asked".
const OMITTED: i32 = i32::MIN;

const fn bits(operations: &[u32]) -> i32 {
    let mut set = 0;
    let mut place = 0;
    while place < operations.len() {
        set |= 1 << operations[place];
        place += 1;
    }
    set
}

/// Whether the client asked for the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Yes,
    No,
}

impl Wanted {
    /// `asked` counts from version `first` to `last` of the request.
    pub(crate) fn new(asked: bool, version: i16, range: std::ops::RangeInclusive<i16>) -> Self {
        if asked && range.contains(&version) {
            Self::Yes
        } else {
            Self::No
        }
    }

    pub(crate) fn topic(self) -> i32 {
        self.or_omitted(TOPIC)
    }

    pub(crate) fn group(self) -> i32 {
        self.or_omitted(GROUP)
    }

    pub(crate) fn cluster(self) -> i32 {
        self.or_omitted(CLUSTER)
    }

    fn or_omitted(self, set: i32) -> i32 {
        match self {
            Self::Yes => set,
            Self::No => OMITTED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_those_of_a_kafka_broker_without_authorizer() {
        assert_eq!(Wanted::Yes.topic(), 3576);
        assert_eq!(Wanted::Yes.group(), 328);
        assert_eq!(Wanted::Yes.cluster(), 8096);
        assert_eq!(Wanted::No.topic(), i32::MIN);
        assert_eq!(Wanted::new(true, 7, 8..=10), Wanted::No);
        assert_eq!(Wanted::new(true, 8, 8..=10), Wanted::Yes);
    }
}
