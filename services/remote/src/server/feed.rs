//! Answers in parts: the feed of the index, and the whole table of topics.
//!
//! A follower that does not read is not read for: its updates wait in the in-process feed, which
//! says `Resync` once it lies too far behind. So nothing is buffered here but one update.

use std::collections::VecDeque;
use std::sync::Arc;

use esker_metadata_api::{FeedUpdate, IndexFeed, TopicTable};
use futures::StreamExt as _;
use futures::stream;

use super::dispatch::{Calls, InHand};
use super::task::Parts;
use crate::convert::{Malformed, Reply as _, advance_parts, delta_parts};
use crate::proto::feed_part::Part;
use crate::proto::topics_current_part::{Begun, Part as TopicsPart};
use crate::proto::{self, Empty, FeedBegun};

/// One follower.
#[derive(Debug)]
struct Following {
    calls: Arc<Calls>,
    feed: Box<dyn IndexFeed>,
    topics_only: bool,
    /// The table that the follower has been told.
    told: Arc<TopicTable>,
    ready: VecDeque<Part>,
    ended: bool,
    _place: InHand,
}

impl Calls {
    pub(super) async fn follow(
        self: &Arc<Self>,
        q: proto::FollowRequest,
        place: InHand,
    ) -> Result<Parts<proto::FeedPart>, Malformed> {
        let feed = match self.parts.log_index.follow().await {
            Ok(feed) => feed,
            Err(error) => {
                let failed = proto::FeedPart::failed(self.failure(error));
                return Ok(Parts::new(stream::iter([Ok(failed)])));
            }
        };
        let begun = Part::Begun(FeedBegun {
            server: self.server,
        });
        let following = Following {
            calls: Arc::clone(self),
            feed,
            topics_only: q.topics_only,
            told: Arc::default(),
            ready: VecDeque::from([begun]),
            ended: false,
            _place: place,
        };
        let parts = stream::unfold(following, |mut following| async move {
            let part = following.next().await?;
            Some((Ok(proto::FeedPart { part: Some(part) }), following))
        });
        Ok(Parts::new(parts))
    }

    pub(super) async fn topics_current(
        self: &Arc<Self>,
        q: proto::TopicsCurrentRequest,
        place: InHand,
    ) -> Result<Parts<proto::TopicsCurrentPart>, Malformed> {
        let parts = match self.parts.admin.topics_current().await {
            Err(error) => vec![TopicsPart::Failure(self.failure(error))],
            Ok(table) if q.known_server == self.server && q.known_version == table.version => {
                vec![TopicsPart::Unchanged(Empty {})]
            }
            Ok(table) => {
                let begun = TopicsPart::Begun(Begun {
                    server: self.server,
                });
                let told = delta_parts(&TopicTable::default(), &table);
                let told = told.into_iter().map(TopicsPart::Topics);
                std::iter::once(begun).chain(told).collect()
            }
        };
        let parts = stream::iter(parts).map(move |part| {
            let _place = &place;
            Ok(proto::TopicsCurrentPart { part: Some(part) })
        });
        Ok(Parts::new(parts))
    }
}

impl Following {
    async fn next(&mut self) -> Option<Part> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Some(part);
            }
            if self.ended {
                return None;
            }
            let stop = self.calls.stop.clone();
            let update = tokio::select! {
                biased;
                () = stop.requested() => None,
                update = self.feed.next() => update,
            };
            self.tell(update);
        }
    }

    fn tell(&mut self, update: Option<FeedUpdate>) {
        match update {
            Some(FeedUpdate::Topics(table)) => {
                let parts = delta_parts(&self.told, &table);
                self.ready.extend(parts.into_iter().map(Part::Topics));
                self.told = table;
            }
            Some(FeedUpdate::Advanced(_)) if self.topics_only => {}
            Some(FeedUpdate::Advanced(advance)) => {
                let parts = advance_parts(&advance);
                self.ready.extend(parts.into_iter().map(Part::Advance));
            }
            Some(FeedUpdate::Resync) if self.topics_only => {}
            Some(FeedUpdate::Resync) => self.ready.push_back(Part::Resync(Empty {})),
            None => {
                self.ended = true;
                self.ready.push_back(Part::Ended(Empty {}));
            }
        }
    }
}
