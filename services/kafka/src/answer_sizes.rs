//! How large the answers of each API were lately: what the next one is taken to need.
//!
//! How large an answer becomes is known when it is made, and then its memory is taken already. A
//! list of all topics asked for by thousands of clients at once must be paid for before.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::ANSWER_BYTES_SMALL;
use crate::versions::Api;

/// An answer as a struct takes about as much as its bytes; both exist while it is encoded.
const FORMS: usize = 2;
/// A smaller answer lets the expectation sink by this part of it.
const SINK_DIVISOR: usize = 16;

/// The expected bytes of the next answer, by API.
#[derive(Debug)]
pub(crate) struct AnswerSizes([AtomicUsize; Api::ALL.len()]);

impl Default for AnswerSizes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicUsize::new(0)))
    }
}

impl AnswerSizes {
    /// Memory that an answer to `api` may need; 0 when the last ones were small.
    pub(crate) fn expected(&self, api: Api) -> usize {
        let bytes = self.of(api).map_or(0, |size| size.load(Ordering::Relaxed));
        if bytes > ANSWER_BYTES_SMALL {
            bytes.saturating_mul(FORMS)
        } else {
            0
        }
    }

    /// An answer to `api` of `bytes` was made. Rises at once and sinks slowly; of two at once one
    /// may not count.
    pub(crate) fn made(&self, api: Api, bytes: usize) {
        if let Some(size) = self.of(api) {
            let before = size.load(Ordering::Relaxed);
            let after = bytes.max(before - before / SINK_DIVISOR);
            if after != before {
                size.store(after, Ordering::Relaxed);
            }
        }
    }

    fn of(&self, api: Api) -> Option<&AtomicUsize> {
        // They wait for other members' requests, which must find room.
        if matches!(api, Api::JoinGroup | Api::SyncGroup) {
            return None;
        }
        let place = Api::ALL.iter().position(|served| *served == api)?;
        self.0.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_answer_is_expected_again_until_smaller_ones_have_come() {
        let sizes = AnswerSizes::default();
        let large = 4 * ANSWER_BYTES_SMALL;

        let first = sizes.expected(Api::Metadata);
        sizes.made(Api::Metadata, large);
        let second = sizes.expected(Api::Metadata);
        sizes.made(Api::Metadata, 1);
        let third = sizes.expected(Api::Metadata);
        for _ in 0..40 {
            sizes.made(Api::Metadata, 1);
        }

        assert_eq!((first, second), (0, FORMS * large));
        assert!(third < second && third > FORMS * ANSWER_BYTES_SMALL);
        assert_eq!(sizes.expected(Api::Metadata), 0);
        assert_eq!(sizes.expected(Api::ListGroups), 0);
    }

    #[test]
    fn nothing_is_expected_of_answers_that_wait_for_other_requests() {
        let sizes = AnswerSizes::default();

        sizes.made(Api::JoinGroup, 2 * ANSWER_BYTES_SMALL);

        assert_eq!(sizes.expected(Api::JoinGroup), 0);
    }
}
