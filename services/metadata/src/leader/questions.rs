//! Answers that must be current (R1): they wait for an epoch check that began after the question
//! came, then until everything undecided at that moment is decided.
//!
//! One check serves all questions that came before it; the next one begins when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_journal::EpochCheckError;
use esker_metadata_api::{
    ActiveProducer, AlterTopic, AlterTopicError, CreateTopic, CreateTopicError, CreatedTopic,
    DeleteBefore, DeleteRecordsError, GroupReply, IndexSlice, Leadership, ListedOffset,
    LogIndexError, OffsetQuery, ReserveError, ReserveReply, Topic, TopicTable,
};
use esker_sequencer::Barrier;
use esker_types::{MonotonicTime, Offset, Planted, TopicPartition, planted};
use futures::future::BoxFuture;

use super::Leader;
use crate::limits::{QUESTIONS_WAITING_MAX, UNDECIDED_WAIT_MAX};
use crate::metrics::add_one;
use crate::request::{Answer, ReplyTo};

/// A question, with what is known of its answer already.
#[derive(Debug)]
pub(super) enum Question {
    Topics(ReplyTo<Answer<Arc<TopicTable>>>),
    ListOffset {
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
        reply: ReplyTo<Result<ListedOffset, LogIndexError>>,
    },
    LookUp {
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
        reply: ReplyTo<Result<IndexSlice, LogIndexError>>,
    },
    /// A reservation with refusals that a producer takes as final (D4).
    Reserve {
        reply: ReplyTo<Result<ReserveReply, ReserveError>>,
        answer: ReserveReply,
    },
    /// A topic that is only checked, or that could not be made when it was asked for.
    CreateTopic {
        request: CreateTopic,
        reply: ReplyTo<Result<CreatedTopic, CreateTopicError>>,
    },
    /// A change that is only checked, or that could not be made when it was asked for.
    AlterTopic {
        request: AlterTopic,
        reply: ReplyTo<Result<Arc<Topic>, AlterTopicError>>,
    },
    /// The high watermark must cover every acknowledgement given before the question.
    DeleteRecords {
        topic_partition: TopicPartition,
        before: DeleteBefore,
        reply: ReplyTo<Result<Offset, DeleteRecordsError>>,
    },
    Producers {
        topic_partition: TopicPartition,
        reply: ReplyTo<Result<Vec<ActiveProducer>, LogIndexError>>,
    },
    LogBytes(ReplyTo<Answer<BTreeMap<TopicPartition, u64>>>),
    Leadership(ReplyTo<Answer<Leadership>>),
    Group {
        reply: ReplyTo<Answer<GroupReply>>,
        answer: GroupReply,
    },
}

#[derive(Debug)]
struct Asked {
    question: Question,
    barrier: Option<Barrier>,
    deadline: MonotonicTime,
}

/// All questions of a leader.
#[derive(Default)]
pub(super) struct Questions {
    /// For the next check.
    arrived: Vec<Asked>,
    /// Served by the check under way.
    checking: Vec<Asked>,
    check: Option<BoxFuture<'static, Result<(), EpochCheckError>>>,
    /// Checked; something of theirs is undecided.
    undecided: Vec<Asked>,
}

impl Questions {
    pub(super) fn is_checking(&self) -> bool {
        self.check.is_some()
    }

    fn count(&self) -> usize {
        self.arrived.len() + self.checking.len() + self.undecided.len()
    }

    /// The outcome of the check under way; pends for ever without one. Cancel safe.
    pub(super) async fn checked(&mut self) -> Result<(), EpochCheckError> {
        match &mut self.check {
            Some(check) => check.await,
            None => std::future::pending().await,
        }
    }
}

impl Leader {
    /// Whether one more question may wait.
    pub(super) fn has_room_for_questions(&self) -> bool {
        self.questions.count() < QUESTIONS_WAITING_MAX
    }

    /// Answers `question` when it is current.
    pub(super) fn ask_current(&mut self, question: Question) {
        let is_group = matches!(question, Question::Group { .. });
        if is_group && planted(Planted::GroupAnswerUnchecked) {
            self.answer(question);
            return;
        }
        let barrier = match &question {
            Question::ListOffset { .. } if planted(Planted::LatestIgnoresUndecided) => None,
            Question::ListOffset {
                topic_partition, ..
            }
            | Question::Producers {
                topic_partition, ..
            }
            | Question::DeleteRecords {
                topic_partition, ..
            } => Some(self.sequencer.barrier(*topic_partition)),
            Question::Topics(_)
            | Question::AlterTopic { .. }
            | Question::LogBytes(_)
            | Question::Leadership(_)
            | Question::LookUp { .. }
            | Question::Reserve { .. }
            | Question::CreateTopic { .. }
            | Question::Group { .. } => None,
        };
        self.questions.arrived.push(Asked {
            question,
            barrier,
            deadline: self.now().after(UNDECIDED_WAIT_MAX),
        });
        if !self.questions.is_checking() {
            self.start_check();
        }
    }

    /// Begins an epoch check that serves all that have arrived.
    pub(super) fn start_check(&mut self) {
        self.checked_at = self.now();
        add_one(&self.parts.metrics.epoch_checks);
        let arrived = &mut self.questions.arrived;
        self.questions.checking.append(arrived);
        self.questions.check = Some(self.journal.epoch_check());
    }

    pub(super) fn epoch_checked(&mut self, outcome: Result<(), EpochCheckError>) {
        self.questions.check = None;
        if let Err(error) = outcome
            && !planted(Planted::FenceSwallowed)
        {
            // The journal's last event ends the loop; until then nothing is answered (J3).
            tracing::info!(%error, "epoch check failed");
            return;
        }
        for asked in std::mem::take(&mut self.questions.checking) {
            self.answer_if_decided(asked);
        }
        if !self.questions.arrived.is_empty() {
            self.start_check();
        }
    }

    fn answer_if_decided(&mut self, asked: Asked) {
        let decided = asked
            .barrier
            .as_ref()
            .is_none_or(|barrier| self.sequencer.is_decided(barrier));
        if decided {
            self.answer(asked.question);
        } else {
            self.questions.undecided.push(asked);
        }
    }

    /// Lets go of questions whose undecided ranges are decided by now.
    pub(super) fn answer_decided(&mut self) {
        let decisions = self.sequencer.decisions();
        if decisions == std::mem::replace(&mut self.decisions_seen, decisions) {
            return;
        }
        for asked in std::mem::take(&mut self.questions.undecided) {
            self.answer_if_decided(asked);
        }
    }

    /// Says "not decided" to those who waited for too long.
    pub(super) fn expire_questions(&mut self) {
        let now = self.now();
        for asked in std::mem::take(&mut self.questions.undecided) {
            if asked.deadline > now {
                self.questions.undecided.push(asked);
                continue;
            }
            match asked.question {
                Question::ListOffset { reply, .. } => {
                    let _ = reply.send(Err(LogIndexError::NotDecided));
                }
                Question::Producers { reply, .. } => {
                    let _ = reply.send(Err(LogIndexError::NotDecided));
                }
                Question::DeleteRecords { reply, .. } => {
                    let _ = reply.send(Err(DeleteRecordsError::NotDecided));
                }
                // No other waits for anything undecided.
                _ => {}
            }
        }
    }

    fn answer(&mut self, question: Question) {
        // A caller may be gone: nothing is lost by an answer that nobody hears.
        match question {
            Question::Topics(reply) => {
                let _ = reply.send(Ok(self.table()));
            }
            Question::ListOffset {
                topic_partition,
                query,
                from,
                reply,
            } => {
                let _ = reply.send(self.listed_offset(topic_partition, query, from));
            }
            Question::LookUp {
                topic_partition,
                offset,
                extents_max,
                reply,
            } => {
                let _ = reply.send(self.looked_up(topic_partition, offset, extents_max));
            }
            Question::Reserve { reply, answer } => {
                let _ = reply.send(Ok(answer));
            }
            Question::CreateTopic { request, reply } => self.create_topic_checked(request, reply),
            Question::AlterTopic { request, reply } => self.alter_topic_checked(request, reply),
            Question::DeleteRecords {
                topic_partition,
                before,
                reply,
            } => self.delete_records_decided(topic_partition, before, reply),
            Question::Producers {
                topic_partition,
                reply,
            } => {
                let _ = reply.send(self.producers_now(topic_partition));
            }
            Question::LogBytes(reply) => {
                let _ = reply.send(Ok(self.sequencer.log_bytes(&self.state.log)));
            }
            Question::Leadership(reply) => {
                let _ = reply.send(Ok(Leadership {
                    epoch: self.epoch,
                    roll: self.roll,
                    commands: self.commands,
                }));
            }
            Question::Group { reply, answer } => {
                let _ = reply.send(Ok(answer));
            }
        }
    }
}
