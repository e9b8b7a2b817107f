//! One broker in memory behind a real listener, for tests of the client.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use esker_env::{Env, Shutdown, ShutdownTrigger, TaskGroup};
use esker_kafka::messages::create_topics_response::CreatableTopicResult;
use esker_kafka::messages::delete_topics_response::DeletableTopicResult;
use esker_kafka::messages::describe_groups_response::DescribedGroup;
use esker_kafka::messages::list_groups_response::ListedGroup;
use esker_kafka::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use esker_kafka::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use esker_kafka::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use esker_kafka::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use esker_kafka::messages::*;
use esker_kafka::{
    FetchPartitionReply, FetchReply, FetchTopicReply, KafkaError, Listener, ListenerConfig,
    Metrics, Reply, Request, RequestContext, Response, Service,
};
use esker_types::TopicId;
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// Each batch counts as one offset; groups are their committed offsets.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<String, Vec<Vec<Bytes>>>,
    committed: BTreeMap<(String, i32), i64>,
    refusals: Vec<KafkaError>,
    oddity: Option<Oddity>,
}

/// What no broker should answer to Produce.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Oddity {
    /// Nothing about the partition.
    Empty,
    /// An error code that nobody knows.
    Code(i16),
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) broker: Arc<Broker>,
    pub(crate) metrics: Arc<Metrics>,
    trigger: ShutdownTrigger,
    tasks: TaskGroup,
}

impl Running {
    pub(crate) async fn stop(&mut self) {
        self.trigger.request();
        self.tasks.join_next().await.unwrap().unwrap();
    }
}

pub(crate) async fn start() -> Running {
    start_at(([127, 0, 0, 1], 0).into()).await
}

pub(crate) async fn start_at(listen: SocketAddr) -> Running {
    let config = ListenerConfig {
        listen,
        ..ListenerConfig::default()
    };
    let broker = Arc::new(Broker::default());
    let service = broker.clone();
    let listener = Listener::bind(config, service, Env::system())
        .await
        .unwrap();
    let (address, metrics) = (listener.local_address(), listener.metrics());
    let (trigger, shutdown) = Shutdown::new();
    let mut tasks = TaskGroup::new("broker");
    tasks.spawn(listener.run(shutdown));
    Running {
        address,
        broker,
        metrics,
        trigger,
        tasks,
    }
}

impl Service for Broker {
    fn admit(
        &self,
        context: RequestContext,
        request: Request,
    ) -> BoxFuture<'_, BoxFuture<'static, Reply>> {
        let reply = self.state.lock().unwrap().answer(&context, request);
        std::future::ready(std::future::ready(reply).boxed()).boxed()
    }
}

impl Broker {
    /// The next `times` Produce requests fail with `error`.
    pub(crate) fn refuse_next(&self, error: KafkaError, times: usize) {
        self.state.lock().unwrap().refusals = vec![error; times];
    }

    /// The next Produce request is answered oddly.
    pub(crate) fn answer_oddly(&self, oddity: Oddity) {
        self.state.lock().unwrap().oddity = Some(oddity);
    }
}

impl State {
    fn answer(&mut self, context: &RequestContext, request: Request) -> Reply {
        Reply::Message(match request {
            Request::Metadata(request) => self.metadata(context, &request),
            Request::CreateTopics(request) => self.create(&request),
            Request::DeleteTopics(request) => self.delete(&request),
            Request::Produce(request) => self.produce(request),
            Request::Fetch(request) => return Reply::Fetch(self.fetch(&request)),
            Request::ListOffsets(request) => self.list_offsets(&request),
            Request::FindCoordinator(_) => Response::FindCoordinator(
                FindCoordinatorResponse::default()
                    .with_node_id(1.into())
                    .with_host("127.0.0.1".into())
                    .with_port(context.local_address.port().into()),
            ),
            Request::OffsetCommit(request) => self.commit(&request),
            Request::OffsetFetch(request) => self.committed(&request),
            Request::ListGroups(_) => {
                let group = ListedGroup::default().with_group_id(GroupId("readers".into()));
                Response::ListGroups(ListGroupsResponse::default().with_groups(vec![group]))
            }
            Request::DescribeGroups(request) => {
                let group = DescribedGroup::default().with_group_id(request.groups[0].clone());
                Response::DescribeGroups(DescribeGroupsResponse::default().with_groups(vec![group]))
            }
            _ => return Reply::Close,
        })
    }

    fn metadata(&self, context: &RequestContext, request: &MetadataRequest) -> Response {
        let broker = MetadataResponseBroker::default()
            .with_node_id(1.into())
            .with_host("127.0.0.1".into())
            .with_port(context.local_address.port().into());
        let wanted = |name: &String| match &request.topics {
            None => true,
            Some(topics) => topics.iter().any(|topic| {
                topic
                    .name
                    .as_ref()
                    .is_some_and(|wanted| wanted.as_str() == name)
            }),
        };
        let topics = self.topics.iter().filter(|(name, _)| wanted(name));
        let topics = topics.map(|(name, partitions)| {
            let partitions = (0..partitions.len()).map(|index| {
                MetadataResponsePartition::default()
                    .with_partition_index(i32::try_from(index).unwrap())
                    .with_leader_id(1.into())
            });
            MetadataResponseTopic::default()
                .with_name(Some(TopicName(name.clone().into())))
                .with_partitions(partitions.collect())
        });
        Response::Metadata(
            MetadataResponse::default()
                .with_brokers(vec![broker])
                .with_controller_id(1.into())
                .with_topics(topics.collect()),
        )
    }

    fn create(&mut self, request: &CreateTopicsRequest) -> Response {
        let topic = &request.topics[0];
        let partitions = usize::try_from(topic.num_partitions).unwrap();
        let taken = self.topics.contains_key(topic.name.as_str());
        let error = if taken {
            KafkaError::TopicAlreadyExists
        } else {
            KafkaError::None
        };
        self.topics
            .entry(topic.name.to_string())
            .or_insert(vec![Vec::new(); partitions]);
        let result = CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(error.code())
            .with_num_partitions(topic.num_partitions);
        Response::CreateTopics(CreateTopicsResponse::default().with_topics(vec![result]))
    }

    fn delete(&mut self, request: &DeleteTopicsRequest) -> Response {
        let name = request.topic_names[0].clone();
        self.topics.remove(name.as_str());
        let result = DeletableTopicResult::default().with_name(Some(name));
        Response::DeleteTopics(DeleteTopicsResponse::default().with_responses(vec![result]))
    }

    fn produce(&mut self, request: ProduceRequest) -> Response {
        let topic = request.topic_data.into_iter().next().unwrap();
        let data = topic.partition_data.into_iter().next().unwrap();
        let index = usize::try_from(data.index).unwrap();
        let mut answer = PartitionProduceResponse::default().with_index(data.index);
        let oddity = self.oddity.take();
        if let Some(Oddity::Code(code)) = oddity {
            answer.error_code = code;
        }
        match self.refusals.pop() {
            Some(error) => answer.error_code = error.code(),
            None => {
                let log = &mut self.topics.get_mut(topic.name.as_str()).unwrap()[index];
                answer.base_offset = i64::try_from(log.len()).unwrap();
                log.push(data.records.unwrap());
            }
        }
        let answer = TopicProduceResponse::default()
            .with_name(topic.name)
            .with_partition_responses(match oddity {
                Some(Oddity::Empty) => Vec::new(),
                Some(Oddity::Code(_)) | None => vec![answer],
            });
        Response::Produce(ProduceResponse::default().with_responses(vec![answer]))
    }

    fn log(&self, topic: &TopicName, partition: i32) -> &[Bytes] {
        &self.topics[topic.as_str()][usize::try_from(partition).unwrap()]
    }

    fn fetch(&self, request: &FetchRequest) -> FetchReply {
        let wanted = &request.topics[0];
        let partition = &wanted.partitions[0];
        let log = self.log(&wanted.topic, partition.partition);
        let end = i64::try_from(log.len()).unwrap();
        let from = usize::try_from(partition.fetch_offset).unwrap();
        let records = log.get(from..).map(<[Bytes]>::to_vec);
        let error = match records {
            Some(_) => KafkaError::None,
            None => KafkaError::OffsetOutOfRange,
        };
        let partition = FetchPartitionReply {
            partition: partition.partition,
            error,
            high_watermark: end,
            last_stable_offset: end,
            log_start_offset: 0,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: records.unwrap_or_default(),
        };
        let topic = FetchTopicReply {
            topic: wanted.topic.0.clone(),
            topic_id: TopicId::from_bytes([1; 16]),
            partitions: vec![partition],
        };
        FetchReply {
            topics: vec![topic],
            ..FetchReply::failed(KafkaError::None)
        }
    }

    fn list_offsets(&self, request: &ListOffsetsRequest) -> Response {
        let topic = &request.topics[0];
        let partition = topic.partitions[0].partition_index;
        let end = i64::try_from(self.log(&topic.name, partition).len()).unwrap();
        let answer = ListOffsetsPartitionResponse::default()
            .with_partition_index(partition)
            .with_offset(end);
        let topic = ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(vec![answer]);
        Response::ListOffsets(ListOffsetsResponse::default().with_topics(vec![topic]))
    }

    fn commit(&mut self, request: &OffsetCommitRequest) -> Response {
        for topic in &request.topics {
            for partition in &topic.partitions {
                let place = (topic.name.to_string(), partition.partition_index);
                self.committed.insert(place, partition.committed_offset);
            }
        }
        Response::OffsetCommit(OffsetCommitResponse::default())
    }

    fn committed(&self, request: &OffsetFetchRequest) -> Response {
        let asked: Vec<(String, i32)> = match &request.topics {
            None => self.committed.keys().cloned().collect(),
            Some(topics) => {
                let places = |topic: &offset_fetch_request::OffsetFetchRequestTopic| {
                    let name = topic.name.to_string();
                    let partitions = topic.partition_indexes.clone().into_iter();
                    partitions.map(move |partition| (name.clone(), partition))
                };
                topics.iter().flat_map(places).collect()
            }
        };
        let topics = asked.into_iter().map(|place| {
            let offset = self.committed.get(&place).copied().unwrap_or(-1);
            let partition = OffsetFetchResponsePartition::default()
                .with_partition_index(place.1)
                .with_committed_offset(offset);
            OffsetFetchResponseTopic::default()
                .with_name(TopicName(place.0.into()))
                .with_partitions(vec![partition])
        });
        Response::OffsetFetch(OffsetFetchResponse::default().with_topics(topics.collect()))
    }
}
