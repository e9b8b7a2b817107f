//! The order of a session's chain as types: what is uploaded, what is committed, where the tail is.
//!
//! `Uploaded` is made by `Chain::upload` alone, `Committed` by [`ChainTail::extend`] alone; neither
//! can be cloned, so one segment is acknowledged once and never before those in front of it (W6,
//! CP1).

use esker_types::{ChainIndex, SegmentId, SessionId};

/// Our PUT of one segment succeeded. Says nothing about the segments before it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "extend the chain's tail with it"]
pub struct Uploaded {
    session: SessionId,
    index: ChainIndex,
}

impl Uploaded {
    /// The caller has seen that `segment` is there with our own bytes.
    pub(crate) fn new(segment: SegmentId) -> Self {
        Self {
            session: segment.session,
            index: segment.index,
        }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Its place in the session's chain.
    #[must_use]
    pub fn index(&self) -> ChainIndex {
        self.index
    }
}

/// Segments `0..=index` of the session exist. Only [`ChainTail::extend`] makes one.
///
/// Nobody else can make one:
/// ```compile_fail,E0451
/// # use esker_types::{ChainIndex, SessionId};
/// fn forge(session: SessionId, index: ChainIndex) -> esker_chain::Committed {
///     esker_chain::Committed { session, index }
/// }
/// ```
/// and nobody can double one:
/// ```compile_fail,E0599
/// fn double(proof: &esker_chain::Committed) -> esker_chain::Committed {
///     proof.clone()
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "producers wait for this"]
pub struct Committed {
    session: SessionId,
    index: ChainIndex,
}

impl Committed {
    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The last place of the chain that is now committed.
    #[must_use]
    pub fn index(&self) -> ChainIndex {
        self.index
    }
}

/// The first place of our session that is not yet committed.
///
/// A session's one owner keeps its one tail; a second tail of a session would prove nothing more,
/// as each [`Uploaded`] extends one of them only.
#[derive(Debug)]
pub struct ChainTail {
    session: SessionId,
    next: ChainIndex,
}

impl ChainTail {
    /// The tail of a new session: nothing is committed.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            next: ChainIndex::ZERO,
        }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Segments `0..next` are committed.
    #[must_use]
    pub fn next(&self) -> ChainIndex {
        self.next
    }

    /// Moves the tail over a segment whose predecessors are all committed.
    ///
    /// # Errors
    /// Hands the upload back: a predecessor is still in flight, ask again when it has landed.
    pub fn extend(&mut self, uploaded: Uploaded) -> Result<Committed, Uploaded> {
        assert_eq!(
            uploaded.session, self.session,
            "a tail extends its own session only"
        );
        assert!(
            uploaded.index >= self.next,
            "CP18: a chain index is decided once"
        );
        if uploaded.index > self.next {
            return Err(uploaded);
        }
        let index = self.next;
        self.next = index.after();
        assert!(self.next > index, "a chain has fewer than 2^64 places");
        Ok(Committed {
            session: uploaded.session,
            index,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId::from_bytes([7; 16]);

    fn uploaded(index: u64) -> Uploaded {
        Uploaded::new(SegmentId {
            session: SESSION,
            index: ChainIndex::new(index),
        })
    }

    #[test]
    fn an_upload_is_committed_only_behind_all_before_it() {
        let mut tail = ChainTail::new(SESSION);

        let early = tail.extend(uploaded(1)).unwrap_err();
        let first = tail.extend(uploaded(0)).unwrap();
        let second = tail.extend(early).unwrap();

        assert_eq!(first.index(), ChainIndex::ZERO);
        assert_eq!(
            (second.session(), second.index()),
            (SESSION, ChainIndex::new(1))
        );
        assert_eq!((tail.session(), tail.next()), (SESSION, ChainIndex::new(2)));
    }

    #[test]
    fn a_place_is_never_committed_twice_nor_by_another_session() {
        let twice = std::panic::catch_unwind(|| {
            let mut tail = ChainTail::new(SESSION);
            let _first = tail.extend(uploaded(0));
            tail.extend(uploaded(0)).is_ok()
        });
        let other = std::panic::catch_unwind(|| {
            let mut tail = ChainTail::new(SessionId::from_bytes([8; 16]));
            tail.extend(uploaded(0)).is_ok()
        });

        assert!(twice.is_err(), "CP18");
        assert!(other.is_err());
    }
}
