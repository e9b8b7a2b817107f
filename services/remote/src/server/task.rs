//! Futures and streams of answers as types without a lifetime: the compiler could not see that a
//! connection's task may move between threads if theirs were written out in it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream};
use tonic::Status;

/// A future that owns all it needs.
pub(super) struct Answering<T>(BoxFuture<'static, T>);

/// An answer in parts that owns all it needs.
pub(super) struct Parts<R>(BoxStream<'static, Result<R, Status>>);

impl<T> Answering<T> {
    pub(super) fn new(answer: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Box::pin(answer))
    }
}

impl<T> Future for Answering<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.as_mut().poll(cx)
    }
}

impl<R> Parts<R> {
    pub(super) fn new(parts: impl Stream<Item = Result<R, Status>> + Send + 'static) -> Self {
        Self(Box::pin(parts))
    }
}

impl<R> Stream for Parts<R> {
    type Item = Result<R, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}
