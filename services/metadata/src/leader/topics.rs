//! Changes of topics that exist: partitions, settings, the start of a log; settings of brokers; who
//! writes to a partition.

use std::sync::Arc;

use esker_metadata_api::{
    ActiveProducer, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError, DeleteBefore,
    DeleteRecordsError, LogIndexError, MetadataError, Topic,
};
use esker_types::{Offset, TopicPartition};

use super::Leader;
use super::durable::Pending;
use super::questions::Question;
use crate::catalogue::CatalogueCommand;
use crate::command::Command;
use crate::metrics::add_one;
use crate::request::ReplyTo;

impl Leader {
    pub(super) fn alter_topic(
        &mut self,
        request: AlterTopic,
        reply: ReplyTo<Result<Arc<Topic>, AlterTopicError>>,
    ) {
        let altered = self.state.catalogue.altered(request.topic, &request.change);
        if !request.validate_only && altered.is_ok() {
            let command = CatalogueCommand::AlterTopic {
                topic: request.topic,
                change: request.change,
            };
            self.append(Command::Catalogue(command), Pending::Altered(reply));
        } else if self.has_room_for_questions() {
            // Nothing is to be written; but a refusal must be true now, not some time ago.
            self.ask_current(Question::AlterTopic { request, reply });
        } else {
            add_one(&self.parts.metrics.refusals);
            let _ = reply.send(Err(AlterTopicError::Metadata(MetadataError::Overloaded)));
        }
    }

    pub(super) fn alter_topic_checked(
        &mut self,
        request: AlterTopic,
        reply: ReplyTo<Result<Arc<Topic>, AlterTopicError>>,
    ) {
        match self.state.catalogue.altered(request.topic, &request.change) {
            Ok(_) if !request.validate_only => self.alter_topic(request, reply),
            altered => {
                let _ = reply.send(altered.map(Arc::new));
            }
        }
    }

    pub(super) fn alter_broker(
        &mut self,
        request: AlterBroker,
        reply: ReplyTo<Result<(), AlterBrokerError>>,
    ) {
        // Also one that is late already: being durable, the answer is true now.
        let command = CatalogueCommand::AlterBroker(request);
        self.append(Command::Catalogue(command), Pending::BrokerAltered(reply));
    }

    pub(super) fn producers(
        &mut self,
        topic_partition: TopicPartition,
        reply: ReplyTo<Result<Vec<ActiveProducer>, LogIndexError>>,
    ) {
        if self.has_room_for_questions() {
            self.ask_current(Question::Producers {
                topic_partition,
                reply,
            });
        } else {
            add_one(&self.parts.metrics.refusals);
            let _ = reply.send(Err(LogIndexError::Metadata(MetadataError::Overloaded)));
        }
    }

    pub(super) fn producers_now(
        &self,
        topic_partition: TopicPartition,
    ) -> Result<Vec<ActiveProducer>, LogIndexError> {
        if !self.state.catalogue.has(topic_partition) {
            return Err(LogIndexError::UnknownPartition);
        }
        Ok(self
            .sequencer
            .active_producers(&self.state.log, topic_partition))
    }

    pub(super) fn delete_records(
        &mut self,
        topic_partition: TopicPartition,
        before: DeleteBefore,
        reply: ReplyTo<Result<Offset, DeleteRecordsError>>,
    ) {
        if self.has_room_for_questions() {
            self.ask_current(Question::DeleteRecords {
                topic_partition,
                before,
                reply,
            });
        } else {
            add_one(&self.parts.metrics.refusals);
            let error = DeleteRecordsError::Metadata(MetadataError::Overloaded);
            let _ = reply.send(Err(error));
        }
    }

    /// All that was acknowledged before the question is visible by now.
    pub(super) fn delete_records_decided(
        &mut self,
        topic_partition: TopicPartition,
        before: DeleteBefore,
        reply: ReplyTo<Result<Offset, DeleteRecordsError>>,
    ) {
        if !self.state.catalogue.has(topic_partition) {
            let _ = reply.send(Err(DeleteRecordsError::UnknownPartition));
            return;
        }
        let log = &self.state.log;
        let high_watermark = self.sequencer.high_watermark(log, topic_partition);
        let log_start = match before {
            DeleteBefore::Offset(offset) => offset,
            DeleteBefore::HighWatermark => high_watermark,
        };
        if log_start <= log.log_start(topic_partition) {
            let _ = reply.send(Ok(log.log_start(topic_partition)));
            return;
        }
        match self
            .sequencer
            .move_log_start(log, topic_partition, log_start)
        {
            Some(command) => {
                let pending = Pending::LogStartMoved {
                    topic_partition,
                    reply,
                };
                self.append(Command::Log(command), pending);
            }
            None => {
                let _ = reply.send(Err(DeleteRecordsError::OutOfRange { high_watermark }));
            }
        }
    }
}
