//! InitProducerId: a fresh id for an idempotent producer. Transactions are refused, at once and for
//! good, so that a client does not wait for what never comes.
//!
//! The id and epoch that a client of version 3 and later may send count with a transactional id
//! only; an idempotent producer that wants a new start gets a new id.

use esker_kafka::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireId};
use esker_types::{ProducerEpoch, ProducerId};

use crate::error::ProducerRefusal;
use crate::front::Front;
use crate::reply;

pub(crate) async fn answer(
    front: &Front,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    match producer_id(front, request).await {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(WireId(id.to_wire()))
            .with_producer_epoch(ProducerEpoch::default().to_wire()),
        Err(refusal) => InitProducerIdResponse::default()
            .with_error_code(reply::producer(refusal).code())
            .with_producer_id(WireId(-1))
            .with_producer_epoch(-1),
    }
}

async fn producer_id(
    front: &Front,
    request: InitProducerIdRequest,
) -> Result<ProducerId, ProducerRefusal> {
    match request.transactional_id {
        None => front
            .catalogue
            .producer_id()
            .await
            .map_err(ProducerRefusal::NotAnswered),
        Some(id) if id.is_empty() => Err(ProducerRefusal::EmptyTransactionalId),
        Some(_) => Err(ProducerRefusal::Transactions),
    }
}
