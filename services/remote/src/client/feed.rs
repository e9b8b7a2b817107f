//! The feed of the index as a follower here sees it: parts put together, as if in one process.
//!
//! It ends when the leader, the connection or the sense of what comes ends; the follower begins
//! anew and looks up afresh, as with a leader in its own process.

use std::sync::Arc;

use esker_metadata_api::{FeedUpdate, IndexFeed, PartitionAdvance};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Streaming;

use crate::convert::{Malformed, TableParts, grown};
use crate::proto::FeedPart;
use crate::proto::feed_part::Part;

#[derive(Debug)]
pub(super) struct RemoteFeed {
    parts: Streaming<FeedPart>,
    node_id: i32,
    /// What was told so far: kept here, so that a dropped wait loses none of it.
    table: TableParts,
    advance: Option<PartitionAdvance>,
    ended: bool,
    _place: Option<OwnedSemaphorePermit>,
}

/// What a part is to the follower.
enum Taken {
    Update(FeedUpdate),
    /// More of it follows.
    Half,
    End,
}

impl RemoteFeed {
    pub(super) fn new(
        parts: Streaming<FeedPart>,
        node_id: i32,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            parts,
            node_id,
            table: TableParts::default(),
            advance: None,
            ended: false,
            _place: place,
        }
    }

    fn take(&mut self, part: FeedPart) -> Result<Taken, Malformed> {
        let unknown = Malformed { field: "part" };
        match part.part.ok_or(unknown)? {
            Part::Topics(delta) => {
                let whole = self.table.take(delta, self.node_id)?;
                Ok(whole.map_or(Taken::Half, |table| {
                    Taken::Update(FeedUpdate::Topics(Arc::new(table)))
                }))
            }
            Part::Advance(advance) => {
                let more = advance.more;
                let advance = grown(self.advance.take(), advance.try_into()?)?;
                if more {
                    self.advance = Some(advance);
                    return Ok(Taken::Half);
                }
                Ok(Taken::Update(FeedUpdate::Advanced(Arc::new(advance))))
            }
            Part::Resync(_) => Ok(Taken::Update(FeedUpdate::Resync)),
            Part::Ended(_) => Ok(Taken::End),
            Part::Begun(_) | Part::Failure(_) => Err(unknown),
        }
    }

    async fn next_update(&mut self) -> Option<FeedUpdate> {
        while !self.ended {
            let part = match self.parts.message().await {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(%status, "index feed broke off");
                    break;
                }
            };
            match self.take(part) {
                Ok(Taken::Update(update)) => return Some(update),
                Ok(Taken::Half) => {}
                Ok(Taken::End) => break,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "index feed makes no sense, ending it");
                    break;
                }
            }
        }
        self.ended = true;
        None
    }
}

impl IndexFeed for RemoteFeed {
    fn next(&mut self) -> BoxFuture<'_, Option<FeedUpdate>> {
        self.next_update().boxed()
    }
}
