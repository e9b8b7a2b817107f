//! InitProducerId, all versions.

use esker_kafka::messages::{InitProducerIdRequest, InitProducerIdResponse, TransactionalId};
use esker_kafka::{Api, Request};
use esker_metadata_api::MetadataError;

use crate::wire::{World, body, text, versions, world};

async fn ask(world: &World, version: i16, transactional: Option<&str>) -> InitProducerIdResponse {
    let id = transactional.map(|id| TransactionalId(text(id)));
    let request = InitProducerIdRequest::default().with_transactional_id(id);
    let response = world.ask(version, Request::InitProducerId(request)).await;
    body!(InitProducerId, response)
}

#[tokio::test]
async fn every_producer_gets_an_id_of_its_own_and_epoch_0() {
    let world = world();
    for (version, wanted) in versions(Api::InitProducerId).zip(1..) {
        let response = ask(&world, version, None).await;

        let answered = (
            response.error_code,
            response.producer_id.0,
            response.producer_epoch,
        );
        assert_eq!(answered, (0, wanted, 0));
    }
}

#[tokio::test]
async fn transactional_producers_are_refused_for_good() {
    let world = world();
    for version in versions(Api::InitProducerId) {
        let named = ask(&world, version, Some("t")).await;
        let empty = ask(&world, version, Some("")).await;

        assert_eq!(
            (named.error_code, named.producer_id.0, named.producer_epoch),
            (35, -1, -1)
        );
        assert_eq!((empty.error_code, empty.producer_id.0), (42, -1));
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_of_the_metadata_service_is_told_as_loading() {
    for error in [
        MetadataError::Unavailable,
        MetadataError::Deposed,
        MetadataError::Unknown,
    ] {
        let world = world();
        world.admin.fail_producer_ids(error);

        assert_eq!(ask(&world, 4, None).await.error_code, 14, "{error}");
    }
    let world = world();
    world.admin.hang();
    assert_eq!(
        ask(&world, 4, None).await.error_code,
        14,
        "and it does not wait for ever"
    );
}
