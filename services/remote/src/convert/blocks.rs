//! Questions for blocks, and their answers.

use bytes::Bytes;

use super::ids::segment;
use super::{Malformed, present};
use crate::blocks::{BlockAnswer, BlockAsk, BlockQuestion};
use crate::limits::BLOCK_BYTES;
use crate::proto::{self, Empty, block_reply::Outcome};

impl From<BlockQuestion> for proto::BlockRequest {
    fn from(value: BlockQuestion) -> Self {
        let ask = match value.ask {
            BlockAsk::Cached => proto::BlockAsk::Cached,
            BlockAsk::Hot => proto::BlockAsk::Hot,
            BlockAsk::Cold => proto::BlockAsk::Cold,
        };
        Self {
            segment: Some(value.segment.into()),
            block: value.block,
            block_bytes: BLOCK_BYTES,
            ask: ask.into(),
        }
    }
}

impl TryFrom<proto::BlockRequest> for BlockQuestion {
    type Error = Malformed;

    fn try_from(value: proto::BlockRequest) -> Result<Self, Malformed> {
        let ask = match proto::BlockAsk::try_from(value.ask) {
            Ok(proto::BlockAsk::Cached) => BlockAsk::Cached,
            Ok(proto::BlockAsk::Hot) => BlockAsk::Hot,
            Ok(proto::BlockAsk::Cold) => BlockAsk::Cold,
            Ok(proto::BlockAsk::Unspecified) | Err(_) => return Err(Malformed { field: "ask" }),
        };
        if value.block_bytes != BLOCK_BYTES {
            return Err(Malformed {
                field: "block_bytes",
            });
        }
        Ok(Self {
            segment: segment(value.segment)?,
            block: value.block,
            ask,
        })
    }
}

impl From<BlockAnswer> for proto::BlockReply {
    fn from(value: BlockAnswer) -> Self {
        let outcome = match value {
            BlockAnswer::Block(bytes) => Outcome::Block(bytes),
            BlockAnswer::NotHere => Outcome::NotHere(Empty {}),
            BlockAnswer::Failed => Outcome::Failed(Empty {}),
        };
        Self {
            outcome: Some(outcome),
        }
    }
}

impl TryFrom<proto::BlockReply> for BlockAnswer {
    type Error = Malformed;

    fn try_from(value: proto::BlockReply) -> Result<Self, Malformed> {
        Ok(match present(value.outcome, "outcome")? {
            Outcome::Block(bytes) if is_block(&bytes) => Self::Block(bytes),
            Outcome::Block(_) => return Err(Malformed { field: "block" }),
            Outcome::NotHere(_) => Self::NotHere,
            Outcome::Failed(_) => Self::Failed,
        })
    }
}

fn is_block(bytes: &Bytes) -> bool {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    (1..=BLOCK_BYTES).contains(&length)
}

#[cfg(test)]
mod tests {
    use esker_types::{ChainIndex, SegmentId, SessionId};

    use super::*;

    fn question(ask: BlockAsk) -> BlockQuestion {
        BlockQuestion {
            segment: SegmentId {
                session: SessionId::from_bytes([3; 16]),
                index: ChainIndex::new(4),
            },
            block: 5,
            ask,
        }
    }

    #[test]
    fn questions_and_answers_come_through_whole() {
        for ask in [BlockAsk::Cached, BlockAsk::Hot, BlockAsk::Cold] {
            let asked = proto::BlockRequest::from(question(ask));
            assert_eq!(BlockQuestion::try_from(asked), Ok(question(ask)));
        }
        let longest = usize::try_from(BLOCK_BYTES).unwrap();
        for answer in [
            BlockAnswer::Block(vec![1; longest].into()),
            BlockAnswer::Block(Bytes::from_static(b"x")),
            BlockAnswer::NotHere,
            BlockAnswer::Failed,
        ] {
            let told = proto::BlockReply::from(answer.clone());
            assert_eq!(BlockAnswer::try_from(told), Ok(answer));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = proto::BlockRequest::from(question(BlockAsk::Hot));
        let field = |change: fn(&mut proto::BlockRequest)| {
            let mut asked = good.clone();
            change(&mut asked);
            BlockQuestion::try_from(asked).unwrap_err().field
        };
        assert_eq!(field(|asked| asked.ask = 0), "ask");
        assert_eq!(field(|asked| asked.ask = 4), "ask");
        assert_eq!(field(|asked| asked.block_bytes -= 1), "block_bytes");
        assert_eq!(field(|asked| asked.segment = None), "segment");

        let told = |outcome| BlockAnswer::try_from(proto::BlockReply { outcome });
        let longer = usize::try_from(BLOCK_BYTES).unwrap() + 1;
        let longer = Outcome::Block(vec![1; longer].into());
        assert_eq!(told(None).unwrap_err().field, "outcome");
        assert_eq!(told(Some(longer)).unwrap_err().field, "block");
        let none = Outcome::Block(Bytes::new());
        assert_eq!(told(Some(none)).unwrap_err().field, "block");
    }
}
