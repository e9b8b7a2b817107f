//! Claims about what is remembered of a producer, D5 first.

use proptest::prelude::*;

use super::*;

fn epoch(value: i16) -> ProducerEpoch {
    ProducerEpoch::from_wire(value).unwrap()
}

fn batch(base_sequence: u32, record_count: u32, base_offset: u64) -> ProducerBatch {
    ProducerBatch {
        base_sequence: Sequence(base_sequence),
        record_count,
        base_offset: Offset::new(base_offset).unwrap(),
    }
}

#[test]
fn a_sequence_wraps_and_knows_what_is_ahead() {
    let last = Sequence::from_wire(i32::MAX).unwrap();

    assert_eq!(last.after(1), Sequence::ZERO);
    assert_eq!(last.after(3).to_wire(), 2);
    assert_eq!(Sequence::ZERO.steps_from(last), 1);
    assert!(Sequence::ZERO.is_ahead_of(last));
    assert!(!last.is_ahead_of(Sequence::ZERO));
    assert!(!last.is_ahead_of(last));
    assert_eq!(Sequence::from_wire(-1), None);
}

#[test]
fn a_log_remembers_as_many_batches_as_the_limit_says() {
    let mut log = ProducerLog::of(epoch(0), batch(0, 1, 0));
    for number in 1..=BATCHES_REMEMBERED {
        let number = u32::try_from(number).unwrap();
        log.insert(epoch(0), batch(number, 1, u64::from(number)));
    }

    assert_eq!(log.last().len(), BATCHES_REMEMBERED);
    assert_eq!(log.find(Sequence(0), 1), None);
    assert!(log.forgot(Sequence(0), 1));
    assert_eq!(log.find(Sequence(1), 1), Offset::new(1));
}

#[test]
fn what_lies_before_the_first_batch_ever_seen_was_never_committed() {
    let mut log = ProducerLog::of(epoch(0), batch(100, 10, 0));
    for number in 1..6 {
        log.insert(epoch(0), batch(100 + number * 10, 10, u64::from(number)));
    }

    assert!(log.forgot(Sequence(100), 10));
    assert!(!log.forgot(Sequence(90), 10));
    assert!(!log.forgot(Sequence(95), 10));
    assert!(!log.forgot(Sequence(105), 10), "not wholly before");
    assert!(!log.forgot(Sequence(160), 10), "ahead");
}

#[test]
fn stored_parts_that_no_log_can_have_are_refused() {
    let one = batch(0, 1, 5);
    let other = batch(1, 1, 6);
    let six = (0..6).map(|at| batch(at, 1, u64::from(at))).collect();

    for (records, last) in [
        (0, Vec::new()),
        (1, vec![one, other]),
        (2, vec![other, one]),
        (2, vec![one, one]),
        (6, six),
        (0, vec![batch(0, 0, 1)]),
    ] {
        assert_eq!(ProducerLog::from_parts(epoch(0), records, last), None);
    }
    assert!(ProducerLog::from_parts(epoch(0), 2, vec![one, other]).is_some());
}

proptest! {
    /// D5: the order in which committed batches are told does not matter.
    #[test]
    fn a_log_is_a_function_of_the_set_of_batches(
        batches in prop::collection::vec((0_i16..3, 1_u32..5), 1..20),
        order in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let told: Vec<_> = (0_u64..)
            .zip(&batches)
            .map(|(at, (number, records))| (epoch(*number), batch(7, *records, at)))
            .collect();
        let mut shuffled = told.clone();
        for (from, to) in order.iter().enumerate() {
            let from = from % shuffled.len();
            let to = to.index(shuffled.len());
            shuffled.swap(from, to);
        }

        let fold = |told: &[(ProducerEpoch, ProducerBatch)]| {
            let mut log = ProducerLog::of(told[0].0, told[0].1);
            for (number, batch) in &told[1..] {
                log.insert(*number, *batch);
            }
            log
        };

        prop_assert_eq!(fold(&told), fold(&shuffled));
    }
}
