//! What goes into a segment comes out of it: golden bytes, extents, any batches.

use bytes::Bytes;
use esker_record::{ReadLimits, read_records, split_batches};
use esker_types::{ObjectHeader, ObjectKind};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{batch, head, partition, placed, producer, small};
use crate::{Extent, SegmentBuilder, SegmentFooter, TailRead, check_segment, read_tail};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn object_bytes(object: &Bytes) -> u64 {
    u64::try_from(object.len()).unwrap()
}

#[test]
fn golden_bytes_of_a_segment() {
    let golden = include_str!("../../../../docs/formats/segment.hex");

    let built = small();

    let golden: String = golden.split_whitespace().collect();
    assert_eq!(hex(&built.object), golden);
}

#[test]
fn a_segment_says_what_was_put_into_it() {
    let built = small();

    let (header, footer) = check_segment(&built.object).unwrap();

    assert_eq!(footer, built.footer);
    assert_eq!(
        (footer.segment, footer.epoch),
        (head().segment, head().epoch)
    );
    assert_eq!(header.kind, ObjectKind::Segment);
    assert_eq!(
        (header.cluster, header.write_id),
        (head().cluster, head().write_id)
    );
    let ends: Vec<u64> = footer
        .batches
        .iter()
        .map(|batch| batch.end_offset().get())
        .collect();
    assert_eq!(ends, [103, 104, 2]);
    assert_eq!(footer.batches[0].producer, Some(producer(9)));
    assert!(footer.batches[0].transactional && !footer.batches[1].transactional);
}

#[test]
fn extents_are_the_runs_of_the_partitions() {
    let footer = small().footer;
    let [one, two, three] = footer.batches[..] else {
        panic!("three batches");
    };

    let extents = footer.extents();

    let [first, second] = extents[..] else {
        panic!("two partitions");
    };
    assert_eq!(first.topic_partition, partition(0xaa, 1));
    assert_eq!(
        (first.base_offset.get(), first.end_offset.get()),
        (100, 104)
    );
    assert_eq!(
        (first.range.start(), first.range.end()),
        (one.range.start(), two.range.end())
    );
    assert_eq!(first.max_timestamp.millis(), 1002);
    let whole = Extent {
        topic_partition: three.topic_partition,
        base_offset: three.base_offset,
        end_offset: three.end_offset(),
        range: three.range,
        max_timestamp: three.max_timestamp,
    };
    assert_eq!(second, whole);
}

#[test]
fn a_batch_lies_in_its_segment_stamped_and_otherwise_unchanged() {
    let built = small();
    let before = batch(2, None);
    let range = built.footer.batches[2].range;

    let start = usize::try_from(range.start()).unwrap();
    let end = usize::try_from(range.end()).unwrap();
    let after = built.object.slice(start..end);

    assert_eq!(after[16..], before[16..]);
    let records = read_records(&after, &ReadLimits::default()).unwrap();
    assert_eq!(
        records
            .map(|record| record.unwrap().offset)
            .collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn the_same_batches_make_the_same_bytes() {
    assert_eq!(small().object, small().object);
}

/// Batches of some partitions: (partition, base offset, (records, of a producer)).
fn runs() -> impl Strategy<Value = Vec<(u64, Vec<(i64, bool)>)>> {
    vec(
        (0_u64..1 << 62, vec((1_i64..30, any::<bool>()), 1..5)),
        1..12,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_batches_come_back(runs in runs()) {
        let mut builder = SegmentBuilder::with_capacity(head(), 0);
        let mut pushed = Vec::new();
        for (number, (base, batches)) in (0_u32..).zip(&runs) {
            let mut base = *base;
            for (count, idempotent) in batches {
                let batch = batch(*count, idempotent.then(|| producer(3)));
                let placed = placed(partition(1, number), base, &batch);
                builder.push(placed, &batch);
                base += u64::from(placed.record_count);
                pushed.push((placed, batch));
            }
        }

        let built = builder.finish();

        let (header, footer) = check_segment(&built.object).unwrap();
        prop_assert_eq!(&footer, &built.footer);
        prop_assert_eq!(header.body_bytes + 64, object_bytes(&built.object));
        prop_assert_eq!(footer.extents().len(), runs.len());
        let read: Vec<_> = footer.batches.iter().map(|batch| batch.placed()).collect();
        let expected: Vec<_> = pushed.iter().map(|(placed, _)| *placed).collect();
        prop_assert_eq!(read, expected);
        let end = footer.batches.last().unwrap().range.end();
        let body = &built.object[64..usize::try_from(end).unwrap()];
        for (split, (placed, batch)) in split_batches(body).zip(&pushed) {
            let (header, range) = split.unwrap();
            prop_assert_eq!(header.base_offset(), placed.base_offset.to_wire());
            prop_assert_eq!(&body[range][16..], &batch[16..]);
        }
        let encoded = footer.encode();
        prop_assert_eq!(SegmentFooter::decode(&encoded), Ok(footer.clone()));
        let tail = read_tail(object_bytes(&built.object), &built.object).unwrap();
        prop_assert_eq!(tail, TailRead::Footer(footer));
    }

    #[test]
    fn a_footer_is_found_from_every_tail(runs in runs(), cut in any::<prop::sample::Index>()) {
        let mut builder = SegmentBuilder::new(head());
        for (number, (base, batches)) in (0_u32..).zip(&runs) {
            let batch = batch(batches[0].0, None);
            builder.push(placed(partition(1, number), *base, &batch), &batch);
        }
        let built = builder.finish();
        let whole = object_bytes(&built.object);
        let tail = &built.object[cut.index(built.object.len())..];

        let mut read = read_tail(whole, tail).unwrap();
        // At most one more read, or two when not even the trailer was there.
        for _ in 0..2 {
            if let TailRead::NeedMore { tail_bytes } = read {
                prop_assert!(tail_bytes <= whole);
                let start = built.object.len() - usize::try_from(tail_bytes).unwrap();
                read = read_tail(whole, &built.object[start..]).unwrap();
            }
        }

        prop_assert_eq!(read, TailRead::Footer(built.footer));
    }

    #[test]
    fn foreign_bytes_never_panic(noise in vec(any::<u8>(), 0..400), object_bytes: u64) {
        let _ = SegmentFooter::decode(&noise);
        let _ = read_tail(object_bytes, &noise);
        let _ = read_tail(u64::try_from(noise.len()).unwrap(), &noise);
        let _ = check_segment(&noise);
        let _ = ObjectHeader::decode(&noise);
    }

    #[test]
    fn what_a_mutated_footer_decodes_to_is_written_back_as_it_was(
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut encoded = small().footer.encode();
        let at = at.index(encoded.len());
        encoded[at] = byte;

        if let Ok(footer) = SegmentFooter::decode(&encoded) {
            prop_assert_eq!(footer.encode(), encoded);
        }
    }
}
