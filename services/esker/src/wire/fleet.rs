//! The fetch fleet of one process: who has blocks, as the cluster's table says; how they are asked,
//! over the internal API; and what this process gives to others.
//!
//! There is one only where the process serves an internal API itself: others could not ask back.

use std::sync::Arc;
use std::time::Duration;

use esker_cache::{BlockId, Heat, PeerQuestion, SegmentCache};
use esker_cluster::{Membership, block_owner, session_writer};
use esker_env::Env;
use esker_fetch::{BlockDesk, BlockPlaces, BlockTransport, Fleet, NoPeerAnswer, PeerAnswer};
use esker_metadata_api::{
    Endpoint, MetadataError, Pod, Registered, ReserveError, ReserveReply, ReserveRequest,
    Sequencer, SessionEnd, WrittenReport,
};
use esker_remote::{
    BlockAnswer, BlockAsk, BlockError, BlockQuestion, BlockSource, BlocksConfig, RemoteBlocks,
    RemoteBlocksTask,
};
use esker_types::{ClusterId, SessionId};
use futures::future::{BoxFuture, FutureExt as _};

use super::access::client_tls;
use crate::config::ServeConfig;

const _: () = assert!(esker_remote::limits::BLOCK_BYTES == esker_cache::limits::BLOCK_BYTES);

/// The others, as the cache asks them.
#[derive(Debug)]
pub(crate) struct FleetPart {
    pub(super) fleet: Arc<Fleet>,
    pub(crate) task: RemoteBlocksTask,
}

/// `None`: this process has nothing to give to others, and asks nobody.
pub(super) fn start(
    config: &ServeConfig,
    cluster: ClusterId,
    membership: &Membership,
    env: &Env,
) -> Option<FleetPart> {
    membership.here().internal.as_ref()?;
    let remote = BlocksConfig {
        tls: client_tls(&config.internal),
        ..BlocksConfig::new(cluster)
    };
    let (blocks, task) = RemoteBlocks::start(remote, env.clone());
    let places = Places {
        membership: membership.clone(),
    };
    let fleet = Fleet::new(Arc::new(places), Arc::new(Wire(blocks)), env.clone());
    Some(FleetPart { fleet, task })
}

impl FleetPart {
    /// Answers others out of `cache`; see [`BlockDesk::new`].
    pub(super) fn source(
        &self,
        cache: &Arc<dyn SegmentCache>,
        loading_bytes: u64,
    ) -> Arc<dyn BlockSource> {
        let desk = BlockDesk::new(Arc::clone(cache), loading_bytes, &self.fleet);
        Arc::new(Desk(desk))
    }
}

#[derive(Debug)]
struct Places {
    membership: Membership,
}

impl Places {
    /// Where `pod` is reached, if it is another process.
    fn elsewhere(&self, pod: &Pod) -> Option<Endpoint> {
        let is_here = pod.pod == self.membership.here().pod;
        pod.internal.clone().filter(|_| !is_here)
    }
}

impl BlockPlaces for Places {
    fn owner(&self, block: BlockId) -> Option<Endpoint> {
        let table = self.membership.table();
        let here = self.membership.here();
        let owner = block_owner(&table, here.zone.as_deref(), block.segment, block.block);
        self.elsewhere(owner?)
    }

    fn writer(&self, session: SessionId) -> Option<Endpoint> {
        let table = self.membership.table();
        self.elsewhere(session_writer(&table, session)?)
    }
}

#[derive(Debug)]
struct Wire(RemoteBlocks);

impl BlockTransport for Wire {
    fn ask<'a>(
        &'a self,
        at: &'a Endpoint,
        block: BlockId,
        question: PeerQuestion,
        limit: Duration,
    ) -> BoxFuture<'a, Result<PeerAnswer, NoPeerAnswer>> {
        let question = BlockQuestion {
            segment: block.segment,
            block: block.block,
            ask: match question {
                PeerQuestion::Cached => BlockAsk::Cached,
                PeerQuestion::Load(Heat::Hot) => BlockAsk::Hot,
                PeerQuestion::Load(Heat::Cold) => BlockAsk::Cold,
            },
        };
        async move {
            match self.0.read(&at.to_string(), question, limit).await {
                Ok(BlockAnswer::Block(bytes)) => Ok(PeerAnswer::Block(bytes)),
                Ok(BlockAnswer::NotHere) => Ok(PeerAnswer::NotHere),
                Ok(BlockAnswer::Failed) => Ok(PeerAnswer::Failed),
                Err(BlockError::Busy) => Err(NoPeerAnswer::Busy),
                Err(error) => {
                    tracing::debug!(%at, %error, "another process gave no block");
                    Err(NoPeerAnswer::Lost)
                }
            }
        }
        .boxed()
    }
}

#[derive(Debug)]
struct Desk(BlockDesk);

impl BlockSource for Desk {
    fn read(&self, question: BlockQuestion) -> BoxFuture<'_, BlockAnswer> {
        let block = BlockId {
            segment: question.segment,
            block: question.block,
        };
        let question = match question.ask {
            BlockAsk::Cached => PeerQuestion::Cached,
            BlockAsk::Hot => PeerQuestion::Load(Heat::Hot),
            BlockAsk::Cold => PeerQuestion::Load(Heat::Cold),
        };
        async move {
            match self.0.answer(block, question).await {
                PeerAnswer::Block(bytes) => BlockAnswer::Block(bytes),
                PeerAnswer::NotHere => BlockAnswer::NotHere,
                PeerAnswer::Failed => BlockAnswer::Failed,
            }
        }
        .boxed()
    }
}

/// The sequencer, as ingest asks it: others hear of each session that this process writes.
#[derive(Debug)]
pub(super) struct ToldSequencer {
    pub(super) sequencer: Arc<dyn Sequencer>,
    pub(super) membership: Membership,
}

impl Sequencer for ToldSequencer {
    fn register(
        &self,
        replaces: Option<SessionId>,
    ) -> BoxFuture<'_, Result<Registered, MetadataError>> {
        async move {
            let registered = self.sequencer.register(replaces).await;
            if let Ok(registered) = &registered {
                self.membership.writes(registered.session);
            }
            registered
        }
        .boxed()
    }

    fn reserve(
        &self,
        request: ReserveRequest,
    ) -> BoxFuture<'_, Result<ReserveReply, ReserveError>> {
        self.sequencer.reserve(request)
    }

    fn written(&self, report: WrittenReport) -> BoxFuture<'_, Result<(), MetadataError>> {
        self.sequencer.written(report)
    }

    fn end_session(&self, session: SessionId) -> BoxFuture<'_, Result<SessionEnd, MetadataError>> {
        self.sequencer.end_session(session)
    }
}

#[cfg(test)]
mod tests {
    use esker_metadata_api::Roles;
    use esker_types::{ChainIndex, PodId, SegmentId};

    use super::*;

    fn pod(node_id: i32, roles: Roles, zone: &str) -> Pod {
        Pod {
            pod: PodId::from_bytes([u8::try_from(node_id).unwrap(); 16]),
            node_id,
            roles,
            zone: Some(zone.to_owned()),
            kafka: None,
            internal: Some(Endpoint {
                host: "pod".to_owned(),
                port: u16::try_from(node_id).unwrap(),
            }),
            version: String::new(),
            is_draining: false,
            sessions: vec![SessionId::from_bytes([u8::try_from(node_id).unwrap(); 16])],
        }
    }

    fn block(block: u64) -> BlockId {
        BlockId {
            segment: SegmentId {
                session: SessionId::from_bytes([3; 16]),
                index: ChainIndex::ZERO,
            },
            block,
        }
    }

    #[test]
    fn another_process_of_the_zone_is_asked_and_never_this_one() {
        let others = [
            pod(2, Roles::FETCH, "a"),
            pod(3, Roles::INGEST, "b"),
            pod(4, Roles::FETCH, "b"),
        ];
        let places = |here| Places {
            membership: Membership::fixed(here, others.clone()),
        };
        let ports = |places: &Places| {
            let owners = (0..100).map(|number| places.owner(block(number)));
            let mut ports: Vec<_> = owners.map(|at| at.map(|at| at.port)).collect();
            ports.sort_unstable();
            ports.dedup();
            ports
        };
        let (ingest, fetch) = (
            places(pod(1, Roles::INGEST, "a")),
            places(pod(1, Roles::FETCH, "a")),
        );

        assert_eq!(
            ports(&ingest),
            [Some(2)],
            "who is not of fetch owns nothing"
        );
        assert_eq!(ports(&fetch), [None, Some(2)]);
        let writer = |number| fetch.writer(SessionId::from_bytes([number; 16]));
        assert_eq!(writer(3).map(|at| at.port), Some(3), "in any zone");
        assert_eq!((writer(1), writer(9)), (None, None));
    }
}
