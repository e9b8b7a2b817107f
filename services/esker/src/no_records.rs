//! HTTP's appends and reads in a process that serves no records: each is told where to go.

use bytes::Bytes;
use esker_http::{
    AppendRecords, Appender, BatchHead, LogReader, PendingAppend, PendingBatch, Problem,
    ProblemKind, ReadFrom, ReadOutcome, ReadQuery, RecordIterator,
};
use esker_types::{Offset, TopicPartition};
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// Serves none.
#[derive(Debug)]
pub(crate) struct NoRecords;

fn elsewhere<T: Send + 'static>() -> BoxFuture<'static, Result<T, Problem>> {
    std::future::ready(Err(problem())).boxed()
}

fn problem() -> Problem {
    let detail = "this process has the role metadata only: ask one with the role ingest or fetch";
    Problem::new(ProblemKind::Unavailable, detail)
}

impl Appender for NoRecords {
    fn append(&self, _: AppendRecords) -> BoxFuture<'_, Result<PendingAppend, Problem>> {
        elsewhere()
    }

    fn append_batch(
        &self,
        _: TopicPartition,
        _: Bytes,
    ) -> BoxFuture<'_, Result<PendingBatch, Problem>> {
        elsewhere()
    }

    fn batch_head(&self, _: &[u8]) -> Result<Option<BatchHead>, Problem> {
        Err(problem())
    }
}

impl LogReader for NoRecords {
    fn read(&self, _: ReadQuery) -> BoxFuture<'_, Result<ReadOutcome, Problem>> {
        elsewhere()
    }

    fn records(&self, _: &Bytes) -> Result<RecordIterator, Problem> {
        Err(problem())
    }

    fn bounds(&self, _: TopicPartition) -> BoxFuture<'_, Result<(Offset, Offset), Problem>> {
        elsewhere()
    }

    fn locate(&self, _: TopicPartition, _: ReadFrom) -> BoxFuture<'_, Result<Offset, Problem>> {
        elsewhere()
    }
}
