//! Claims about the HTTP front, asked through its router with a small log behind it.

mod chunks;
mod configs;
mod groups;
mod limits;
mod places;
mod streams;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{self, HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use esker_env::{Env, Shutdown, ShutdownTrigger};
use esker_metadata_api::{
    ActiveProducer, Admin, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError,
    CommittedOffset, CreateTopic, CreateTopicError, CreatedTopic, DeleteBefore, DeleteRecordsError,
    DeleteTopicError, DescribedGroup, GroupError, GroupOverview, GroupReply, GroupRequest,
    GroupState, Leadership, LogIndexError, MetadataError, Topic, TopicAdmin, TopicChange,
    TopicName, TopicRef, TopicTable,
};
use esker_types::{
    ClusterId, Offset, PartitionIndex, ProducerId, Timestamp, TopicId, TopicPartition,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::front::{Front, Places};
use crate::limits::{
    APPEND_RECORDS_MAX, BODIES_BYTES_MAX, BODY_BYTES_MAX, READ_BYTES_MAX, READ_RECORDS_MAX,
    RECORD_HEADERS_MAX, REQUESTS_MAX, WAIT_MAX,
};
use crate::parts::{
    AppendRecords, Appender, BatchHead, Health, HttpParts, LogReader, NewRecord, PendingAppend,
    PendingBatch, ReadFrom, ReadOutcome, ReadQuery, ReadRecord, RecordIterator, RecordPlace,
};
use crate::problem::{Problem, ProblemKind};
use crate::server::router;

/// Everything behind the front: one partition's log in memory, and a topic table.
#[derive(Debug)]
pub(crate) struct Log {
    env: Env,
    topics: Mutex<TopicTable>,
    records: Mutex<Vec<NewRecord>>,
    appends: Mutex<Vec<AppendRecords>>,
    batches: Mutex<Vec<Bytes>>,
    refusal: Mutex<Option<Problem>>,
    /// A partition whose share of an append is refused.
    refused_partition: Mutex<Option<PartitionIndex>>,
    is_stuck: Mutex<bool>,
    /// Lets go of one append that is stuck.
    unstuck: Arc<Notify>,
    /// Changes of a topic that come too late.
    too_late: Mutex<u32>,
    alterations: Mutex<Vec<AlterTopic>>,
    /// Batches decoded.
    decoded: Mutex<usize>,
    /// The offset of a record that cannot be read.
    damaged: Mutex<Option<u64>>,
    /// Records at the end that this process has not heard of.
    unheard: Mutex<u64>,
    groups: Mutex<Vec<GroupRequest>>,
    queries: Mutex<Vec<ReadQuery>>,
    failure: Mutex<Option<MetadataError>>,
    not_ready: Mutex<Option<String>>,
}

impl Log {
    fn new() -> Self {
        Self {
            env: Env::system(),
            topics: Mutex::default(),
            records: Mutex::default(),
            appends: Mutex::default(),
            batches: Mutex::default(),
            refusal: Mutex::default(),
            refused_partition: Mutex::default(),
            is_stuck: Mutex::default(),
            unstuck: Arc::default(),
            too_late: Mutex::default(),
            alterations: Mutex::default(),
            decoded: Mutex::default(),
            damaged: Mutex::default(),
            unheard: Mutex::default(),
            groups: Mutex::default(),
            queries: Mutex::default(),
            failure: Mutex::default(),
            not_ready: Mutex::default(),
        }
    }

    fn end(&self) -> Offset {
        let count = self.records.lock().unwrap().len();
        Offset::new(u64::try_from(count).unwrap()).unwrap()
    }
}

impl Admin for Log {
    fn cluster(&self) -> ClusterId {
        ClusterId::from_bytes([1; 16])
    }

    fn topics(&self) -> Arc<TopicTable> {
        Arc::new(self.topics.lock().unwrap().clone())
    }

    fn topics_current(&self) -> BoxFuture<'_, Result<Arc<TopicTable>, MetadataError>> {
        let failure = *self.failure.lock().unwrap();
        async move { failure.map_or_else(|| Ok(self.topics()), Err) }.boxed()
    }

    fn create_topic(
        &self,
        request: CreateTopic,
    ) -> BoxFuture<'_, Result<CreatedTopic, CreateTopicError>> {
        let mut topics = self.topics.lock().unwrap();
        let outcome = if topics.named(request.name.as_str()).is_some() {
            Err(CreateTopicError::Exists)
        } else {
            let topic = topic(request.name.as_str(), request.partition_count.get());
            topics.insert(topic.clone());
            let topic = Arc::new(topic);
            Ok(CreatedTopic { topic })
        };
        async move { outcome }.boxed()
    }

    fn delete_topic(&self, topic: TopicRef) -> BoxFuture<'_, Result<Arc<Topic>, DeleteTopicError>> {
        let mut topics = self.topics.lock().unwrap();
        let TopicRef::Name(name) = topic else {
            panic!("the front deletes by name")
        };
        let id = topics.named(name.as_str()).map(|topic| topic.id);
        let removed = id.and_then(|id| topics.remove(id));
        async move { removed.ok_or(DeleteTopicError::Unknown) }.boxed()
    }

    fn producer_id(&self) -> BoxFuture<'_, Result<ProducerId, MetadataError>> {
        async { Err(MetadataError::Unavailable) }.boxed()
    }

    fn group(&self, request: GroupRequest) -> BoxFuture<'_, Result<GroupReply, MetadataError>> {
        let reply = match &request {
            GroupRequest::Commit(commit) if commit.group == "busy" => {
                GroupReply::Committed(Err(GroupError::UnknownMember))
            }
            GroupRequest::Commit(commit) => {
                GroupReply::Committed(Ok(commit.offsets.iter().map(|_| Ok(())).collect()))
            }
            GroupRequest::Fetch(_) => {
                let committed = CommittedOffset {
                    offset: 0,
                    leader_epoch: -1,
                    metadata: "m".to_owned(),
                };
                let at = TopicPartition {
                    topic: TopicId::from_bytes([9; 16]),
                    partition: PartitionIndex::default(),
                };
                GroupReply::Offsets(Ok(vec![(at, committed)]))
            }
            GroupRequest::Describe(groups) => {
                let described = |group: &String| DescribedGroup {
                    group: group.clone(),
                    state: GroupState::Stable,
                    protocol_type: "consumer".to_owned(),
                    protocol: "range".to_owned(),
                    members: Vec::new(),
                };
                GroupReply::Described(groups.iter().map(described).collect())
            }
            _ => GroupReply::Listed(vec![GroupOverview {
                group: "g".to_owned(),
                protocol_type: "consumer".to_owned(),
                state: GroupState::Empty,
            }]),
        };
        self.groups.lock().unwrap().push(request);
        async move { Ok(reply) }.boxed()
    }
}

impl TopicAdmin for Log {
    fn alter_topic(
        &self,
        request: AlterTopic,
    ) -> BoxFuture<'_, Result<Arc<Topic>, AlterTopicError>> {
        let mut topics = self.topics.lock().unwrap();
        let mut too_late = self.too_late.lock().unwrap();
        let found = topics.with_id(request.topic).map(|topic| (**topic).clone());
        let outcome = match (found, &request.change) {
            (None, _) => Err(AlterTopicError::Unknown),
            (Some(_), _) if *too_late > 0 => {
                *too_late -= 1;
                Err(AlterTopicError::Changed)
            }
            (Some(topic), TopicChange::Configs { expected, configs }) => {
                assert_eq!(topic.configs, *expected);
                let configs = configs.clone();
                let topic = Topic { configs, ..topic };
                if !request.validate_only {
                    topics.insert(topic.clone());
                }
                Ok(Arc::new(topic))
            }
            (Some(_), TopicChange::PartitionCount(_)) => panic!("the front does not ask for it"),
        };
        self.alterations.lock().unwrap().push(request);
        async move { outcome }.boxed()
    }

    fn delete_records(
        &self,
        _: TopicPartition,
        _: DeleteBefore,
    ) -> BoxFuture<'_, Result<Offset, DeleteRecordsError>> {
        panic!("the front does not ask for it")
    }

    fn log_bytes(&self) -> BoxFuture<'_, Result<BTreeMap<TopicPartition, u64>, MetadataError>> {
        panic!("the front does not ask for it")
    }

    fn alter_broker(&self, _: AlterBroker) -> BoxFuture<'_, Result<(), AlterBrokerError>> {
        panic!("the front does not ask for it")
    }

    fn producers(
        &self,
        _: TopicPartition,
    ) -> BoxFuture<'_, Result<Vec<ActiveProducer>, LogIndexError>> {
        panic!("the front does not ask for it")
    }

    fn leadership(&self) -> BoxFuture<'_, Result<Leadership, MetadataError>> {
        panic!("the front does not ask for it")
    }
}

impl Appender for Log {
    fn append(&self, request: AppendRecords) -> BoxFuture<'_, Result<PendingAppend, Problem>> {
        let mut log = self.records.lock().unwrap();
        let partition = PartitionIndex::default();
        let first = u64::try_from(log.len()).unwrap();
        let offsets = (first..).map(|offset| Offset::new(offset).unwrap());
        let places = request.records.iter().zip(offsets).map(|(record, offset)| {
            Ok(RecordPlace {
                partition: record.partition.unwrap_or(partition),
                offset,
                timestamp: record.timestamp.unwrap_or(Timestamp::from_millis(7)),
            })
        });
        let places: Vec<_> = places.collect();
        log.extend(request.records.iter().cloned());
        self.appends.lock().unwrap().push(request);
        let refusal = self.refusal.lock().unwrap().clone();
        let is_stuck = *self.is_stuck.lock().unwrap();
        let unstuck = Arc::clone(&self.unstuck);
        let refused_partition = *self.refused_partition.lock().unwrap();
        let outcome = async move {
            if is_stuck {
                unstuck.notified().await;
            }
            let told = |place: Result<RecordPlace, Problem>| {
                let place = place?;
                match &refusal {
                    Some(problem) => Err(problem.clone()),
                    None if Some(place.partition) == refused_partition => Err(Problem::new(
                        ProblemKind::Refused,
                        "this partition takes nothing",
                    )),
                    None => Ok(place),
                }
            };
            places.into_iter().map(told).collect()
        };
        async move { Ok(outcome.boxed()) }.boxed()
    }

    fn append_batch(
        &self,
        topic_partition: TopicPartition,
        batch: Bytes,
    ) -> BoxFuture<'_, Result<PendingBatch, Problem>> {
        self.batches.lock().unwrap().push(batch);
        let refusal = self.refusal.lock().unwrap().clone();
        let place = RecordPlace {
            partition: topic_partition.partition,
            offset: Offset::ZERO,
            timestamp: Timestamp::from_millis(7),
        };
        let outcome = async move { refusal.map_or(Ok(place), Err) };
        async move { Ok(outcome.boxed()) }.boxed()
    }

    /// A batch of this log: 8 bytes, then its length, then its records' number.
    fn batch_head(&self, bytes: &[u8]) -> Result<Option<BatchHead>, Problem> {
        let number = |at: usize| {
            let bytes: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
            u32::from_be_bytes(bytes)
        };
        Ok((bytes.len() >= 16).then(|| BatchHead {
            batch_bytes: number(8),
            record_count: number(12),
        }))
    }
}

impl LogReader for Log {
    fn read(&self, query: ReadQuery) -> BoxFuture<'_, Result<ReadOutcome, Problem>> {
        self.queries.lock().unwrap().push(query);
        async move {
            let begin = self.locate(query.topic_partition, query.from).await?;
            let unheard = *self.unheard.lock().unwrap();
            let end = Offset::new(self.end().get() - unheard).unwrap();
            if begin > end {
                let kind = ProblemKind::OffsetOutOfRange;
                return Err(Problem::new(kind, "beyond the end"));
            }
            if begin == end {
                self.env.clock.sleep(query.wait).await;
            }
            // One record a batch.
            let batches = (begin.get()..end.get()).take(1000);
            let batches: Vec<_> = batches
                .map(|index| Bytes::copy_from_slice(&index.to_be_bytes()))
                .collect();
            let count = u32::try_from(batches.len()).unwrap();
            Ok(ReadOutcome {
                begin,
                batches,
                next_offset: begin.after(count).unwrap(),
                high_watermark: end,
                log_start: Offset::ZERO,
            })
        }
        .boxed()
    }

    fn records(&self, batch: &Bytes) -> Result<RecordIterator, Problem> {
        *self.decoded.lock().unwrap() += 1;
        let index = u64::from_be_bytes(batch[..].try_into().unwrap());
        if *self.damaged.lock().unwrap() == Some(index) {
            let damaged = Problem::new(ProblemKind::Unavailable, "damaged");
            return Ok(Box::new(std::iter::once(Err(damaged))));
        }
        let record = self.records.lock().unwrap()[usize::try_from(index).unwrap()].clone();
        let headers = record.headers.iter();
        let headers = headers
            .map(|header| (Bytes::from(header.name.clone()), header.value.clone()))
            .collect();
        Ok(Box::new(std::iter::once(Ok(ReadRecord {
            offset: Offset::new(index).unwrap(),
            timestamp: record.timestamp.unwrap_or(Timestamp::from_millis(7)),
            key: record.key,
            value: record.value,
            headers,
        }))))
    }

    fn bounds(&self, _: TopicPartition) -> BoxFuture<'_, Result<(Offset, Offset), Problem>> {
        async move { Ok((Offset::ZERO, self.end())) }.boxed()
    }

    fn locate(&self, _: TopicPartition, from: ReadFrom) -> BoxFuture<'_, Result<Offset, Problem>> {
        let end = self.end();
        let offset = match from {
            ReadFrom::Offset(offset) => offset,
            ReadFrom::Earliest | ReadFrom::Timestamp(_) => Offset::ZERO,
            ReadFrom::Tail(back) => Offset::new(end.get().saturating_sub(back)).unwrap(),
        };
        async move { Ok(offset) }.boxed()
    }
}

impl Health for Log {
    fn not_ready(&self) -> Option<String> {
        self.not_ready.lock().unwrap().clone()
    }

    fn owner(&self) -> Option<String> {
        Some("0abc".to_owned())
    }

    fn metrics(&self) -> String {
        "esker_up 1\n".to_owned()
    }
}

fn topic(name: &str, partitions: u32) -> Topic {
    Topic {
        id: TopicId::from_bytes([9; 16]),
        name: TopicName::new(name).unwrap(),
        partition_count: NonZeroU32::new(partitions).unwrap(),
        replication_factor: 1,
        configs: BTreeMap::new(),
        defaults: Arc::default(),
    }
}

pub(crate) struct World {
    log: Arc<Log>,
    stop: ShutdownTrigger,
    shutdown: Shutdown,
    /// Servers on sockets, ended with the world.
    servers: Mutex<Vec<esker_env::TaskGroup>>,
}

pub(crate) struct Answer {
    status: StatusCode,
    kind: String,
    headers: HeaderMap,
    body: Value,
    text: String,
}

impl World {
    fn new() -> Self {
        let log = Arc::new(Log::new());
        log.topics.lock().unwrap().insert(topic("t", 3));
        let (stop, shutdown) = Shutdown::new();
        Self {
            log,
            stop,
            shutdown,
            servers: Mutex::default(),
        }
    }

    fn front(&self, requests_max: usize) -> Arc<Front> {
        Arc::new(Front {
            parts: self.parts(),
            env: self.log.env.clone(),
            shutdown: self.shutdown.clone(),
            places: Places::new(requests_max),
        })
    }

    fn router(&self) -> Router {
        router(self.front(REQUESTS_MAX))
    }

    fn values(&self) -> Vec<String> {
        let records = self.log.records.lock().unwrap();
        let values = records
            .iter()
            .map(|record| record.value.clone().unwrap_or_default());
        values
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
            .collect()
    }

    fn parts(&self) -> HttpParts {
        HttpParts {
            admin: self.log.clone(),
            topic_admin: self.log.clone(),
            appender: self.log.clone(),
            reader: self.log.clone(),
            health: self.log.clone(),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        self.ask_with(REQUESTS_MAX, method, path, body).await
    }

    async fn ask_with(
        &self,
        places: usize,
        method: Method,
        path: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(body.into()).unwrap();
        answer(router(self.front(places)), request).await
    }

    async fn send(&self, request: http::request::Builder, body: impl Into<Body>) -> Answer {
        answer(self.router(), request.body(body.into()).unwrap()).await
    }

    async fn append(&self, body: &Value) -> Answer {
        let path = "/api/v1/topics/t/records";
        self.ask(Method::POST, path, body.to_string()).await
    }

    async fn read(&self, query: &str) -> Answer {
        let path = format!("/api/v1/topics/t/partitions/1/records?{query}");
        self.ask(Method::GET, &path, "").await
    }
}

async fn answer(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let headers = response.headers().clone();
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text.clone()));
    Answer {
        status,
        kind,
        headers,
        body,
        text,
    }
}

fn assert_problem(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.kind, "application/problem+json");
    assert_eq!(answer.body["type"], format!("/problems/{name}"));
    assert_eq!(answer.body["status"], status);
    assert!(!answer.body["detail"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_record_comes_back_with_its_key_bytes_and_headers() {
    let world = World::new();
    let record = json!({
        "partition": 1, "timestamp": 5, "key": "k", "value": {"base64": "/w=="},
        "headers": [{"name": "h", "value": "1"}, {"name": "h", "value": null}],
    });

    let appended = world
        .append(&json!({"records": [record, {"value": "x"}]}))
        .await;
    let read = world.read("offset=0&limit=10&wait=5").await;

    assert_eq!(appended.status, StatusCode::OK);
    assert_eq!(
        appended.body["records"][0],
        json!({"partition": 1, "offset": 0})
    );
    assert_eq!(
        appended.body["records"][1],
        json!({"partition": 0, "offset": 1})
    );
    let first = &read.body["records"][0];
    assert_eq!(first["value"], json!({"base64": "/w=="}));
    assert_eq!(
        (&first["key"], &first["timestamp"]),
        (&json!("k"), &json!(5))
    );
    assert_eq!(first["headers"][1], json!({"name": "h", "value": null}));
    assert_eq!(read.body["records"][1]["key"], Value::Null);
    assert_eq!(read.body["high_watermark"], 2);
}

#[tokio::test]
async fn a_read_may_begin_at_an_offset_a_time_the_start_or_the_tail() {
    let world = World::new();

    for query in [
        "",
        "from=earliest",
        "from=latest",
        "tail=3",
        "timestamp=9",
        "offset=0",
    ] {
        assert_eq!(world.read(query).await.status, StatusCode::OK, "{query}");
    }

    let queries = world.log.queries.lock().unwrap();
    let from: Vec<ReadFrom> = queries.iter().map(|query| query.from).collect();
    let time = ReadFrom::Timestamp(Timestamp::from_millis(9));
    let expected = [
        ReadFrom::Earliest,
        ReadFrom::Earliest,
        ReadFrom::Tail(0),
        ReadFrom::Tail(3),
        time,
        ReadFrom::Offset(Offset::ZERO),
    ];
    assert_eq!(from, expected);
}

#[tokio::test]
async fn misused_parameters_are_told_by_name() {
    let world = World::new();
    let wait = WAIT_MAX.as_millis() + 1;

    for query in [
        "offset=-1".to_owned(),
        "offset=1&tail=1".to_owned(),
        "from=middle".to_owned(),
        "encoding=hex".to_owned(),
        "offsett=1".to_owned(),
        "limit=1&limit=2".to_owned(),
        format!("limit={}", READ_RECORDS_MAX + 1),
        format!("max_bytes={}", READ_BYTES_MAX + 1),
        format!("wait={wait}"),
    ] {
        assert_problem(&world.read(&query).await, 400, "bad-request");
    }
    assert_problem(&world.read("offset=1").await, 416, "offset-out-of-range");
    assert!(world.log.queries.lock().unwrap().len() == 1);
}

#[tokio::test]
async fn misused_bodies_are_told_and_append_nothing() {
    let world = World::new();
    let many = vec![json!({"value": "x"}); APPEND_RECORDS_MAX + 1];
    let headers = vec![json!({"name": "h"}); RECORD_HEADERS_MAX + 1];

    for body in [
        json!({"records": []}),
        json!({"record": []}),
        json!({"records": [{"value": 5}]}),
        json!({"records": [{"value": {"base64": "*"}}]}),
        json!({"records": [{"value": "x", "timestamp": -5}]}),
        json!({"records": [{"headers": headers}]}),
        json!([]),
        json!([[{"value": "x"}]]),
        json!({"records": [[0]]}),
    ] {
        assert_problem(&world.append(&body).await, 400, "bad-request");
    }
    let partition = world.append(&json!({"records": [{"partition": 3}]})).await;
    assert_problem(&partition, 404, "unknown-topic");
    assert_problem(
        &world.append(&json!({"records": many})).await,
        413,
        "too-large",
    );
    let large = vec![b' '; BODY_BYTES_MAX + 1];
    let path = "/api/v1/topics/t/records";
    let large = world.ask(Method::POST, path, large).await;
    assert_problem(&large, 413, "too-large");
    assert!(world.log.records.lock().unwrap().is_empty());
}

#[tokio::test]
async fn topics_are_created_listed_described_and_deleted() {
    let world = World::new();
    let create = json!({"name": "new", "partitions": 2, "configs": {"retention.ms": "60000"}});

    let created = world
        .ask(Method::POST, "/api/v1/topics", create.to_string())
        .await;
    let again = world
        .ask(Method::POST, "/api/v1/topics", create.to_string())
        .await;
    let listed = world.ask(Method::GET, "/api/v1/topics", "").await;
    let described = world.ask(Method::GET, "/api/v1/topics/new", "").await;
    let deleted = world.ask(Method::DELETE, "/api/v1/topics/new", "").await;
    let gone = world.ask(Method::DELETE, "/api/v1/topics/new", "").await;

    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    assert_problem(&again, 409, "topic-exists");
    assert_eq!(listed.body["topics"][0]["name"], "new");
    assert_eq!(described.body["partition_offsets"][1]["partition"], 1);
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_problem(&gone, 404, "unknown-topic");
}

#[tokio::test]
async fn topics_that_cannot_be_are_refused() {
    let world = World::new();

    for body in [
        json!({"name": "a/b"}),
        json!({"name": "x", "partitions": 0}),
        json!({"name": "x", "partitions": 10_001}),
        json!({"name": "x", "configs": {"no.such": "1"}}),
        json!({"name": "x", "configs": {"retention.ms": "soon"}}),
        json!({"name": "x", "replicas": 3}),
    ] {
        let answer = world
            .ask(Method::POST, "/api/v1/topics", body.to_string())
            .await;
        assert_problem(&answer, 400, "bad-request");
    }
}

#[tokio::test]
async fn trouble_behind_the_front_is_told_as_what_it_is() {
    let world = World::new();
    let cases = [
        (MetadataError::Overloaded, 429, "overloaded"),
        (MetadataError::Recovering, 503, "unavailable"),
        (MetadataError::Unavailable, 503, "unavailable"),
        (MetadataError::Unknown, 504, "outcome-unknown"),
        (MetadataError::Deposed, 504, "outcome-unknown"),
    ];

    for (error, status, name) in cases {
        *world.log.failure.lock().unwrap() = Some(error);
        let answer = world.ask(Method::GET, "/api/v1/topics/none", "").await;
        assert_problem(&answer, status, name);
    }
    *world.log.failure.lock().unwrap() = None;
    let unknown = world.ask(Method::GET, "/api/v1/topics/none", "").await;
    assert_problem(&unknown, 404, "unknown-topic");
}

#[tokio::test]
async fn paths_methods_and_places_that_are_not_there_are_told() {
    let world = World::new();

    assert_problem(
        &world.ask(Method::GET, "/nowhere", "").await,
        404,
        "not-found",
    );
    let put = world.ask(Method::PUT, "/api/v1/topics", "").await;
    assert_problem(&put, 405, "method-not-allowed");
    assert!(put.headers.contains_key(header::ALLOW));
    let crowded = world.ask_with(0, Method::GET, "/api/v1/topics", "").await;
    assert_problem(&crowded, 429, "overloaded");
    assert_eq!(crowded.headers[header::RETRY_AFTER], "1");
    let partition = "/api/v1/topics/t/partitions/x/records";
    assert_problem(
        &world.ask(Method::GET, partition, "").await,
        404,
        "unknown-topic",
    );
}

#[tokio::test]
async fn bodies_beyond_the_memory_for_all_are_refused_until_others_are_done() {
    let world = World::new();
    let router = world.router();
    let open = |length: usize| {
        let (sender, body) = futures::channel::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let request = Request::post("/api/v1/topics/t/records")
            .header(header::CONTENT_LENGTH, length)
            .body(Body::from_stream(body))
            .unwrap();
        (sender, router.clone().oneshot(request))
    };
    let mut pending = Vec::new();
    for _ in 0..BODIES_BYTES_MAX / BODY_BYTES_MAX {
        let (sender, response) = open(BODY_BYTES_MAX);
        let mut response = Box::pin(response);
        assert!(futures::poll!(&mut response).is_pending());
        pending.push((sender, response));
    }

    let beyond = open(1).1.await.unwrap().status();
    pending.clear();
    let (_sender, after) = open(1);

    assert_eq!(beyond, StatusCode::TOO_MANY_REQUESTS);
    assert!(
        futures::poll!(Box::pin(after)).is_pending(),
        "there is room again"
    );
}

#[tokio::test]
async fn health_and_metrics_answer_without_a_place() {
    let world = World::new();
    let ask = async |path| world.ask_with(0, Method::GET, path, "").await;

    let alive = ask("/livez").await;
    let ready = ask("/readyz").await;
    *world.log.not_ready.lock().unwrap() = Some("standing by".to_owned());
    let not_ready = ask("/readyz").await;
    let metrics = ask("/metrics").await;

    assert_eq!(alive.body["owner"], "0abc");
    assert_eq!(ready.status, StatusCode::OK);
    assert_eq!(not_ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(not_ready.body["reason"], "standing by");
    assert_eq!(metrics.body, "esker_up 1\n");
}
