//! Pods: they reserve, write, acknowledge and report; clients give them batches.

use esker_metadata_api::{
    BatchVerdict, ProduceRefusal, ProducerSpan, ReservationSummary, ReserveError, ReserveReply,
    ReserveRequest, WrittenReport,
};
use esker_segment::{PlacedBatch, ProducerStamp, SegmentFooter};
use esker_types::{ChainIndex, Offset, ProducerEpoch, ProducerId, SegmentId, Timestamp};

use super::{Client, ClientBatch, Object, Pod, Sent, World, exists};

impl World {
    /// A pod asks for offsets; `None` when it has no session or gets no answer it can use.
    pub(crate) fn reserve(
        &mut self,
        pod: usize,
        batches: Vec<ReservationSummary>,
        hear: bool,
    ) -> Option<()> {
        let (session, epoch) = self.pods[pod].session?;
        let request = ReserveRequest {
            session,
            epoch,
            index: ChainIndex::new(u64::try_from(self.pods[pod].sent.len()).unwrap()),
            written: ChainIndex::new(self.pods[pod].prefix()),
            batches,
        };
        let reply = self.ask(&request);
        if let Err(ReserveError::SessionClosed | ReserveError::OutOfTurn) = reply {
            self.pods[pod] = Pod::default();
        }
        if let Err(error) = &reply {
            self.note(match error {
                ReserveError::SessionClosed => "session closed",
                ReserveError::OutOfTurn => "out of turn",
                ReserveError::TooManyUndecided => "too many undecided",
                ReserveError::Metadata(_) => "metadata",
            });
        }
        let reply = reply.ok()?;
        let reply = if hear {
            reply
        } else {
            // The answer was lost; what it promised is promised still (W3).
            let again = self.ask(&request).ok()?;
            let placed = |reply: &ReserveReply| footer_of(&request, reply);
            if placed(&reply).is_some() {
                assert_eq!(again, reply, "W3: a retry gets the same answer");
            }
            again
        };
        self.check_duplicates(&request, &reply);
        let footer = footer_of(&request, &reply);
        if let Some(footer) = &footer {
            self.puts.push(footer.clone());
            self.pods[pod].sent.push(Sent {
                request,
                reply,
                footer: Some(footer.clone()),
            });
        }
        Some(())
    }

    fn ask(&mut self, request: &ReserveRequest) -> Result<ReserveReply, ReserveError> {
        let now = self.now;
        let node = self.current();
        let dropped = node.dropped;
        let known = move |at| exists(dropped, at);
        let (reply, effects) = node.sequencer.reserve(&node.state, &known, request, now);
        let last = self.nodes.len() - 1;
        self.take_effects(last, effects);
        reply
    }

    /// CP9: a duplicate is answered with the place of a committed batch, acknowledged at once.
    fn check_duplicates(&mut self, request: &ReserveRequest, reply: &ReserveReply) {
        assert_eq!(reply.verdicts.len(), request.batches.len());
        let log = self.log();
        for (batch, verdict) in request.batches.iter().zip(&reply.verdicts) {
            self.note(match verdict {
                BatchVerdict::Placed { .. } => "placed",
                BatchVerdict::Duplicate { .. } => "duplicate",
                BatchVerdict::DuplicateInFlight { .. } => "duplicate in flight",
                BatchVerdict::Deferred => "deferred",
                BatchVerdict::Refused(ProduceRefusal::UnknownPartition) => "unknown partition",
                BatchVerdict::Refused(ProduceRefusal::OutOfOrderSequence) => "out of order",
                BatchVerdict::Refused(ProduceRefusal::DuplicateForgotten) => "forgotten",
                BatchVerdict::Refused(ProduceRefusal::ProducerFenced) => "fenced",
                BatchVerdict::Refused(ProduceRefusal::PredecessorVoid) => "predecessor void",
                BatchVerdict::Refused(ProduceRefusal::OffsetsExhausted) => "exhausted",
                BatchVerdict::Refused(ProduceRefusal::UnexpectedEnd { .. }) => "another end",
            });
            if let BatchVerdict::Duplicate { base_offset, .. } = verdict {
                let original = log.get(&(batch.topic_partition, *base_offset));
                let original = original.map(|(_, known)| known.max_timestamp);
                assert_eq!(original, Some(batch.max_timestamp), "CP9");
                self.ack(batch, *base_offset);
            }
        }
    }

    pub(crate) fn ack(&mut self, batch: &ReservationSummary, base_offset: Offset) {
        let place = (batch.topic_partition, base_offset);
        self.note("acked");
        let before = self.acked.insert(batch.max_timestamp.millis(), place);
        assert!(before.is_none_or(|before| before == place), "CP9");
    }

    /// A pod's PUT of a place arrives, and the pod hears of it.
    pub(crate) fn put(&mut self, pod: usize, which: u8) {
        let sent = &self.pods[pod].sent;
        if sent.is_empty() {
            return;
        }
        let place = usize::from(which) % sent.len();
        let Some(footer) = sent[place].footer.clone() else {
            return;
        };
        let place = footer.segment.index.get();
        if self.create(footer.segment, &Object::Segment(footer)) {
            self.pods[pod].written.insert(place);
        } else {
            self.note("sight of a seal");
            // The sight of a seal: the outcome is unknown (W7), the session is given up.
            self.pods[pod] = Pod::default();
        }
    }

    /// A pod acknowledges what it may (W6).
    pub(crate) fn acknowledge(&mut self, pod: usize) {
        let prefix = self.pods[pod].prefix();
        for index in self.pods[pod].acked..prefix {
            let sent = self.pods[pod].sent[usize::try_from(index).unwrap()].clone();
            let pairs = sent.request.batches.iter().zip(&sent.reply.verdicts);
            for (batch, verdict) in pairs {
                if let BatchVerdict::Placed { base_offset, .. } = verdict {
                    self.ack(batch, *base_offset);
                }
            }
        }
        self.pods[pod].acked = prefix;
    }

    /// A pod reports what it wrote, or less, to a sequencer.
    pub(crate) fn report(&mut self, pod: usize, node: usize, less: u8) {
        let Some((session, epoch)) = self.pods[pod].session else {
            return;
        };
        let written = self.pods[pod].prefix().saturating_sub(u64::from(less % 3));
        let report = WrittenReport {
            session,
            epoch,
            written: ChainIndex::new(written),
        };
        let now = self.now;
        let known = &mut self.nodes[node];
        let effects = known.sequencer.written(&known.state, &report, now);
        self.take_effects(node, effects);
    }
}

impl Pod {
    /// Places below are known to be written.
    pub(crate) fn prefix(&self) -> u64 {
        (0..)
            .find(|place| !self.written.contains(place))
            .unwrap_or_default()
    }
}

impl Client {
    pub(crate) fn summary(&self, batch: &ClientBatch) -> ReservationSummary {
        ReservationSummary {
            topic_partition: self.topic_partition,
            record_count: batch.record_count,
            batch_bytes: 100,
            max_timestamp: Timestamp::from_millis(batch.identity),
            producer: Some(ProducerSpan {
                producer_id: ProducerId::from_wire(self.producer).unwrap(),
                producer_epoch: ProducerEpoch::from_wire(batch.epoch).unwrap(),
                base_sequence: batch.base_sequence,
            }),
            transactional: false,
            expected_end: None,
        }
    }
}

/// What the pod writes: the placed batches, or nothing.
fn footer_of(request: &ReserveRequest, reply: &ReserveReply) -> Option<SegmentFooter> {
    let placed = request.batches.iter().zip(&reply.verdicts);
    let placed = placed.filter_map(|(batch, verdict)| match verdict {
        BatchVerdict::Placed { base_offset, .. } => Some((batch, *base_offset)),
        _ => None,
    });
    let batches = placed.map(|(batch, base_offset)| {
        let placed = PlacedBatch {
            topic_partition: batch.topic_partition,
            base_offset,
            record_count: batch.record_count,
            max_timestamp: batch.max_timestamp,
            producer: batch.producer.map(|span| ProducerStamp {
                producer_id: span.producer_id,
                producer_epoch: span.producer_epoch,
                base_sequence: span.base_sequence,
            }),
            transactional: false,
        };
        (placed, batch.batch_bytes, 0)
    });
    let segment = SegmentId {
        session: request.session,
        index: request.index,
    };
    SegmentFooter::lay_out(segment, request.epoch, batches).ok()
}
