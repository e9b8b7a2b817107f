//! Settings of the produce path: numbers only; parts (sequencer, chain) go to `Ingest::start`.

use std::time::Duration;

use esker_types::limits::{BATCHES_PER_SEGMENT_MAX, SEGMENT_BYTES_MAX};

use crate::limits::{LINGER_MAX, UPLOADS_MAX};

/// How ingest gathers, writes and gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestConfig {
    /// Bytes of record batches at which a segment is full.
    pub segment_bytes_max: u32,
    /// Record batches at which a segment is full.
    pub segment_batches_max: u32,
    /// Time between two segments that are not full, while any is in flight: bounds both the wait of
    /// a batch and the number of puts. With nothing in flight a segment is closed at once.
    pub linger: Duration,
    /// Segments reserved and not yet acknowledged.
    pub uploads_max: usize,
    /// Bytes of record batches admitted and not yet answered; beyond it connections are not read.
    pub produce_bytes_max: usize,
    /// Longest wait for the answer to one call of the sequencer that is made in memory.
    pub reserve_timeout: Duration,
    /// Longest wait for the answer to one call that must become durable first.
    pub register_timeout: Duration,
    /// A session whose first segment in flight is older than this is given up for a new one.
    pub stall: Duration,
    /// Without a sequencer for this long, what is not reserved is sent to other pods.
    pub patience: Duration,
    /// Timeout of an append that names none.
    pub append_timeout: Duration,
    /// When stopping: longest wait until everything admitted is answered.
    pub drain_timeout: Duration,
    /// When stopping: longest wait for the seal of the session.
    pub end_timeout: Duration,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            segment_bytes_max: SEGMENT_BYTES_MAX,
            segment_batches_max: BATCHES_PER_SEGMENT_MAX,
            // About ten puts a second and pod below 80 MB/s while puts overlap: docs/ingest.md.
            linger: Duration::from_millis(100),
            // 64 MiB in flight: 200 ms puts then carry 320 MB/s.
            uploads_max: 8,
            // Two of the largest requests; what a pod at full speed takes in within half a second.
            produce_bytes_max: 256 * 1024 * 1024,
            reserve_timeout: Duration::from_secs(5),
            register_timeout: Duration::from_secs(15),
            // Longer than the sequencer's own bound for an undecided segment, which acts first.
            stall: Duration::from_secs(20),
            // A metadata failover takes up to 10 s.
            patience: Duration::from_secs(15),
            // Kafka's `request.timeout.ms`.
            append_timeout: Duration::from_secs(30),
            // Below the listener's own drain timeout, so that its connections see the answers.
            drain_timeout: Duration::from_secs(20),
            end_timeout: Duration::from_secs(3),
        }
    }
}

/// Numbers that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestConfigError {
    /// No byte fits, or more than one segment can hold.
    #[error("bytes of a segment must be between 1 and {SEGMENT_BYTES_MAX}")]
    SegmentBytes,
    /// No batch fits, or more than one segment can hold.
    #[error("record batches of a segment must be between 1 and {BATCHES_PER_SEGMENT_MAX}")]
    SegmentBatches,
    /// Batches would wait for too long.
    #[error("linger must not be above {LINGER_MAX:?}")]
    Linger,
    /// Nothing could be written, or too much at once.
    #[error("segments in flight must be between 1 and {UPLOADS_MAX}")]
    Uploads,
    /// Nothing could be admitted.
    #[error("bytes of admitted batches must be above 0")]
    ProduceBytes,
}

impl IngestConfig {
    /// Whether the numbers work.
    ///
    /// # Errors
    /// [`IngestConfigError`]: which do not.
    pub fn check(&self) -> Result<(), IngestConfigError> {
        if !(1..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes_max) {
            return Err(IngestConfigError::SegmentBytes);
        }
        if !(1..=BATCHES_PER_SEGMENT_MAX).contains(&self.segment_batches_max) {
            return Err(IngestConfigError::SegmentBatches);
        }
        if self.linger > LINGER_MAX {
            return Err(IngestConfigError::Linger);
        }
        if !(1..=UPLOADS_MAX).contains(&self.uploads_max) {
            return Err(IngestConfigError::Uploads);
        }
        if self.produce_bytes_max == 0 {
            return Err(IngestConfigError::ProduceBytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_works_and_one_past_each_bound_does_not() {
        let good = IngestConfig::default();
        let check = |change: fn(&mut IngestConfig)| {
            let mut config = good;
            change(&mut config);
            config.check()
        };

        assert_eq!(good.check(), Ok(()));
        assert_eq!(
            check(|config| config.segment_bytes_max = SEGMENT_BYTES_MAX + 1),
            Err(IngestConfigError::SegmentBytes)
        );
        assert_eq!(
            check(|config| config.segment_batches_max = BATCHES_PER_SEGMENT_MAX + 1),
            Err(IngestConfigError::SegmentBatches)
        );
        assert_eq!(
            check(|config| config.linger = LINGER_MAX + Duration::from_nanos(1)),
            Err(IngestConfigError::Linger)
        );
        assert_eq!(check(|config| config.uploads_max = UPLOADS_MAX), Ok(()));
        assert_eq!(
            check(|config| config.uploads_max = UPLOADS_MAX + 1),
            Err(IngestConfigError::Uploads)
        );
        assert_eq!(
            check(|config| config.produce_bytes_max = 0),
            Err(IngestConfigError::ProduceBytes)
        );
    }
}
