//! Takes calls in: answered at once, behind a durable command, or when current (questions.rs).

use std::sync::Arc;

use esker_metadata_api::limits::LOOKUP_EXTENTS_MAX;
use esker_metadata_api::{
    BatchVerdict, CreateTopic, CreateTopicError, CreatedTopic, IndexSlice, ListedOffset,
    LogIndexError, MetadataError, OffsetQuery, Registered, ReserveError, ReserveReply,
    ReserveRequest, SessionEnd, Topic,
};
use esker_sequencer::EndAnswer;
use esker_types::{Offset, SessionId, TopicPartition};

use super::Leader;
use super::durable::Pending;
use super::questions::Question;
use crate::catalogue::CatalogueCommand;
use crate::command::Command;
use crate::limits::FOLLOWERS_MAX;
use crate::metrics::add_one;
use crate::request::{Answer, FeedStart, ReplyTo, Request};

impl Leader {
    pub(super) fn request(&mut self, request: Request) {
        match request {
            Request::Register { replaces, reply } => self.register(replaces, reply),
            Request::Reserve { request, reply } => self.reserve(&request, reply),
            Request::Written { report, reply } => {
                let now = self.now();
                let effects = self.sequencer.written(&self.state.log, &report, now);
                self.sequencer_effects(effects);
                let _ = reply.send(Ok(()));
            }
            Request::EndSession { session, reply } => self.end_asked(session, reply),
            Request::Follow { reply } => self.follow(reply),
            Request::LookUp {
                topic_partition,
                offset,
                extents_max,
                reply,
            } => self.look_up(topic_partition, offset, extents_max, reply),
            Request::ListOffset {
                topic_partition,
                query,
                from,
                reply,
            } => self.list_offset(topic_partition, query, from, reply),
            Request::TopicsCurrent { reply } => self.topics_current(reply),
            Request::CreateTopic { request, reply } => self.create_topic(request, reply),
            Request::DeleteTopic { topic, reply } => {
                let command = CatalogueCommand::DeleteTopic(topic);
                self.append(Command::Catalogue(command), Pending::Deleted(reply));
            }
            Request::AlterTopic { request, reply } => self.alter_topic(request, reply),
            Request::DeleteRecords {
                topic_partition,
                before,
                reply,
            } => self.delete_records(topic_partition, before, reply),
            Request::AlterBroker { request, reply } => self.alter_broker(request, reply),
            Request::Producers {
                topic_partition,
                reply,
            } => self.producers(topic_partition, reply),
            Request::LogBytes { reply } => {
                if self.has_room_for_questions() {
                    self.ask_current(Question::LogBytes(reply));
                } else {
                    self.refuse(reply, MetadataError::Overloaded);
                }
            }
            Request::Leadership { reply } => {
                if self.has_room_for_questions() {
                    self.ask_current(Question::Leadership(reply));
                } else {
                    self.refuse(reply, MetadataError::Overloaded);
                }
            }
            Request::ProducerId { reply } => {
                self.callers.wait_for_producer_id(reply);
                if self.callers.wants_producer_ids() {
                    self.take_producer_ids();
                }
            }
            Request::Announce { pod, reply } => {
                let now = self.now();
                let _ = reply.send(self.pods.announce(now, pod));
            }
            Request::Group { request, reply } => self.group(request, reply),
        }
    }

    fn register(&mut self, replaces: Option<SessionId>, reply: ReplyTo<Answer<Registered>>) {
        let session = self.parts.env.rng.session_id();
        match self.sequencer.register(session) {
            Ok(command) => {
                let pending = Pending::Registered {
                    session,
                    replaces,
                    reply,
                };
                self.append(Command::Log(command), pending);
            }
            Err(error) => {
                tracing::warn!(%error, "no session registered");
                self.refuse(reply, MetadataError::Overloaded);
            }
        }
    }

    fn reserve(
        &mut self,
        request: &ReserveRequest,
        reply: ReplyTo<Result<ReserveReply, ReserveError>>,
    ) {
        let now = self.now();
        let catalogue = &self.state.catalogue;
        let exists = |topic_partition| catalogue.has(topic_partition);
        let (outcome, effects) = self
            .sequencer
            .reserve(&self.state.log, &exists, request, now);
        self.sequencer_effects(effects);
        match outcome {
            Ok(answer) if has_final_refusal(&answer) => {
                self.ask_current(Question::Reserve { reply, answer });
            }
            outcome => {
                let _ = reply.send(outcome);
            }
        }
    }

    fn end_asked(&mut self, session: SessionId, reply: ReplyTo<Answer<SessionEnd>>) {
        match self.end_session(session) {
            EndAnswer::Ended(end) => {
                let _ = reply.send(Ok(end));
            }
            EndAnswer::Pending => self.callers.wait_for_end(session, reply),
            // Never registered, or forgotten long ago: nothing can be said of its segments.
            EndAnswer::Unknown => self.refuse(reply, MetadataError::Unknown),
        }
    }

    fn follow(&mut self, reply: ReplyTo<Answer<FeedStart>>) {
        if self.parts.feed.receiver_count() >= FOLLOWERS_MAX {
            self.refuse(reply, MetadataError::Overloaded);
            return;
        }
        let start = FeedStart {
            topics: self.table(),
            updates: self.parts.feed.subscribe(),
        };
        let _ = reply.send(Ok(start));
    }

    fn look_up(
        &mut self,
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
        reply: ReplyTo<Result<IndexSlice, LogIndexError>>,
    ) {
        if self.state.catalogue.has(topic_partition) {
            let _ = reply.send(self.looked_up(topic_partition, offset, extents_max));
        } else if self.has_room_for_questions() {
            self.ask_current(Question::LookUp {
                topic_partition,
                offset,
                extents_max,
                reply,
            });
        } else {
            add_one(&self.parts.metrics.refusals);
            let _ = reply.send(Err(LogIndexError::Metadata(MetadataError::Overloaded)));
        }
    }

    pub(super) fn looked_up(
        &self,
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
    ) -> Result<IndexSlice, LogIndexError> {
        if !self.state.catalogue.has(topic_partition) {
            return Err(LogIndexError::UnknownPartition);
        }
        let extents_max = extents_max.min(LOOKUP_EXTENTS_MAX);
        Ok(self
            .sequencer
            .look_up(&self.state.log, topic_partition, offset, extents_max))
    }

    fn list_offset(
        &mut self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
        reply: ReplyTo<Result<ListedOffset, LogIndexError>>,
    ) {
        if self.has_room_for_questions() {
            self.ask_current(Question::ListOffset {
                topic_partition,
                query,
                from,
                reply,
            });
        } else {
            add_one(&self.parts.metrics.refusals);
            let _ = reply.send(Err(LogIndexError::Metadata(MetadataError::Overloaded)));
        }
    }

    pub(super) fn listed_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
    ) -> Result<ListedOffset, LogIndexError> {
        if !self.state.catalogue.has(topic_partition) {
            return Err(LogIndexError::UnknownPartition);
        }
        Ok(self
            .sequencer
            .list_offset(&self.state.log, topic_partition, query, from))
    }

    fn topics_current(&mut self, reply: ReplyTo<Answer<Arc<esker_metadata_api::TopicTable>>>) {
        if self.has_room_for_questions() {
            self.ask_current(Question::Topics(reply));
        } else {
            self.refuse(reply, MetadataError::Overloaded);
        }
    }

    fn new_topic(&self, request: &CreateTopic) -> Topic {
        Topic {
            id: self.parts.env.rng.topic_id(),
            name: request.name.clone(),
            partition_count: request.partition_count,
            replication_factor: request.replication_factor,
            configs: request.configs.clone(),
            defaults: Arc::default(),
        }
    }

    fn create_topic(
        &mut self,
        request: CreateTopic,
        reply: ReplyTo<Result<CreatedTopic, CreateTopicError>>,
    ) {
        let topic = self.new_topic(&request);
        if request.validate_only || self.state.catalogue.check(&topic).is_err() {
            // Nothing is to be written; but "exists" must be true now, not some time ago.
            self.ask_current(Question::CreateTopic { request, reply });
            return;
        }
        let command = CatalogueCommand::CreateTopic(topic);
        self.append(Command::Catalogue(command), Pending::Created(reply));
    }

    pub(super) fn create_topic_checked(
        &mut self,
        request: CreateTopic,
        reply: ReplyTo<Result<CreatedTopic, CreateTopicError>>,
    ) {
        let topic = self.new_topic(&request);
        match self.state.catalogue.check(&topic) {
            Ok(()) if !request.validate_only => self.create_topic(request, reply),
            checked => {
                let topic = Arc::new(topic);
                let _ = reply.send(checked.map(|()| CreatedTopic { topic }));
            }
        }
    }

    pub(super) fn take_producer_ids(&mut self) {
        let command = CatalogueCommand::TakeProducerIds;
        self.append(Command::Catalogue(command), Pending::Nobody);
    }

    fn group(
        &mut self,
        request: esker_metadata_api::GroupRequest,
        reply: ReplyTo<Answer<esker_metadata_api::GroupReply>>,
    ) {
        let ticket = self.callers.group_ticket(reply);
        let seed = esker_groups::MemberSeed::from_bytes(self.parts.env.rng.write_id().bytes());
        let moment = self.moment();
        let catalogue = &self.state.catalogue;
        let exists = |topic_partition| catalogue.has(topic_partition);
        let groups = &self.state.groups;
        let effects = self
            .groups
            .step(moment, ticket, request, groups, &exists, seed);
        self.group_effects(effects);
    }
}

fn has_final_refusal(reply: &ReserveReply) -> bool {
    reply
        .verdicts
        .iter()
        .any(|verdict| matches!(verdict, BatchVerdict::Refused(_)))
}
