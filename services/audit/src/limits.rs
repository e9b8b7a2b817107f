//! Limits of audits and rebuilds. Each has a test that goes one past it.

use esker_segment::limits::SEGMENT_OBJECT_BYTES_MAX;

/// Findings that mean damage and are told one by one; further ones are counted.
pub const DAMAGE_TOLD_MAX: usize = 10_000;
/// Findings that mean no damage and are told one by one; further ones are counted.
pub const NOTICES_TOLD_MAX: usize = 1000;
/// Whole segments that are read at once.
pub const DEEP_READS_MAX: usize = 8;
/// Ends of segments that are read at once.
pub const QUICK_READS_MAX: usize = 32;
/// Objects of the journal that are read at once.
pub const JOURNAL_READS_MAX: usize = 8;
/// Reads of an object that makes no sense before it counts as damaged.
pub const READS_MAX: u32 = 3;
/// Sessions that the journal does not know and that are looked up again at the end, with what is
/// odd about them; of further ones nothing is said but their number.
pub const UNKNOWN_SESSIONS_MAX: usize = 10_000;
/// Ranges of void segments that are kept to explain gaps.
pub const VOID_RANGES_MAX: usize = 100_000;
/// Segments behind a missing place of an open chain that a crash can leave: as many as a session
/// may have in flight. One more shows that the missing place was there.
pub const IN_FLIGHT_MAX: u64 = 64;
/// Times that the journal is read again because it moved on meanwhile.
pub const JOURNAL_PASSES_MAX: u32 = 5;
/// Footers that a rebuild takes into the index at once.
pub const ADOPTED_MAX: usize = 256;
/// Bytes of an object of a session: nothing longer is read.
pub const SESSION_OBJECT_BYTES_MAX: u64 = 16 * 1024 * 1024;

const _: () = assert!(SEGMENT_OBJECT_BYTES_MAX < 16 * 1024 * 1024);
