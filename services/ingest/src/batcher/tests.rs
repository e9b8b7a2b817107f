//! Limits of a segment, order of lanes, and who is told what when something is given up.

use std::collections::BTreeMap;

use esker_types::ProducerEpoch;
use proptest::prelude::*;

use super::*;
use crate::fixture::{Wanted, at, batch, batches, numbers, segment, sequenced, wanted};

const ROOMY: SegmentLimits = SegmentLimits {
    bytes_max: 1_000_000,
    batches_max: 1000,
};

fn batcher(limits: SegmentLimits, wanted: impl IntoIterator<Item = Wanted>) -> Batcher {
    let mut batcher = Batcher::new(limits);
    for batch in batches(wanted) {
        batcher.add(batch, at(0));
    }
    batcher
}

fn lane(wanted: Wanted) -> Lane {
    batch(wanted).0.lane()
}

fn not_due(_: &ReplySlot) -> Option<AppendError> {
    None
}

#[test]
fn a_segment_ends_one_batch_before_it_has_too_many() {
    let limits = SegmentLimits {
        batches_max: 3,
        ..ROOMY
    };
    let mut batcher = batcher(limits, (0..4).map(wanted));

    assert!(batcher.is_full());
    assert_eq!(numbers(&batcher.seal(segment(0)).batches), [0, 1, 2]);
    assert!(!batcher.is_full());
    assert_eq!(numbers(&batcher.seal(segment(1)).batches), [3]);
    assert!(batcher.is_empty());
}

#[test]
fn a_segment_ends_one_batch_before_it_has_too_many_bytes() {
    let bytes = batch(wanted(0)).0.body.batch_bytes();
    let limits = SegmentLimits {
        bytes_max: 2 * bytes,
        ..ROOMY
    };
    let mut two = batcher(limits, [wanted(0), wanted(1)]);
    let mut past = batcher(
        SegmentLimits {
            bytes_max: 2 * bytes - 1,
            ..ROOMY
        },
        [wanted(0), wanted(1)],
    );

    assert_eq!(numbers(&two.seal(segment(0)).batches), [0, 1]);
    assert_eq!(numbers(&past.seal(segment(0)).batches), [0]);
}

#[test]
fn a_batch_above_the_limit_of_a_segment_goes_alone() {
    let limits = SegmentLimits {
        bytes_max: 1,
        ..ROOMY
    };
    let mut batcher = batcher(limits, [wanted(0), wanted(1)]);

    assert_eq!(numbers(&batcher.seal(segment(0)).batches), [0]);
}

#[test]
fn a_segment_is_grouped_by_partition_and_keeps_the_order_inside() {
    let of = |partition, number| Wanted {
        partition,
        ..wanted(number)
    };
    let mut batcher = batcher(ROOMY, [of(2, 0), of(1, 1), of(2, 2), of(1, 3)]);

    let sealed = batcher.seal(segment(0));

    assert_eq!(numbers(&sealed.batches), [1, 3, 0, 2]);
}

#[test]
fn a_deferred_batch_holds_back_its_producer_and_nobody_else() {
    let mut batcher = Batcher::new(ROOMY);
    let deferred = batches([sequenced(0)]);
    for batch in batches([sequenced(1), wanted(10)]) {
        batcher.add(batch, at(0));
    }

    batcher.defer(deferred, at(0));
    batcher.add(batch(sequenced(2)).0, at(0));
    let meanwhile = batcher.seal(segment(0));
    let retry_at = batcher.next_wake().unwrap();
    batcher.wake(retry_at);
    let later = batcher.seal(segment(1));

    assert_eq!(numbers(&meanwhile.batches), [10]);
    assert_eq!(retry_at, at(0).after(DEFER_DELAY_FIRST));
    assert_eq!(numbers(&later.batches), [0, 1, 2]);
}

#[test]
fn each_deferral_doubles_the_wait_up_to_its_limit() {
    let waits: Vec<_> = (0..8).map(defer_delay).collect();

    assert_eq!(waits[0], DEFER_DELAY_FIRST);
    assert_eq!(waits[1], 2 * DEFER_DELAY_FIRST);
    assert_eq!(waits[7], DEFER_DELAY_MAX);
    assert_eq!(defer_delay(u32::MAX), DEFER_DELAY_MAX);
}

#[test]
fn lanes_of_a_lost_session_wait_and_what_is_void_goes_first() {
    let mut batcher = batcher(ROOMY, [wanted(2), sequenced(20)]);
    let lanes = BTreeSet::from([lane(wanted(0))]);

    batcher.set_undecided(&lanes);
    batcher.add(batch(wanted(3)).0, at(0));
    let meanwhile = batcher.seal(segment(0));
    batcher.offer_again(batches([wanted(0), wanted(1)]));
    batcher.set_undecided(&BTreeSet::new());
    let later = batcher.seal(segment(1));

    assert_eq!(numbers(&meanwhile.batches), [20]);
    assert_eq!(numbers(&later.batches), [0, 1, 2, 3]);
}

#[test]
fn what_is_offered_again_without_a_held_lane_goes_in_front() {
    let mut batcher = batcher(ROOMY, [wanted(2)]);

    batcher.offer_again(batches([wanted(0), wanted(1)]));

    assert_eq!(numbers(&batcher.seal(segment(0)).batches), [0, 1, 2]);
}

#[test]
fn a_given_up_batch_takes_what_is_behind_it_in_its_producers_lane() {
    let due = Wanted {
        deadline: 5,
        ..sequenced(0)
    };
    let (first, mut first_outcome) = batch(due);
    let (second, mut second_outcome) = batch(sequenced(1));
    let mut batcher = batcher(ROOMY, [wanted(10)]);
    batcher.add(first, at(0));
    batcher.add(second, at(0));
    let is_due = |slot: &ReplySlot| (slot.deadline() <= at(5)).then_some(AppendError::NotReserved);

    let next = batcher.expire(at(5), is_due);

    assert!(matches!(
        first_outcome.try_recv(),
        Ok(Err(AppendError::NotReserved))
    ));
    assert!(matches!(
        second_outcome.try_recv(),
        Ok(Err(AppendError::NotReserved))
    ));
    assert_eq!(next, Some(at(1000)));
    assert_eq!(numbers(&batcher.seal(segment(0)).batches), [10]);
}

/// Seed 13 of the step simulation: what was sent on in the new epoch was placed as its first.
#[test]
fn a_new_epoch_given_up_with_the_old_one_is_remembered_as_well() {
    let of_epoch_1 = |number| {
        let (mut batch, outcome) = batch(sequenced(number));
        let span = batch.body.summary.producer.as_mut().unwrap();
        span.producer_epoch = ProducerEpoch::from_wire(1).unwrap();
        (batch, outcome)
    };
    let due = Wanted {
        deadline: 5,
        ..sequenced(0)
    };
    let mut batcher = Batcher::new(ROOMY);
    for batch in [batch(due).0, of_epoch_1(0).0, of_epoch_1(3).0] {
        batcher.add(batch, at(0));
    }
    let is_due = |slot: &ReplySlot| (slot.deadline() <= at(5)).then_some(AppendError::NotReserved);
    batcher.expire(at(5), is_due);

    let (behind, mut outcome) = of_epoch_1(8);
    batcher.add(behind, at(6));
    let is_refused = batcher.is_nothing_ready();
    batcher.add(of_epoch_1(0).0, at(6));

    assert!(is_refused);
    assert!(matches!(
        outcome.try_recv(),
        Ok(Err(AppendError::NotReserved))
    ));
    assert_eq!(numbers(&batcher.seal(segment(0)).batches), [0]);
}

/// Seed 2858 of the step simulation: the first batch of a producer was undecided in a lost session
/// and its client told "unknown"; what stood behind it was placed as the first.
#[test]
fn what_stands_behind_a_forgotten_undecided_batch_is_not_offered_until_that_comes_again() {
    let over = |connection, number| {
        batch(Wanted {
            connection: Some(connection),
            ..sequenced(number)
        })
    };
    let mut batcher = batcher(ROOMY, [wanted(10)]);
    batcher.set_undecided(&BTreeSet::from([lane(sequenced(0))]));
    let (behind, mut outcome) = over(1, 2);
    for batch in [behind, over(2, 0).0, over(2, 2).0] {
        batcher.add(batch, at(0));
    }
    let mut undecided = Gaps::default();
    undecided.open(&over(1, 0).0.body, AppendError::Undecided);

    batcher.forget(undecided, at(1));
    batcher.set_undecided(&BTreeSet::new());
    let (late, mut late_outcome) = over(1, 5);
    batcher.add(late, at(500));

    for outcome in [&mut outcome, &mut late_outcome] {
        assert!(matches!(
            outcome.try_recv(),
            Ok(Err(AppendError::Undecided))
        ));
    }
    assert_eq!(numbers(&batcher.seal(segment(0)).batches), [10, 0, 2]);
}

#[test]
fn batches_without_a_sequence_are_given_up_one_by_one() {
    let due = Wanted {
        deadline: 5,
        ..wanted(0)
    };
    let mut batcher = batcher(ROOMY, [due, wanted(1)]);
    let is_due = |slot: &ReplySlot| (slot.deadline() <= at(5)).then_some(AppendError::NotReserved);

    batcher.expire(at(5), is_due);

    assert_eq!(numbers(&batcher.seal(segment(0)).batches), [1]);
}

#[test]
fn a_gap_fails_what_is_behind_it_where_ever_it_waits_and_nobody_else() {
    let in_ready = batch(sequenced(0)).0;
    let in_held = Wanted {
        producer: Some(6),
        ..wanted(20)
    };
    let mut batcher = Batcher::new(ROOMY);
    batcher.set_undecided(&BTreeSet::from([lane(in_held)]));
    let (behind, mut behind_outcome) = batch(sequenced(1));
    let (waiting, mut waiting_outcome) = batch(in_held);
    for batch in [behind, waiting, batch(wanted(10)).0] {
        batcher.add(batch, at(0));
    }
    let mut gaps = Gaps::default();
    gaps.open(&in_ready.body, AppendError::Voided);
    gaps.open(&batch(in_held).0.body, AppendError::StoreRefused);
    gaps.open(&batch(wanted(10)).0.body, AppendError::Voided);

    batcher.fail_behind(gaps, at(0));

    let told = behind_outcome.try_recv();
    assert!(matches!(told, Ok(Err(AppendError::Voided))));
    let told = waiting_outcome.try_recv();
    assert!(matches!(told, Ok(Err(AppendError::StoreRefused))));
    assert_eq!(
        numbers(&batcher.seal(segment(0)).batches),
        [10],
        "no sequence, no gap"
    );
}

#[test]
fn what_waits_for_a_decision_is_told_unknown_when_its_time_is_over() {
    let mut batcher = Batcher::new(ROOMY);
    batcher.set_undecided(&BTreeSet::from([lane(wanted(0))]));
    let (waiting, mut outcome) = batch(Wanted {
        deadline: 5,
        ..wanted(0)
    });
    batcher.add(waiting, at(0));

    let next = batcher.expire(at(5), not_due);

    assert!(matches!(
        outcome.try_recv(),
        Ok(Err(AppendError::Undecided))
    ));
    assert_eq!(next, None);
}

/// A step of a run that tries to break the order of lanes.
#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive { lane: u8 },
    Seal,
    Defer,
    Lose,
    Decide,
    Wake,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8).prop_map(|lane| Step::Arrive { lane }),
        2 => Just(Step::Seal),
        1 => Just(Step::Defer),
        1 => Just(Step::Lose),
        1 => Just(Step::Decide),
        1 => Just(Step::Wake),
    ]
}

/// A batcher and a log: what is sealed is written, deferred, or lost and offered again.
struct Run {
    batcher: Batcher,
    sealed: Option<SealedSegment>,
    lost: Vec<AdmittedBatch>,
    written: BTreeMap<Lane, Vec<i64>>,
    next: i32,
}

impl Run {
    fn write(&mut self) {
        for batch in self
            .sealed
            .take()
            .into_iter()
            .flat_map(|sealed| sealed.batches)
        {
            let number = numbers([&batch]);
            self.written.entry(batch.lane()).or_default().extend(number);
        }
    }

    fn seal(&mut self) {
        self.write();
        self.sealed = Some(self.batcher.seal(segment(0)));
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Arrive { lane } => {
                let producer = (lane % 2 == 0).then_some(3);
                self.next += 1;
                self.batcher.add(
                    batches([Wanted {
                        partition: u32::from(lane / 2),
                        producer,
                        ..wanted(self.next)
                    }])
                    .remove(0),
                    at(0),
                );
            }
            Step::Seal => self.seal(),
            Step::Defer => {
                let sealed = self.sealed.take();
                let batches = sealed.map_or_else(Vec::new, |sealed| sealed.batches);
                self.batcher.defer(batches, at(0));
            }
            Step::Lose if self.lost.is_empty() => {
                self.lost = self
                    .sealed
                    .take()
                    .map_or_else(Vec::new, |sealed| sealed.batches);
                let lanes = self.lost.iter().map(AdmittedBatch::lane).collect();
                self.batcher.set_undecided(&lanes);
            }
            Step::Lose => {}
            Step::Decide => {
                self.batcher.offer_again(std::mem::take(&mut self.lost));
                self.batcher.set_undecided(&BTreeSet::new());
            }
            Step::Wake => self.batcher.wake(at(100)),
        }
    }
}

proptest! {
    #[test]
    fn a_lane_is_written_whole_and_in_order_whatever_happens(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut run = Run {
            batcher: Batcher::new(SegmentLimits { batches_max: 3, ..ROOMY }),
            sealed: None,
            lost: Vec::new(),
            written: BTreeMap::new(),
            next: 0,
        };

        for step in steps {
            run.apply(step);
        }
        run.write();
        run.apply(Step::Decide);
        run.apply(Step::Wake);
        while !run.batcher.is_empty() {
            run.seal();
        }
        run.write();

        let count: usize = run.written.values().map(Vec::len).sum();
        prop_assert_eq!(i32::try_from(count), Ok(run.next));
        prop_assert_eq!(run.batcher.ready_bytes, 0);
        for numbers in run.written.values() {
            prop_assert!(numbers.is_sorted(), "{:?}", numbers);
        }
    }
}
