//! Claims about what the HTTP front is told of appends.

use super::*;

#[test]
fn a_batch_that_is_too_large_is_told_as_such() {
    let cause = ValidateError::TooLarge {
        batch_bytes: 9,
        batch_bytes_max: 8,
    };
    let large = AppendError::Invalid(Arc::new(cause));

    let problem = append_problem(PartitionIndex::default(), Manner::Plain, &large);
    let other = append_problem(
        PartitionIndex::default(),
        Manner::Plain,
        &AppendError::Transactional,
    );

    assert_eq!(problem.kind, ProblemKind::TooLarge);
    assert!(problem.detail.contains("at most 8"), "{}", problem.detail);
    assert_eq!(other.kind, ProblemKind::Refused);
}

#[test]
fn what_a_condition_and_a_key_ask_for_is_told_as_such() {
    let end = Offset::new(7).unwrap();
    let other_end = AppendError::Refused(ProduceRefusal::UnexpectedEnd { end });
    let out_of_order = AppendError::Refused(ProduceRefusal::OutOfOrderSequence);
    let told = |manner, error| append_problem(PartitionIndex::default(), manner, error);

    let condition = told(Manner::Plain, &other_end);
    let key = told(Manner::WithKey, &out_of_order);
    let sequence = told(Manner::Plain, &out_of_order);

    assert_eq!(condition.kind, ProblemKind::UnexpectedOffset);
    assert_eq!(condition.end_offset, Some(7));
    assert_eq!(key.kind, ProblemKind::KeyReused);
    assert_eq!(sequence.kind, ProblemKind::Refused);
}
