//! Several servers: the one that leads is found, and what may have been done is not asked twice.

use std::sync::Arc;

use esker_metadata_api::{Admin as _, FeedUpdate, LogIndex as _, MetadataError, TopicTable};
use esker_types::ProducerId;
use tokio::sync::mpsc;

use crate::stage::running::{Client, LeaderAt, Serving, config, parts, server_config};
use crate::stage::scripted::{CLUSTER, Scripted};

fn id(value: i64) -> ProducerId {
    ProducerId::from_wire(value).unwrap()
}

/// A service whose answers to the next calls are these.
fn answering(answers: &[Result<ProducerId, MetadataError>]) -> Arc<Scripted> {
    let service = Arc::new(Scripted::default());
    service.script().producer_id.extend(answers.iter().copied());
    service
}

#[tokio::test]
async fn a_standby_is_passed_over_and_the_leader_asked_first_from_then_on() {
    let standby = answering(&[Err(MetadataError::Unavailable); 9]);
    let leader = answering(&[Ok(id(1)), Ok(id(2))]);
    let first = Serving::of(&standby, CLUSTER).await;
    let second = Serving::of(&leader, CLUSTER).await;
    let client = Client::start(config(&[first.address, second.address], CLUSTER));

    let answers = [
        client.remote.producer_id().await,
        client.remote.producer_id().await,
    ];

    assert_eq!(answers, [Ok(id(1)), Ok(id(2))]);
    assert!(standby.asked().len() <= 1, "{:?}", standby.asked());
    client.stop().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_standby_says_where_the_leader_is() {
    let standby = answering(&[Err(MetadataError::Unavailable); 9]);
    let leader = answering(&[Ok(id(1)), Ok(id(2))]);
    let second = Serving::of(&leader, CLUSTER).await;
    let mut hinting = parts(&standby);
    hinting.hint = Arc::new(LeaderAt(second.address.to_string()));
    let first = Serving::start(server_config(CLUSTER), hinting).await;
    let client = Client::start(config(&[first.address], CLUSTER));

    let answers = [
        client.remote.producer_id().await,
        client.remote.producer_id().await,
    ];

    assert_eq!(answers, [Ok(id(1)), Ok(id(2))]);
    let known: Vec<_> = client
        .remote
        .peers()
        .into_iter()
        .map(|peer| peer.address)
        .collect();
    assert_eq!(
        known,
        [first.address.to_string(), second.address.to_string()]
    );
    client.stop().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_hint_that_is_no_address_is_not_followed() {
    let standby = answering(&[Err(MetadataError::Unavailable)]);
    let mut hinting = parts(&standby);
    hinting.hint = Arc::new(LeaderAt("http://elsewhere/".to_owned()));
    let serving = Serving::start(server_config(CLUSTER), hinting).await;
    let client = Client::start(config(&[serving.address], CLUSTER));

    let answer = client.remote.producer_id().await;

    assert_eq!(answer, Err(MetadataError::Unavailable));
    assert_eq!(client.remote.peers().len(), 1);
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn that_one_is_recovering_is_told_when_no_other_leads() {
    let recovering = answering(&[Err(MetadataError::Recovering); 9]);
    let standby = answering(&[Err(MetadataError::Unavailable); 9]);
    let first = Serving::of(&recovering, CLUSTER).await;
    let second = Serving::of(&standby, CLUSTER).await;
    let client = Client::start(config(&[first.address, second.address], CLUSTER));

    let answer = client.remote.producer_id().await;

    assert_eq!(answer, Err(MetadataError::Recovering));
    assert_eq!((recovering.asked().len(), standby.asked().len()), (1, 1));
    client.stop().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn what_may_have_been_done_is_asked_of_nobody_else() {
    for error in [MetadataError::Unknown, MetadataError::Overloaded] {
        let first_service = answering(&[Err(error)]);
        let second_service = answering(&[Ok(id(1))]);
        let first = Serving::of(&first_service, CLUSTER).await;
        let second = Serving::of(&second_service, CLUSTER).await;
        // Its own feed must not have turned the client to the other one before.
        let (_topics, feed) = mpsc::channel(1);
        first_service.script().follow.push_back(Ok(feed));
        let client = Client::start(config(&[first.address, second.address], CLUSTER));

        let answer = client.remote.producer_id().await;

        let asked = (first_service.asked().len(), second_service.asked().len());
        assert_eq!((answer, asked), (Err(error), (1, 0)));
        client.stop().await;
        first.stop().await;
        second.stop().await;
    }
}

#[tokio::test]
async fn a_deposed_leader_holds_up_one_call_and_not_the_next() {
    let deposed = answering(&[Err(MetadataError::Deposed); 9]);
    let leader = answering(&[Ok(id(1)), Ok(id(2))]);
    let first = Serving::of(&deposed, CLUSTER).await;
    let second = Serving::of(&leader, CLUSTER).await;
    let (_topics, feed) = mpsc::channel(1);
    deposed.script().follow.push_back(Ok(feed));
    let client = Client::start(config(&[first.address, second.address], CLUSTER));

    let answers = [
        client.remote.producer_id().await,
        client.remote.producer_id().await,
        client.remote.producer_id().await,
    ];

    assert_eq!(answers, [Err(MetadataError::Deposed), Ok(id(1)), Ok(id(2))]);
    client.stop().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_follower_finds_the_next_leader_and_the_topics_go_on() {
    let table = |version| {
        let mut table = TopicTable::default();
        table.version = version;
        FeedUpdate::Topics(Arc::new(table))
    };
    let old = Arc::new(Scripted::default());
    let new = Arc::new(Scripted::default());
    let first = Serving::of(&old, CLUSTER).await;
    let second = Serving::of(&new, CLUSTER).await;
    let feeds = |service: &Arc<Scripted>, version| {
        let both = [mpsc::channel(1), mpsc::channel(1)];
        let senders = both.map(|(sender, receiver)| {
            service.script().follow.push_back(Ok(receiver));
            sender.try_send(table(version)).unwrap();
            sender
        });
        senders.to_vec()
    };
    let old_leader = feeds(&old, 7);
    let client = Client::start(config(&[first.address, second.address], CLUSTER));
    let mut feed = client.remote.follow().await.unwrap();
    let told = feed.next().await;
    client
        .remote
        .topics_become(|known| known.version == 7)
        .await;

    let _new_leader = feeds(&new, 3);
    drop(old_leader);
    let end = feed.next().await;
    client
        .remote
        .topics_become(|known| known.version == 3)
        .await;
    let mut again = client.remote.follow().await.unwrap();
    let afresh = again.next().await;

    assert!(matches!(told, Some(FeedUpdate::Topics(table)) if table.version == 7));
    assert!(end.is_none());
    assert!(matches!(afresh, Some(FeedUpdate::Topics(table)) if table.version == 3));
    drop(again);
    client.stop().await;
    first.stop().await;
    second.stop().await;
}
