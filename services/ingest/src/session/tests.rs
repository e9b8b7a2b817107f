//! Places, replays, ends and times of one session; what needs real uploads is in `tests/produce`.

use esker_metadata_api::{BatchVerdict, ReserveReply};
use esker_types::{ClusterId, Offset, SequencerEpoch};
use tokio::sync::oneshot;

use super::*;
use crate::fixture::{SESSION, Wanted, at, batch, numbers, sequenced, wanted};
use crate::slots::{Outcome, Promise, SlotTimes};

fn session() -> Session {
    Session::new(Registered {
        session: SESSION,
        epoch: SequencerEpoch::FIRST,
        cluster: ClusterId::from_bytes([2; 16]),
    })
}

fn sealed(session: &Session, batches: Vec<AdmittedBatch>) -> SealedSegment {
    SealedSegment {
        id: session.next(),
        batches,
    }
}

/// Puts one batch in flight at the next place.
fn fly(session: &mut Session, wanted: Wanted) -> oneshot::Receiver<Outcome> {
    let (batch, outcome) = batch(wanted);
    let verdicts = vec![BatchVerdict::Placed {
        base_offset: Offset::ZERO,
        log_start: Offset::ZERO,
    }];
    let judged = sealed(session, vec![batch]).judge(&ReserveReply { verdicts });
    session.place(judged.unwrap().reserved.unwrap(), at(0));
    outcome
}

fn replay() -> (ReplaySlot, oneshot::Receiver<Outcome>) {
    let times = SlotTimes {
        received: at(0),
        deadline: at(10),
        log_append_time: None,
    };
    let (slot, outcome) = ReplySlot::new(times, std::sync::Arc::default());
    let promise = Promise {
        base_offset: Offset::ZERO,
        log_start: Offset::ZERO,
    };
    (ReplaySlot { slot, promise }, outcome)
}

fn end(index: u64) -> SessionEnd {
    SessionEnd {
        end: ChainIndex::new(index),
    }
}

#[test]
fn the_end_acknowledges_what_lies_below_and_gives_the_rest_back_in_order() {
    let mut session = session();
    let mut committed = fly(&mut session, wanted(0));
    let mut void = fly(&mut session, wanted(1));
    let _also_void = fly(&mut session, wanted(2));

    let back = session.end(end(1), at(1)).unwrap();

    assert!(committed.try_recv().unwrap().is_ok());
    assert_eq!(numbers(&back), [1, 2]);
    assert!(
        void.try_recv().is_err(),
        "not answered: it is offered again"
    );
    assert!(session.is_idle());
}

#[test]
fn a_refused_place_voids_itself_and_all_behind_it() {
    let mut session = session();
    let _first = fly(&mut session, wanted(0));
    let _refused = fly(&mut session, wanted(1));
    let _behind = fly(&mut session, wanted(2));

    let void = session.void_from(ChainIndex::new(1));

    assert_eq!(numbers(&void), [1, 2]);
    assert_eq!(session.in_flight_count(), 1);
}

#[test]
fn a_replay_waits_with_its_original_and_is_handed_back_when_there_is_none() {
    let mut session = session();
    let _original = fly(&mut session, sequenced(0));
    let (with_original, mut outcome) = replay();
    let (without, _) = replay();

    let attached = session.attach(ChainIndex::ZERO, with_original, at(1));
    let nowhere = session.attach(ChainIndex::new(1), without, at(1));
    session.end(end(1), at(2)).unwrap();

    assert!(attached.is_ok());
    let original = ChainIndex::new(1);
    let (_, mismatch) = nowhere.unwrap_err();
    assert_eq!(mismatch, ReplyMismatch::Original { original });
    assert!(outcome.try_recv().unwrap().is_ok());
}

#[test]
fn nobody_awaits_a_session_whose_batches_were_all_told_unknown() {
    let mut session = session();
    let due = Wanted {
        deadline: 5,
        ..wanted(0)
    };
    let _outcome = fly(&mut session, due);

    let before = (session.expire(at(4)), session.is_awaited());
    let after = (session.expire(at(5)), session.is_awaited());

    assert_eq!(before, (Some(at(5)), true));
    assert_eq!(after, (None, false));
    assert_eq!(session.in_flight_count(), 1, "it goes on being decided");
}

#[test]
fn a_reservation_that_may_have_been_heard_keeps_its_set_of_batches() {
    let due = Wanted {
        deadline: 5,
        ..sequenced(0)
    };
    let is_due = |slot: &ReplySlot| (slot.deadline() <= at(5)).then_some(AppendError::NotReserved);
    for (attempt, pinned, left) in [
        (Attempt::InFlight, false, 1),
        (Attempt::RetryAt(at(9)), true, 1),
        (Attempt::RetryAt(at(9)), false, 0),
    ] {
        let mut session = session();
        let (batch, mut outcome) = batch(due);
        let mut reserving = Reserving::new(sealed(&session, vec![batch]), at(0));
        reserving.attempt = attempt;
        reserving.pinned = pinned;
        session.reserving = Some(reserving);

        session.expire_reserving(at(5), is_due);

        let kept = session
            .reserving
            .map_or(0, |kept| kept.sealed.batches.len());
        assert_eq!(kept, left, "{attempt:?} {pinned}");
        let told = outcome.try_recv().unwrap().unwrap_err();
        assert_eq!(matches!(told, AppendError::Undecided), left == 1);
    }
}

#[test]
fn a_stop_tells_each_batch_what_is_known_of_it() {
    let mut session = session();
    let mut flying = fly(&mut session, wanted(0));
    let (waiting, mut unheard) = batch(wanted(1));
    let mut reserving = Reserving::new(sealed(&session, vec![waiting]), at(0));
    reserving.attempt = Attempt::RetryAt(at(1));
    session.reserving = Some(reserving);

    session.give_up();

    assert!(matches!(flying.try_recv(), Ok(Err(AppendError::Undecided))));
    assert!(matches!(unheard.try_recv(), Ok(Err(AppendError::Stopping))));
    assert!(session.is_idle());
}
