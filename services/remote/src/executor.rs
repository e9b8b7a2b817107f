//! Where the tasks of one HTTP/2 connection run: in a group that ends with the connection.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use esker_env::TaskGroup;

/// The tasks of one connection. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct ConnectionTasks {
    tasks: Arc<Mutex<TaskGroup>>,
}

/// Starts tasks of a connection; of one that is gone it starts none.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionExecutor {
    // Weak: the tasks hold executors themselves.
    tasks: Weak<Mutex<TaskGroup>>,
}

impl ConnectionTasks {
    pub(crate) fn new() -> Self {
        Self {
            tasks: Arc::new(Mutex::new(TaskGroup::new("internal api streams"))),
        }
    }

    pub(crate) fn executor(&self) -> ConnectionExecutor {
        ConnectionExecutor {
            tasks: Arc::downgrade(&self.tasks),
        }
    }
}

impl<F> hyper::rt::Executor<F> for ConnectionExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let Some(tasks) = self.tasks.upgrade() else {
            return;
        };
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Err(failure) = tasks.reap() {
            let error: &dyn std::error::Error = &failure;
            tracing::error!(error, "a call of the internal api panicked");
        }
        tasks.spawn(async move {
            task.await;
        });
    }
}
