//! Shares of cold reads: all, a part, in which order.

use futures::FutureExt as _;

use super::*;

const ALL: u32 = 10 * 1024 * 1024;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[tokio::test]
async fn who_is_alone_gets_all_and_who_comes_later_a_share_in_turn() {
    let reads = ColdReads::new(ALL);
    let alone = reads.grant(u64::from(ALL), at(0)).await;

    let mut second = Box::pin(reads.grant(u64::from(ALL), at(0)));
    let mut third = Box::pin(reads.grant(1, at(0)));
    let early = ((&mut second).now_or_never(), (&mut third).now_or_never());
    drop(alone);

    assert!(early.0.is_none() && early.1.is_none());
    assert_eq!(second.await.bytes, COLD_SHARE_BYTES);
    assert_eq!(third.await.bytes, 1);
    assert_eq!(reads.grant(u64::MAX, at(0)).await.bytes, u64::from(ALL));
}

#[tokio::test]
async fn nobody_gets_more_than_there_is_and_nothing_waits_for_nothing() {
    let reads = ColdReads::new(0);
    let all = reads.grant(u64::MAX, at(0)).await;

    assert_eq!(all.bytes, 1);
    assert_eq!(reads.grant(0, at(0)).now_or_never().unwrap().bytes, 0);
}

#[tokio::test]
async fn a_share_is_no_more_than_its_limit_even_for_one_byte_past_it() {
    let reads = ColdReads::new(ALL);
    let most = reads.grant(u64::from(ALL) - COLD_SHARE_BYTES, at(0)).await;

    let share = reads.grant(COLD_SHARE_BYTES + 1, at(0)).now_or_never();

    assert_eq!(share.unwrap().bytes, COLD_SHARE_BYTES, "all that was left");
    drop(most);
}

#[tokio::test]
async fn the_oldest_records_go_first_and_who_gives_up_holds_up_nobody() {
    let reads = ColdReads::new(ALL);
    let all = reads.grant(u64::MAX, at(0)).await;
    let share = u64::MAX;
    let mut newest = Box::pin(reads.grant(share, at(30)));
    let mut middle = Box::pin(reads.grant(share, at(20)));
    let mut oldest = Box::pin(reads.grant(share, at(10)));
    for waiting in [&mut newest, &mut middle, &mut oldest] {
        assert!(waiting.now_or_never().is_none());
    }

    drop(all);

    // There are two shares and a half.
    let oldest = (&mut oldest).now_or_never().unwrap();
    assert!((&mut newest).now_or_never().is_none());
    let middle = (&mut middle).now_or_never().unwrap();
    let mut small = Box::pin(reads.grant(1, at(40)));
    assert!((&mut small).now_or_never().is_none(), "behind the newest");
    drop(newest);
    assert_eq!(small.await.bytes, 1);
    drop((oldest, middle));
    let shared = Arc::clone(&reads.shared);
    assert_eq!(shared.lock().free, u64::from(ALL));
    assert!(shared.lock().by_age.is_empty());
}

#[tokio::test]
async fn who_is_passed_over_has_its_turn_when_it_has_waited_longest() {
    let reads = ColdReads::new(1);
    let mut held = reads.grant(1, at(0)).await;
    let mut newest = Box::pin(reads.grant(1, at(30)));
    assert!((&mut newest).now_or_never().is_none());
    for _ in 1..COLD_TURNS {
        let mut older = Box::pin(reads.grant(1, at(10)));
        assert!((&mut older).now_or_never().is_none());
        drop(held);
        held = (&mut older).now_or_never().unwrap();
        assert!((&mut newest).now_or_never().is_none());
    }
    let mut older = Box::pin(reads.grant(1, at(10)));
    assert!((&mut older).now_or_never().is_none());

    drop(held);

    assert!((&mut older).now_or_never().is_none());
    let turn = (&mut newest).now_or_never().unwrap();
    drop(turn);
    assert_eq!(older.await.bytes, 1);
}

#[tokio::test]
async fn a_share_that_came_to_somebody_gone_is_given_on() {
    let reads = ColdReads::new(1);
    let one = reads.grant(1, at(0)).await;
    let mut gone = Box::pin(reads.grant(1, at(10)));
    let mut next = Box::pin(reads.grant(1, at(20)));
    assert!((&mut gone).now_or_never().is_none());
    assert!((&mut next).now_or_never().is_none());

    drop(one);
    drop(gone);

    assert_eq!(next.now_or_never().unwrap().bytes, 1);
}
