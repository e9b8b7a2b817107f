//! DescribeCluster and FindCoordinator: who is there, and whom to ask.

use esker_cluster::Member;
use esker_kafka::messages::describe_cluster_response::DescribeClusterBroker;
use esker_kafka::messages::find_coordinator_response::Coordinator;
use esker_kafka::messages::{
    DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, StrBytes,
};

use crate::error::{ClusterRefusal, CoordinatorRefusal};
use crate::front::Front;
use crate::metadata::cluster_id;
use crate::operations::Wanted;
use crate::placement;
use crate::reply;

/// Kafka's numbers of endpoint types.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
/// First version of DescribeCluster that says which endpoints it is about.
const ENDPOINT_TYPE_FROM: i16 = 1;
/// Kafka's numbers of coordinator keys.
const GROUP_KEY: i8 = 0;
const TRANSACTION_KEY: i8 = 1;
/// First version of FindCoordinator that asks for several keys.
const BATCH_FROM: i16 = 4;

pub(crate) fn describe(
    front: &Front,
    version: i16,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_cluster_id(cluster_id(front.catalogue.cluster()))
        .with_endpoint_type(BROKERS);
    let refusal = match request.endpoint_type {
        _ if version < ENDPOINT_TYPE_FROM => None,
        BROKERS => None,
        CONTROLLERS => Some(ClusterRefusal::Controllers),
        code => Some(ClusterRefusal::EndpointType { code }),
    };
    if let Some(refusal) = refusal {
        return response
            .with_error_code(reply::cluster(refusal).code())
            .with_error_message(Some(reply::words(&refusal)));
    }
    let one = |broker: &Member| {
        DescribeClusterBroker::default()
            .with_broker_id(placement::id(broker))
            .with_host(placement::wire_host(broker))
            .with_port(i32::from(broker.at.port))
            .with_rack(placement::wire_rack(broker))
    };
    let operations = Wanted::new(
        request.include_cluster_authorized_operations,
        version,
        0..=2,
    );
    response
        .with_error_message(None)
        .with_controller_id(placement::id(front.brokers.here()))
        .with_brokers(front.brokers.all().iter().map(one).collect())
        .with_cluster_authorized_operations(operations.cluster())
}

pub(crate) fn find_coordinator(
    front: &Front,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    // Version 0 knows groups only; the codec fills in their number.
    let key_type = request.key_type;
    if version >= BATCH_FROM {
        let one = |key| batched(key_type, key, front);
        let coordinators = request.coordinator_keys.into_iter().map(one).collect();
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    match coordinator(front, key_type, &request.key) {
        Ok(broker) => FindCoordinatorResponse::default()
            .with_error_message(None)
            .with_node_id(placement::id(broker))
            .with_host(placement::wire_host(broker))
            .with_port(i32::from(broker.at.port)),
        Err(refusal) => FindCoordinatorResponse::default()
            .with_error_code(reply::coordinator(refusal).code())
            .with_error_message(Some(reply::words(&refusal)))
            .with_node_id((-1).into())
            .with_port(-1),
    }
}

fn batched(key_type: i8, key: StrBytes, front: &Front) -> Coordinator {
    match coordinator(front, key_type, &key) {
        Ok(broker) => Coordinator::default()
            .with_key(key)
            .with_error_message(None)
            .with_node_id(placement::id(broker))
            .with_host(placement::wire_host(broker))
            .with_port(i32::from(broker.at.port)),
        Err(refusal) => Coordinator::default()
            .with_key(key)
            .with_error_code(reply::coordinator(refusal).code())
            .with_error_message(Some(reply::words(&refusal)))
            .with_node_id((-1).into())
            .with_port(-1),
    }
}

fn coordinator<'a>(
    front: &'a Front,
    key_type: i8,
    key: &str,
) -> Result<&'a Member, CoordinatorRefusal> {
    match key_type {
        GROUP_KEY => Ok(front.brokers.coordinator(key)),
        TRANSACTION_KEY => Err(CoordinatorRefusal::Transactions),
        code => Err(CoordinatorRefusal::KeyType { code }),
    }
}
