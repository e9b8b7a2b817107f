//! Object keys: made here only, from typed parts, so that every key fits the bucket layout.
//!
//! Relative to the cluster's prefix. Layout: docs/ARCHITECTURE.md.

use esker_types::{ChainIndex, ClusterId, SegmentId, SessionId, WriteId};

/// Bytes of a key, prefix not counted.
pub const OBJECT_KEY_BYTES_MAX: usize = 512;

/// A key below the configured prefix; `/` separates its parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// Classes of keys, for metering: what a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyClass {
    /// `cluster.json`.
    Cluster,
    /// Segments and session seals.
    Session,
    /// Heads, entries and seals of the metadata journal.
    Journal,
    /// Snapshots of the metadata state.
    Snapshot,
    /// Objects of the start-up probe.
    Probe,
    /// Anything else.
    Other,
}

impl KeyClass {
    /// All classes, for tables and metrics.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Session,
        Self::Journal,
        Self::Snapshot,
        Self::Probe,
        Self::Other,
    ];

    /// The label in metrics and reports.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Session => "session",
            Self::Journal => "journal",
            Self::Snapshot => "snapshot",
            Self::Probe => "probe",
            Self::Other => "other",
        }
    }
}

impl ObjectKey {
    /// `cluster.json`, directly below the prefix.
    #[must_use]
    pub fn cluster() -> Self {
        Self("cluster.json".to_owned())
    }

    /// Place `index` of a session's chain: a segment, a seal or nothing.
    /// The hash comes first, so that hot sessions spread over the store's partitions.
    #[must_use]
    pub fn session_place(cluster: ClusterId, segment: SegmentId) -> Self {
        let session = segment.session.to_hex();
        let hash = Self::hash2(segment.session);
        Self(format!(
            "{cluster}/sessions/{hash}/{session}/{:016}",
            segment.index.get()
        ))
    }

    fn hash2(session: SessionId) -> String {
        let [first, ..] = session.bytes();
        format!("{first:02x}")
    }

    /// Everything below the cluster's sessions.
    #[must_use]
    pub fn sessions(cluster: ClusterId) -> Self {
        Self(format!("{cluster}/sessions/"))
    }

    /// Place `place` of journal roll `roll`.
    #[must_use]
    pub fn journal_place(cluster: ClusterId, roll: u64, place: u64) -> Self {
        Self(format!("{cluster}/journal/{roll:016}/{place:016}"))
    }

    /// Everything below the journal.
    #[must_use]
    pub fn journal(cluster: ClusterId) -> Self {
        Self(format!("{cluster}/journal/"))
    }

    /// Part `part` of the snapshot that write `write_id` made at the start of `roll`.
    #[must_use]
    pub fn snapshot_part(cluster: ClusterId, roll: u64, write_id: WriteId, part: u32) -> Self {
        Self(format!(
            "{cluster}/snapshots/{roll:016}/{write_id}/{part:08}"
        ))
    }

    /// The list of a snapshot's parts, written last.
    #[must_use]
    pub fn snapshot_done(cluster: ClusterId, roll: u64) -> Self {
        Self(format!("{cluster}/snapshots/{roll:016}/done"))
    }

    /// Everything below the snapshots.
    #[must_use]
    pub fn snapshots(cluster: ClusterId) -> Self {
        Self(format!("{cluster}/snapshots/"))
    }

    /// Everything of one cluster.
    #[must_use]
    pub fn everything(cluster: ClusterId) -> Self {
        Self(format!("{cluster}/"))
    }

    /// An object of the start-up probe, never used again.
    #[must_use]
    pub fn probe(write_id: WriteId) -> Self {
        Self(format!("probe/{write_id}"))
    }

    /// Everything that start-up probes wrote.
    #[must_use]
    pub fn probes() -> Self {
        Self("probe/".to_owned())
    }

    /// A place of a session's chain, from the key that [`Self::session_place`] makes; `None` for
    /// any other key.
    #[must_use]
    pub fn as_session_place(&self, cluster: ClusterId) -> Option<SegmentId> {
        let rest = self.0.strip_prefix(Self::sessions(cluster).as_str())?;
        let mut parts = rest.splitn(3, '/').skip(1);
        let session = SessionId::from_hex(parts.next()?).ok()?;
        let index = ChainIndex::new(parts.next()?.parse().ok()?);
        let segment = SegmentId { session, index };
        (Self::session_place(cluster, segment) == *self).then_some(segment)
    }

    /// A place of the journal (roll, place), from the key that [`Self::journal_place`] makes;
    /// `None` for any other key.
    #[must_use]
    pub fn as_journal_place(&self, cluster: ClusterId) -> Option<(u64, u64)> {
        let rest = self.0.strip_prefix(Self::journal(cluster).as_str())?;
        let (roll, place) = rest.split_once('/')?;
        let (roll, place) = (roll.parse().ok()?, place.parse().ok()?);
        (Self::journal_place(cluster, roll, place) == *self).then_some((roll, place))
    }

    /// A key as a listing returned it; `None` past [`OBJECT_KEY_BYTES_MAX`] or when empty.
    #[must_use]
    pub fn from_listing(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= OBJECT_KEY_BYTES_MAX).then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the key is for.
    #[must_use]
    pub fn class(&self) -> KeyClass {
        if self.0 == "cluster.json" {
            return KeyClass::Cluster;
        }
        if self.0.starts_with("probe/") {
            return KeyClass::Probe;
        }
        match self.0.split('/').nth(1) {
            Some("sessions") => KeyClass::Session,
            Some("journal") => KeyClass::Journal,
            Some("snapshots") => KeyClass::Snapshot,
            _ => KeyClass::Other,
        }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);

    #[test]
    fn a_key_tells_its_place_and_no_other_text_does() {
        let segment = SegmentId {
            session: SessionId::from_bytes([0xab; 16]),
            index: ChainIndex::new(7),
        };
        let session = ObjectKey::session_place(CLUSTER, segment);
        let journal = ObjectKey::journal_place(CLUSTER, 3, 9);

        assert_eq!(session.as_session_place(CLUSTER), Some(segment));
        assert_eq!(journal.as_journal_place(CLUSTER), Some((3, 9)));
        assert_eq!(journal.as_session_place(CLUSTER), None);
        let other = ClusterId::from_bytes([3; 16]);
        assert_eq!(session.as_session_place(other), None);
        for text in [
            session.as_str().replace("/ab/", "/ac/"),
            session.as_str().replace("0007", "007"),
            format!("{session}/x"),
            journal.as_str().replace("0009", "+009"),
        ] {
            let key = ObjectKey::from_listing(&text).unwrap();
            assert_eq!(key.as_session_place(CLUSTER), None, "{text}");
            assert_eq!(key.as_journal_place(CLUSTER), None, "{text}");
        }
    }
}
