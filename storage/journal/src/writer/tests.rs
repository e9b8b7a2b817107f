//! What the handle refuses, and how it waits.

use std::time::Duration;

use esker_env::{SystemClock, timeout};

use super::*;

/// A writer whose task is played by the test.
fn writer() -> (JournalWriter, Arc<Shared>, mpsc::Receiver<PendingCommand>) {
    let (outbox, inbox) = mpsc::channel(COMMANDS_QUEUED_MAX);
    let shared = Arc::new(Shared::new(Arc::new(SystemClock::new()), outbox));
    let (_, answered) = watch::channel(Answered::default());
    (JournalWriter::new(shared.clone(), answered), shared, inbox)
}

fn command(bytes: usize) -> Bytes {
    Bytes::from(vec![0; bytes])
}

#[tokio::test(start_paused = true)]
async fn the_largest_command_is_taken_and_one_byte_more_is_not() {
    let (writer, _shared, _inbox) = writer();
    let command_bytes = COMMAND_BYTES_MAX + 1;

    assert!(writer.append(command(COMMAND_BYTES_MAX)).await.is_ok());

    let refused = AppendError::TooLarge { command_bytes };
    assert_eq!(writer.append(command(command_bytes)).await, Err(refused));
    assert_eq!(
        writer.try_append(command(command_bytes)),
        Err(TryAppendError::Refused(refused))
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_hands_the_command_back_or_waits_until_an_event_is_taken() {
    let (writer, _shared, mut inbox) = writer();
    let quarter = command(APPEND_QUEUE_BYTES_MAX / 4 - COMMAND_OVERHEAD_BYTES);
    for _ in 0..4 {
        writer.append(quarter.clone()).await.unwrap();
    }
    let clock = SystemClock::new();
    let hour = Duration::from_secs(3600);

    let full = writer.try_append(command(1));
    let waiting = timeout(&clock, hour, writer.append(command(1))).await;

    assert_eq!(
        full,
        Err(TryAppendError::Full {
            command: command(1)
        })
    );
    assert!(waiting.is_err());
    let stats = writer.stats();
    assert_eq!(stats.queue_bytes, stats.queue_bytes_max);
    assert_eq!(stats.refusals, 1);
    drop(inbox.recv().await);
    assert_eq!(writer.append(command(1)).await, Ok(AppendTicket(4)));
}

#[tokio::test(start_paused = true)]
async fn tickets_follow_the_order_of_the_queue_and_refusals_take_none() {
    let (writer, _shared, mut inbox) = writer();

    let first = writer.append(command(1)).await.unwrap();
    let _ = writer.append(command(COMMAND_BYTES_MAX + 1)).await;
    let second = writer.try_append(command(2)).unwrap();

    assert_eq!((first.get(), second.get()), (0, 1));
    assert_eq!(inbox.recv().await.unwrap().ticket, first);
    assert_eq!(inbox.recv().await.unwrap().ticket, second);
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_a_place_for_every_command_that_has_room() {
    let (writer, _shared, _inbox) = writer();

    for _ in 0..COMMANDS_QUEUED_MAX {
        writer.try_append(Bytes::new()).unwrap();
    }

    let full = writer.try_append(Bytes::new());
    assert!(matches!(full, Err(TryAppendError::Full { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_closed_journal_wakes_those_who_wait_for_room() {
    let (writer, shared, _inbox) = writer();
    let whole = command(COMMAND_BYTES_MAX);
    for _ in 0..3 {
        writer.append(whole.clone()).await.unwrap();
    }
    let waiting = writer.append(whole.clone());
    let closing = async { shared.close() };

    let (outcome, ()) = futures::future::join(waiting, closing).await;

    assert_eq!(outcome, Err(AppendError::Closed));
    let refused = writer.try_append(Bytes::new());
    assert_eq!(refused, Err(TryAppendError::Refused(AppendError::Closed)));
}

#[test]
fn a_snapshot_stops_at_its_limits() {
    let (writer, shared, _inbox) = writer();
    let roll = RollNumber::new(1);
    shared.want_snapshot(roll);
    let part_bytes = SNAPSHOT_PART_BYTES_MAX + 1;
    let part_count = SNAPSHOT_PARTS_MAX + 1;

    let large = writer.snapshot(roll, vec![command(part_bytes)]);
    let many = writer.snapshot(roll, vec![Bytes::new(); part_count]);

    assert_eq!(large, Err(SnapshotRefused::PartTooLarge { part_bytes }));
    assert_eq!(many, Err(SnapshotRefused::TooManyParts { part_count }));
    let largest = vec![command(SNAPSHOT_PART_BYTES_MAX)];
    assert_eq!(writer.snapshot(roll, largest), Ok(()), "still wanted");
    assert_eq!(shared.take_snapshot().unwrap().roll, roll);
    assert!(shared.take_snapshot().is_none());
}

#[test]
fn a_newer_wish_replaces_a_snapshot_that_was_not_taken() {
    let (writer, shared, _inbox) = writer();
    let (old, new) = (RollNumber::new(1), RollNumber::new(2));
    shared.want_snapshot(old);
    writer.snapshot(old, Vec::new()).unwrap();

    shared.want_snapshot(new);

    assert!(shared.take_snapshot().is_none());
    let late = writer.snapshot(old, Vec::new());
    assert_eq!(late, Err(SnapshotRefused::NotWanted { roll: old }));
    assert_eq!(writer.snapshot(new, Vec::new()), Ok(()));
}
