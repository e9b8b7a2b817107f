//! Verdicts sort the batches, contradictions are seen before anything is built, bytes are shared.

use esker_metadata_api::ProduceRefusal;
use esker_record::BatchHeader;
use esker_types::limits::OFFSET_MAX;
use esker_types::{ClusterId, SequencerEpoch, Timestamp};

use super::*;
use crate::fixture::{SESSION, Wanted, batches, numbers, segment, sequenced, wanted};

const REGISTERED: Registered = Registered {
    session: SESSION,
    epoch: SequencerEpoch::FIRST,
    cluster: ClusterId::from_bytes([2; 16]),
};

fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

fn placed_at(base_offset: u64) -> BatchVerdict {
    BatchVerdict::Placed {
        base_offset: offset(base_offset),
        log_start: Offset::ZERO,
    }
}

fn sealed(wanted: impl IntoIterator<Item = Wanted>) -> SealedSegment {
    SealedSegment {
        id: segment(3),
        batches: batches(wanted),
    }
}

fn mismatch(
    wanted: impl IntoIterator<Item = Wanted>,
    verdicts: Vec<BatchVerdict>,
) -> ReplyMismatch {
    let (sealed, mismatch) = sealed(wanted)
        .judge(&ReserveReply { verdicts })
        .unwrap_err();
    assert!(!sealed.batches.is_empty(), "the batches are handed back");
    mismatch
}

#[test]
fn the_question_names_the_place_and_what_is_written() {
    let sealed = sealed([sequenced(4)]);

    let request = sealed.request(&REGISTERED, ChainIndex::new(2));

    assert_eq!(
        (request.session, request.index),
        (SESSION, ChainIndex::new(3))
    );
    assert_eq!(request.written, ChainIndex::new(2));
    assert_eq!(request.batches, [sealed.batches[0].body.summary.clone()]);
}

#[test]
fn each_batch_goes_where_its_verdict_says() {
    let sealed = sealed((0..5).map(wanted));
    let base_offset = offset(7);
    let log_start = Offset::ZERO;
    let verdicts = vec![
        placed_at(10),
        BatchVerdict::Duplicate {
            base_offset,
            log_start,
        },
        BatchVerdict::DuplicateInFlight {
            original: ChainIndex::new(3),
            base_offset,
            log_start,
        },
        BatchVerdict::Deferred,
        BatchVerdict::Refused(ProduceRefusal::ProducerFenced),
    ];

    let verdicts = sealed.judge(&ReserveReply { verdicts }).unwrap();

    let reserved = verdicts.reserved.unwrap();
    assert_eq!(reserved.offsets, [offset(10)]);
    assert_eq!(
        numbers(verdicts.duplicates.iter().map(|(batch, _)| batch)),
        [1]
    );
    assert_eq!(verdicts.replays[0].0, ChainIndex::new(3));
    assert_eq!(numbers(&verdicts.deferred), [3]);
    assert_eq!(verdicts.refused[0].1, ProduceRefusal::ProducerFenced);
}

#[test]
fn without_a_placed_batch_there_is_no_segment() {
    let verdicts = vec![BatchVerdict::Deferred];

    let verdicts = sealed([wanted(0)])
        .judge(&ReserveReply { verdicts })
        .unwrap();

    assert!(verdicts.reserved.is_none());
}

#[test]
fn answers_that_do_not_fit_the_question_are_seen() {
    let two = || [wanted(0), wanted(1)];

    let count = mismatch(two(), vec![placed_at(0)]);
    let gap = mismatch(two(), vec![placed_at(0), placed_at(2)]);
    let back = mismatch(two(), vec![placed_at(5), placed_at(4)]);
    let past = mismatch([wanted(0)], vec![placed_at(OFFSET_MAX)]);
    let ahead = mismatch(
        [wanted(0)],
        vec![BatchVerdict::DuplicateInFlight {
            original: ChainIndex::new(4),
            base_offset: Offset::ZERO,
            log_start: Offset::ZERO,
        }],
    );

    assert!(matches!(
        count,
        ReplyMismatch::Count {
            verdicts: 1,
            batches: 2
        }
    ));
    assert_eq!(gap, ReplyMismatch::Offsets { found: offset(2) });
    assert_eq!(back, ReplyMismatch::Offsets { found: offset(4) });
    assert!(matches!(past, ReplyMismatch::Offsets { .. }));
    assert!(matches!(ahead, ReplyMismatch::Original { .. }));
}

#[test]
fn a_built_segment_has_the_reserved_offsets_and_its_batches_share_its_bytes() {
    let verdicts = vec![placed_at(40), placed_at(41)];
    let judged = sealed([sequenced(8), sequenced(9)]).judge(&ReserveReply { verdicts });
    let mut reserved = judged.unwrap().reserved.unwrap();

    let built = reserved.build(&REGISTERED, WriteId::from_bytes([4; 16]));

    let summaries = &built.footer.batches;
    assert!(
        summaries
            .iter()
            .map(|summary| summary.base_offset.get())
            .eq([40, 41])
    );
    assert_eq!(
        summaries[1].producer.map(|stamp| stamp.base_sequence),
        Some(9)
    );
    assert_eq!(summaries[1].max_timestamp, Timestamp::from_millis(9));
    for (body, summary) in reserved.bodies.iter().zip(summaries) {
        let header = BatchHeader::parse(&body.bytes).unwrap();
        assert_eq!(header.base_offset(), summary.base_offset.to_wire());
        let object = built.object.as_ptr_range();
        assert!(
            object.contains(&body.bytes.as_ptr()),
            "no second copy is kept"
        );
    }
}

#[test]
fn a_batch_that_was_built_once_can_be_built_again_at_another_offset() {
    let judge = |sealed: SealedSegment, at| {
        let verdicts = vec![placed_at(at)];
        let judged = sealed.judge(&ReserveReply { verdicts });
        judged.unwrap().reserved.unwrap()
    };
    let mut first = judge(sealed([sequenced(0)]), 40);
    let write_id = WriteId::from_bytes([4; 16]);
    let _lost = first.build(&REGISTERED, write_id);
    let slots = first.slots.withdraw(crate::error::AppendError::Voided);
    let batches = first.bodies.into_iter().zip(slots);
    let again = SealedSegment {
        id: segment(0),
        batches: batches
            .map(|(body, slot)| AdmittedBatch { body, slot })
            .collect(),
    };

    let built = judge(again, 7).build(&REGISTERED, write_id);

    assert_eq!(built.footer.batches[0].base_offset, offset(7));
}
