//! ListConfigResources: what has settings. Topics and brokers do.

use esker_cluster::Member;
use esker_kafka::messages::list_config_resources_response::ConfigResource;
use esker_kafka::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse, StrBytes};

use crate::describe_configs::{BROKER_RESOURCE, TOPIC_RESOURCE};
use crate::error::ConfigsRefusal;
use crate::front::Front;
use crate::reply;

/// Kafka's numbers of resources that may have settings there and have none here.
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
/// First version that names the types it wants; before it are client metrics meant.
const TYPES_FROM: i16 = 1;

pub(crate) fn answer(
    front: &Front,
    version: i16,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let wanted = match request.resource_types.as_slice() {
        _ if version < TYPES_FROM => vec![CLIENT_METRICS],
        [] => vec![TOPIC_RESOURCE, BROKER_RESOURCE],
        types => types.to_vec(),
    };
    let is_known = |code: &i8| {
        [
            TOPIC_RESOURCE,
            BROKER_RESOURCE,
            BROKER_LOGGER,
            CLIENT_METRICS,
            GROUP,
        ]
        .contains(code)
    };
    if let Some(code) = wanted.iter().copied().find(|code| !is_known(code)) {
        let refusal = ConfigsRefusal::UnlistedType { code };
        let code = reply::configs(refusal).code();
        return ListConfigResourcesResponse::default().with_error_code(code);
    }
    let resource = |name: String, kind: i8| {
        ConfigResource::default()
            .with_resource_name(StrBytes::from_string(name))
            .with_resource_type(kind)
    };
    let mut resources = Vec::new();
    if wanted.contains(&TOPIC_RESOURCE) {
        let table = front.catalogue.cached();
        let topics = table.iter();
        resources.extend(topics.map(|topic| resource(topic.name.to_string(), TOPIC_RESOURCE)));
    }
    if wanted.contains(&BROKER_RESOURCE) {
        let brokers = front.brokers.all().iter();
        let one = |broker: &Member| resource(broker.node_id.to_string(), BROKER_RESOURCE);
        resources.extend(brokers.map(one));
    }
    ListConfigResourcesResponse::default().with_config_resources(resources)
}
