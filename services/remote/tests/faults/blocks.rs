//! Blocks between processes: each question and answer as it was, each limit one past it, and what a
//! process makes of one that refuses, is silent, is gone or talks nonsense.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use esker_env::TaskGroup;
use esker_metadata_api::{Admin as _, MetadataError};
use esker_remote::limits::{
    BLOCK_ANSWER_BYTES_MAX, BLOCK_BYTES, BLOCK_PEERS_MAX, BLOCK_QUESTION_BYTES_MAX,
    BLOCKS_ASKED_MAX, BLOCKS_SERVED_MAX,
};
use esker_remote::{BlockAnswer, BlockAsk, BlockError, BlocksConfig, ServerConfig};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::stage::blocks::{BlocksClient, ScriptedBlocks, question, serving_blocks};
use crate::stage::running::{Client, Serving, anywhere, config, until};
use crate::stage::scripted::{CLUSTER, Scripted};

fn block(bytes: usize) -> BlockAnswer {
    BlockAnswer::Block(vec![7; bytes].into())
}

fn whole() -> usize {
    usize::try_from(BLOCK_BYTES).unwrap()
}

#[test]
fn the_defaults_are_the_limits() {
    let server = ServerConfig::new(anywhere(), CLUSTER);
    let client = BlocksConfig::new(CLUSTER);

    assert_eq!(server.blocks_max, BLOCKS_SERVED_MAX);
    assert_eq!(client.asks_max, BLOCKS_ASKED_MAX);
    assert_eq!(client.peers_max, BLOCK_PEERS_MAX);
}

#[tokio::test]
async fn each_question_arrives_and_each_answer_comes_back() {
    let answers = [
        block(whole()),
        block(1),
        BlockAnswer::NotHere,
        BlockAnswer::Failed,
    ];
    let blocks = ScriptedBlocks::new(answers.clone());
    let serving = serving_blocks(&blocks, 64).await;
    let client = BlocksClient::start(|_| {});
    let asks = [
        BlockAsk::Hot,
        BlockAsk::Cold,
        BlockAsk::Cached,
        BlockAsk::Hot,
    ];
    let questions = (0..).zip(asks).map(|(at, ask)| question(at * 1000, ask));
    let questions: Vec<_> = questions.collect();

    let mut told = Vec::new();
    for question in &questions {
        told.push(client.ask(serving.address, *question).await.unwrap());
    }

    assert_eq!(told, answers);
    assert_eq!(*blocks.asked.lock().unwrap(), questions);
    assert_eq!(client.blocks.peer_count(), 1);
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_process_without_the_metadata_service_sends_its_clients_elsewhere() {
    let serving = serving_blocks(&ScriptedBlocks::new([]), 64).await;
    let client = Client::start(config(&[serving.address], CLUSTER));

    let asked = client.remote.producer_id().await;
    let topics = client.remote.topics_current().await;

    assert_eq!(asked, Err(MetadataError::Unavailable));
    assert_eq!(topics.unwrap_err(), MetadataError::Unavailable);
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn a_process_without_blocks_and_one_of_another_cluster_give_none() {
    let bare = Serving::of(&Arc::new(Scripted::default()), CLUSTER).await;
    let blocks = ScriptedBlocks::new([block(1)]);
    let serving = serving_blocks(&blocks, 64).await;
    let client = BlocksClient::start(|_| {});
    let other = BlocksClient::start(|config| {
        config.cluster = esker_types::ClusterId::from_bytes([6; 16]);
    });
    let question = question(0, BlockAsk::Hot);

    let none = client.ask(bare.address, question).await;
    let foreign = other.ask(serving.address, question).await;
    let nowhere = client
        .blocks
        .read("no address", question, Duration::from_secs(1))
        .await;

    assert_eq!(none, Err(BlockError::Nonsense));
    assert_eq!(foreign, Err(BlockError::NotConnected));
    assert_eq!(nowhere, Err(BlockError::NotConnected));
    assert_eq!(blocks.asked(), 0);
    client.stop().await;
    other.stop().await;
    bare.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn one_question_past_what_a_server_takes_is_refused_and_others_go_on() {
    let blocks = ScriptedBlocks::new([]);
    let serving = serving_blocks(&blocks, 1).await;
    let client = BlocksClient::start(|_| {});
    let question = question(0, BlockAsk::Cold);
    let mut held = Box::pin(client.ask(serving.address, question));
    while blocks.asked() == 0 {
        assert!(futures::poll!(&mut held).is_pending());
        tokio::task::yield_now().await;
    }

    let beyond = client.ask(serving.address, question).await;
    drop(held);
    blocks.answers.lock().unwrap().push_back(block(5));
    let mut after = Err(BlockError::Busy);
    while after == Err(BlockError::Busy) {
        after = client.ask(serving.address, question).await;
    }

    assert_eq!(beyond, Err(BlockError::Busy));
    assert_eq!(after, Ok(block(5)));
    assert_eq!(blocks.asked(), 2);
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn one_question_past_what_a_client_asks_is_refused_before_it_is_sent() {
    let blocks = ScriptedBlocks::new([]);
    let serving = serving_blocks(&blocks, 64).await;
    let client = BlocksClient::start(|config| config.asks_max = 1);
    let mut held = Box::pin(client.ask(serving.address, question(0, BlockAsk::Cold)));
    while blocks.asked() == 0 {
        assert!(futures::poll!(&mut held).is_pending());
        tokio::task::yield_now().await;
    }

    let beyond = client
        .ask(serving.address, question(1, BlockAsk::Cold))
        .await;

    assert_eq!((beyond, blocks.asked()), (Err(BlockError::Busy), 1));
    drop(held);
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn one_process_past_those_connected_lets_go_of_the_one_asked_longest_ago() {
    let client = BlocksClient::start(|config| config.peers_max = 2);
    let mut servings = Vec::new();
    for _ in 0..3 {
        let blocks = ScriptedBlocks::new([block(1), block(1)]);
        servings.push(serving_blocks(&blocks, 64).await);
    }

    for serving in servings.iter().chain(&servings) {
        let told = client
            .ask(serving.address, question(0, BlockAsk::Hot))
            .await;
        assert_eq!(told, Ok(block(1)));
        assert!(client.blocks.peer_count() <= 2);
    }

    assert!(
        client.blocks.metrics().dials() > 3,
        "two were dialled again"
    );
    client.stop().await;
    for serving in servings {
        serving.stop().await;
    }
}

#[tokio::test]
async fn an_answer_one_byte_too_long_is_no_block() {
    let longer = [block(whole() + 1), block(BLOCK_ANSWER_BYTES_MAX), block(0)];
    let blocks = ScriptedBlocks::new(longer);
    let serving = serving_blocks(&blocks, 64).await;
    let client = BlocksClient::start(|_| {});
    let question = question(0, BlockAsk::Hot);

    let more = client.ask(serving.address, question).await;
    let most = client.ask(serving.address, question).await;
    let none = client.ask(serving.address, question).await;

    assert_eq!(more, Err(BlockError::Nonsense));
    assert_eq!(most, Err(BlockError::Lost), "not even received");
    assert_eq!(none, Err(BlockError::Nonsense));
    client.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn who_is_silent_or_gone_is_told_apart_from_who_is_not_there() {
    let blocks = ScriptedBlocks::new([]);
    let serving = serving_blocks(&blocks, 64).await;
    let (client, address) = (BlocksClient::start(|_| {}), serving.address);
    let question = question(0, BlockAsk::Hot);

    let limit = Duration::from_millis(50);
    let at = address.to_string();
    let silent = client.blocks.read(&at, question, limit).await;
    let mut held = Box::pin(client.ask(address, question));
    while blocks.asked() < 2 {
        assert!(futures::poll!(&mut held).is_pending());
        tokio::task::yield_now().await;
    }
    serving.kill().await;
    let lost = held.await;
    let gone = client.ask(address, question).await;

    assert_eq!(silent, Err(BlockError::TimedOut));
    assert_eq!(lost, Err(BlockError::Lost));
    assert_eq!(gone, Err(BlockError::NotConnected));
    client.stop().await;
}

/// The body of one gRPC message.
#[derive(Debug)]
struct Message(Option<Bytes>);

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

/// Sends bytes as a question for a block; the answer as it begins.
async fn raw(
    address: SocketAddr,
    tasks: &mut TaskGroup,
    message: &[u8],
) -> http::Response<hyper::body::Incoming> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1000);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tasks.spawn(async move {
        let _ = connection.await;
    });
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, message].concat();
    let request = http::Request::post("http://esker/esker.internal.v1.Blocks/Read")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("esker-protocol", "2")
        .header("esker-cluster", CLUSTER.to_hex())
        .header("esker-deadline-ms", "60000")
        .body(Message(Some(framed.into())))
        .unwrap();
    sender.send_request(request).await.unwrap()
}

/// A question as its bytes: a segment, block 5, a size, what is asked.
fn encoded(size: &[u8], ask: u8) -> Vec<u8> {
    let segment = [&[0x0a, 16][..], &[3; 16], &[0x10, 4]].concat();
    let length = u8::try_from(segment.len()).unwrap();
    let head = [&[0x0a, length][..], &segment, &[0x10, 5, 0x18]].concat();
    [&head[..], size, &[0x20, ask]].concat()
}

const SIZE: &[u8] = &[0x80, 0x80, 0x40];

#[tokio::test]
async fn a_question_that_is_not_understood_whole_is_refused() {
    let blocks = ScriptedBlocks::new([BlockAnswer::NotHere]);
    let serving = serving_blocks(&blocks, 64).await;
    let mut tasks = TaskGroup::new("strangers");
    let good = encoded(SIZE, 2);
    let newer = [&good[..], &[0x98, 0x06, 0x01]].concat();
    let long = [&good[..], &[0; BLOCK_QUESTION_BYTES_MAX]].concat();
    let longest = &long[..BLOCK_QUESTION_BYTES_MAX];
    let longer = &long[..=BLOCK_QUESTION_BYTES_MAX];
    let other_size = encoded(&[0x81, 0x80, 0x40], 2);
    let unknown = encoded(SIZE, 9);

    // gRPC's numbers: 3 makes no sense, 11 is too long.
    let cases = [
        (&newer[..], "3"),
        (&other_size[..], "3"),
        (&unknown[..], "3"),
        (&b"\xff"[..], "3"),
        (longest, "3"),
        (longer, "11"),
    ];
    for (message, status) in cases {
        let answer = raw(serving.address, &mut tasks, message).await;
        let told = answer.headers().get("grpc-status").unwrap();
        assert_eq!(told, status, "{message:?}");
    }
    assert_eq!(blocks.asked(), 0);

    let answer = raw(serving.address, &mut tasks, &good).await;
    assert_eq!(answer.headers().get("grpc-status"), None);
    assert_eq!(*blocks.asked.lock().unwrap(), [question(5, BlockAsk::Hot)]);
    tasks.abort_all();
    tasks.join_all().await.unwrap();
    serving.stop().await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_keeps_its_place_until_its_asker_is_gone() {
    let blocks = ScriptedBlocks::new([block(whole()), block(1)]);
    let serving = serving_blocks(&blocks, 1).await;
    let mut tasks = TaskGroup::new("a stranger");
    let client = BlocksClient::start(|_| {});
    let unread = raw(serving.address, &mut tasks, &encoded(SIZE, 2)).await;
    until(|| blocks.asked() == 1).await;

    let question = question(5, BlockAsk::Hot);
    let beyond = client.ask(serving.address, question).await;
    drop(unread);
    let mut after = Err(BlockError::Busy);
    while after == Err(BlockError::Busy) {
        after = client.ask(serving.address, question).await;
    }

    assert_eq!(beyond, Err(BlockError::Busy));
    assert_eq!(after, Ok(block(1)));
    client.stop().await;
    tasks.abort_all();
    tasks.join_all().await.unwrap();
    serving.stop().await;
}
