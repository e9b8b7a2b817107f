//! Blocks of a process of tests, and a client that asks for them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use esker_env::{Env, Shutdown, ShutdownTrigger, TaskGroup};
use esker_remote::{
    BlockAnswer, BlockAsk, BlockQuestion, BlockSource, BlocksConfig, RemoteBlocks, ServerParts,
};
use esker_types::{ChainIndex, SegmentId, SessionId};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::running::{Serving, server_config};
use super::scripted::CLUSTER;

/// Answers in turn; without one it never does.
#[derive(Debug, Default)]
pub(crate) struct ScriptedBlocks {
    pub(crate) answers: Mutex<VecDeque<BlockAnswer>>,
    pub(crate) asked: Mutex<Vec<BlockQuestion>>,
}

impl BlockSource for ScriptedBlocks {
    fn read(&self, question: BlockQuestion) -> BoxFuture<'_, BlockAnswer> {
        self.asked.lock().unwrap().push(question);
        match self.answers.lock().unwrap().pop_front() {
            Some(answer) => std::future::ready(answer).boxed(),
            None => std::future::pending().boxed(),
        }
    }
}

impl ScriptedBlocks {
    pub(crate) fn new(answers: impl IntoIterator<Item = BlockAnswer>) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// A server of nothing but blocks, which takes `blocks_max` questions.
pub(crate) async fn serving_blocks(blocks: &Arc<ScriptedBlocks>, blocks_max: usize) -> Serving {
    let mut server_config = server_config(CLUSTER);
    server_config.blocks_max = blocks_max;
    let parts = ServerParts::of_blocks(CLUSTER, blocks.clone());
    Serving::start(server_config, parts).await
}

pub(crate) fn question(block: u64, ask: BlockAsk) -> BlockQuestion {
    BlockQuestion {
        segment: SegmentId {
            session: SessionId::from_bytes([3; 16]),
            index: ChainIndex::new(4),
        },
        block,
        ask,
    }
}

/// A client that runs.
#[derive(Debug)]
pub(crate) struct BlocksClient {
    pub(crate) blocks: RemoteBlocks,
    stop: ShutdownTrigger,
    tasks: TaskGroup,
}

impl BlocksClient {
    pub(crate) fn start(change: impl FnOnce(&mut BlocksConfig)) -> Self {
        let mut config = BlocksConfig::new(CLUSTER);
        change(&mut config);
        let (blocks, task) = RemoteBlocks::start(config, Env::system());
        let (stop, shutdown) = Shutdown::new();
        let mut tasks = TaskGroup::new("client of a test");
        tasks.spawn(task.run(shutdown));
        Self {
            blocks,
            stop,
            tasks,
        }
    }

    pub(crate) async fn ask(
        &self,
        at: SocketAddr,
        question: BlockQuestion,
    ) -> Result<BlockAnswer, esker_remote::BlockError> {
        let limit = std::time::Duration::from_secs(20);
        self.blocks.read(&at.to_string(), question, limit).await
    }

    pub(crate) async fn stop(self) {
        self.stop.request();
        self.tasks.join_all().await.unwrap();
    }
}
