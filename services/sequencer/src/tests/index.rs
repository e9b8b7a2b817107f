//! Claims about answers to readers: look-ups and offset questions.

use esker_metadata_api::{ListedOffset, OffsetQuery, ReservationSummary};
use esker_types::{Offset, Timestamp};

use super::harness::*;

fn stamped(record_count: u32, millis: i64) -> ReservationSummary {
    ReservationSummary {
        max_timestamp: Timestamp::from_millis(millis),
        ..plain(0, record_count)
    }
}

/// Offsets 0..10 at 100 ms, 10..20 at 300 ms (both checkpointed), 20..30 at 200 ms, a gap, 35..40
/// at 300 ms, 40..50 undecided.
fn leader() -> Leader {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![stamped(10, 100)]);
    leader.reserve(1, 1, vec![stamped(10, 300)]);
    leader.written(1, 2);
    leader.checkpoint();
    leader.reserve(1, 2, vec![stamped(10, 200)]);
    leader.written(1, 3);
    leader.reserve(2, 0, vec![stamped(5, 900)]);
    leader.end(2, 0);
    leader.reserve(1, 3, vec![stamped(5, 300)]);
    leader.written(1, 4);
    leader.reserve(1, 4, vec![stamped(10, 999)]);
    leader
}

#[test]
fn a_look_up_begins_with_the_extent_that_holds_the_offset_or_follows_it() {
    let leader = leader();

    assert_eq!(spans(&leader.look_up(0, 15))[0], (10, 20));
    assert_eq!(spans(&leader.look_up(0, 20))[0], (20, 30));
    assert_eq!(spans(&leader.look_up(0, 31)), [(35, 40)], "from a gap");
    assert_eq!(leader.look_up(0, 40), []);
    assert_eq!(leader.look_up(0, 45), []);
    assert_eq!(leader.look_up(9, 0), []);
}

#[test]
fn a_look_up_tells_no_more_than_was_asked_for() {
    let leader = leader();

    let slice = leader.sequencer.look_up(&leader.state, at(0), offset(5), 2);

    assert_eq!(spans(&slice.extents), [(0, 10), (10, 20)]);
    assert_eq!(slice.high_watermark, offset(40));
    assert_eq!(slice.log_start, Offset::ZERO);
}

#[test]
fn offset_questions_are_answered_from_what_is_visible() {
    let leader = leader();
    let ask = |query, from| {
        let listed = leader
            .sequencer
            .list_offset(&leader.state, at(0), query, offset(from));
        match listed {
            ListedOffset::Inside(extent) => Ok(extent.base_offset.get()),
            other => Err(other),
        }
    };
    let time = |millis| OffsetQuery::AtTimestamp(Timestamp::from_millis(millis));

    let known = |value| Err(ListedOffset::Known(offset(value)));
    assert_eq!(ask(OffsetQuery::Latest, 0), known(40));
    assert_eq!(ask(OffsetQuery::Earliest, 0), known(0));
    assert_eq!(ask(OffsetQuery::MaxTimestamp, 0), Ok(10));
    assert_eq!(ask(OffsetQuery::MaxTimestamp, 20), Ok(35));
    assert_eq!(ask(time(0), 0), Ok(0));
    assert_eq!(ask(time(101), 0), Ok(10));
    assert_eq!(ask(time(201), 20), Ok(35));
    assert_eq!(ask(time(301), 0), Err(ListedOffset::Nothing));
    assert_eq!(
        ask(OffsetQuery::MaxTimestamp, 40),
        Err(ListedOffset::Nothing)
    );
}

#[test]
fn an_empty_partition_answers_nothing_but_its_ends() {
    let leader = Leader::new();
    let ask = |query| {
        leader
            .sequencer
            .list_offset(&leader.state, at(3), query, Offset::ZERO)
    };

    let zero = ListedOffset::Known(Offset::ZERO);
    assert_eq!(ask(OffsetQuery::Latest), zero);
    assert_eq!(ask(OffsetQuery::Earliest), zero);
    assert_eq!(ask(OffsetQuery::MaxTimestamp), ListedOffset::Nothing);
}
