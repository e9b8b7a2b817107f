//! A follower that does not read: it is not read for, and it holds up nobody else.

use std::sync::Arc;

use esker_metadata_api::{Admin as _, FeedUpdate, LogIndex as _, PartitionAdvance};
use esker_remote::limits::{CONNECTION_WINDOW_BYTES, PART_BYTES, STREAM_WINDOW_BYTES};
use esker_types::ProducerId;
use tokio::sync::mpsc;

use crate::stage::running::{Client, Serving, config};
use crate::stage::samples::{at, extent, offset};
use crate::stage::scripted::{CLUSTER, Scripted};

#[tokio::test]
async fn what_a_slow_follower_leaves_unread_waits_at_the_leader_and_calls_pass() {
    const UPDATES: usize = 200;
    // 3000 extents are some 200 KB.
    let advance = Arc::new(PartitionAdvance {
        topic_partition: at(0),
        log_start: offset(0),
        high_watermark: offset(6000),
        extents: (0..3000).map(|base| extent(base * 2)).collect(),
        previous_high_watermark: offset(0),
    });
    let service = Arc::new(Scripted::default());
    // The client's own feed of topics comes first.
    let (_topics, own) = mpsc::channel(1);
    let (sender, receiver) = mpsc::channel(UPDATES);
    for _ in 0..UPDATES {
        sender
            .try_send(FeedUpdate::Advanced(advance.clone()))
            .unwrap();
    }
    service.script().follow.push_back(Ok(own));
    let serving = Serving::of(&service, CLUSTER).await;
    let client = Client::start(config(&[serving.address], CLUSTER));
    let id = ProducerId::from_wire(1).unwrap();
    while !service.script().follow.is_empty() {
        tokio::task::yield_now().await;
    }
    service.script().follow.push_back(Ok(receiver));
    let mut feed = client.remote.follow().await.unwrap();

    let mut taken = 0;
    let mut quiet = 0;
    while quiet < 20 {
        service.script().producer_id.push_back(Ok(id));
        assert_eq!(client.remote.producer_id().await, Ok(id), "calls pass");
        let now = sender.capacity();
        quiet = if now == taken { quiet + 1 } else { 0 };
        taken = now;
    }
    let unread = taken;
    drop(sender);
    let mut read = 0;
    while let Some(update) = feed.next().await {
        assert!(matches!(update, FeedUpdate::Advanced(told) if *told == *advance));
        read += 1;
    }

    // The stream's window, what HTTP/2 buffers on both sides, and the update in hand.
    let window = usize::try_from(STREAM_WINDOW_BYTES).unwrap();
    let held_max = (2 * window + 4 * PART_BYTES) / (200 * 1000) + 2;
    assert!(
        unread <= held_max,
        "{unread} updates were taken, of {held_max}"
    );
    const {
        assert!(
            STREAM_WINDOW_BYTES * 9 < CONNECTION_WINDOW_BYTES,
            "feeds cannot fill it"
        );
    }
    assert_eq!(read, UPDATES);
    client.stop().await;
    serving.stop().await;
}
