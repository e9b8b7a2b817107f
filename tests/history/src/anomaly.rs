//! The anomalies: their names, what each one breaks, and one that was found.

use std::fmt;

use serde::Serialize;

macro_rules! kinds {
    ($($variant:ident, $name:literal, $breaks:literal, $meaning:literal;)*) => {
        /// What can be wrong with a history.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $meaning] $variant,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The promises and invariants that it breaks.
            #[must_use]
            pub fn breaks(self) -> &'static str {
                match self { $(Self::$variant => $breaks,)* }
            }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

kinds! {
    InconsistentOffsets, "inconsistent-offsets", "P2 I3 CP2", "one offset, two records";
    Duplicate, "duplicate", "P3 CP8", "a record at two offsets";
    Moved, "moved", "P1 CP1", "a record is not where it was acknowledged, or a batch is torn";
    LostWrite, "lost-write", "P1 CP1", "an acknowledged record that readers passed over";
    Unseen, "unseen", "P1 CP1", "the last reading lacks an acknowledged record";
    Unsent, "unsent", "P2 I3", "a record was read that nobody had sent";
    G1a, "g1a", "P4 I24", "a record was read that had failed or was aborted";
    UncommittedRead, "uncommitted-read", "P4 X5", "read_committed showed an open transaction";
    PrecommittedRead, "precommitted-read", "P4 X5", "a transaction read what it had sent itself";
    TornTxn, "torn-txn", "P4 CP15", "a part of a transaction is visible";
    G1c, "g1c", "P4", "transactions read from one another in a circle";
    IntPollSkip, "int-poll-skip", "P1 P5", "one poll left out a record that others read";
    PollSkip, "poll-skip", "P1 P5", "the next poll left out a record that others read";
    IntNonmonotonicPoll, "int-nonmonotonic-poll", "P2", "offsets of one poll do not rise";
    NonmonotonicPoll, "nonmonotonic-poll", "P5", "a poll began below its position";
    NonmonotonicSend, "nonmonotonic-send", "P2 P3 I12", "a later send of a process lies lower";
    RealTime, "real-time", "P2 CP3", "a send lies below what was acknowledged or shown before it";
    HwRegress, "hw-regress", "P5 CP6", "the high watermark fell";
    LsoRegress, "lso-regress", "P5 I4", "the last stable offset fell";
    LogStartRegress, "log-start-regress", "P5 CP6", "the log start offset fell";
    LatestRegress, "latest-regress", "P5 CP6 CP12", "LATEST fell below an end told before";
    LatestBelowAck, "latest-below-ack", "P5 CP12", "LATEST does not cover an acknowledged record";
    WatermarkOrder, "watermark-order", "I4", "log start <= lso <= hw does not hold in one answer";
    ReadBeyondHw, "read-beyond-hw", "CP7 H1", "a record at or above the answer's own watermark";
    ReadBelowLogStart, "read-below-log-start", "I4", "a record below the answer's own log start";
    EmptyBelowHw, "empty-below-hw", "P5", "nothing was read, but a record lay below the end";
    HwInVoid, "hw-in-void", "CP7 H1", "a high watermark inside or at the end of a void range";
    VoidShown, "void-shown", "CP5 CP18", "a record in a range that is void";
    Gap, "gap", "P2 I2", "an offset without a record and without a reason";
    SequenceOrder, "sequence-order", "P3 CP8", "sequences of a producer out of order or twice";
    SequenceGap, "sequence-gap", "P3 CP8 I11", "sequences of a producer left out";
    DuplicateAnswer, "duplicate-answer", "CP9 I10", "one batch was answered with two offsets";
    FencedProducer, "fenced-producer", "P3 I11 D4", "a producer wrote under an epoch that was over";
    FencedGroup, "fenced-group", "P6 I17", "a commit under a generation that was over";
    EpochRegress, "epoch-regress", "I4 I8", "a current answer under an older epoch";
    LeaderEpochRegress, "leader-epoch-regress", "R4", "the leader epoch fell";
    OffsetRegress, "offset-regress", "P6 I18", "a committed offset is not the last commit";
    Ownership, "ownership", "I17", "two members own a partition in one generation";
    Corruption, "corruption", "I22", "bytes do not match their checksum";
    TimeRegress, "time-regress", "P2", "append times fall in the order of offsets";
    PodEquality, "pod-equality", "I3 I22", "two readings of one range differ";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One anomaly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    /// What is wrong.
    pub kind: Kind,
    /// Partition, where it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was seen and what must hold.
    pub why: String,
    /// The lines (from 1) that show it, ascending; at most
    /// [`CITED_EVENTS_MAX`](crate::limits::CITED_EVENTS_MAX).
    pub lines: Vec<u64>,
    /// These lines, when the history could be read again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excerpt: Vec<String>,
}
