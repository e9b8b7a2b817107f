//! Tasks that are always joined: no detached work, and a panic in one is seen by its owner.

use std::future::Future;

use tokio::task::{JoinError, JoinSet};

/// A task of the group panicked.
#[derive(Debug, thiserror::Error)]
#[error("a task of group {group} panicked")]
pub struct TaskFailure {
    /// The group's name.
    pub group: &'static str,
    #[source]
    source: JoinError,
}

/// Tasks with one owner. Dropping the group aborts what still runs.
#[derive(Debug)]
pub struct TaskGroup {
    name: &'static str,
    tasks: JoinSet<()>,
}

impl TaskGroup {
    /// An empty group; `name` appears in errors.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            tasks: JoinSet::new(),
        }
    }

    /// Starts a task. The caller bounds how many.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        // What a simulated process starts stops with it.
        #[cfg(feature = "simulation")]
        if let Some(suspension) = crate::Suspension::current() {
            self.tasks.spawn(suspension.run(task));
            return;
        }
        self.tasks.spawn(task);
    }

    /// Tasks that have not been joined yet.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Waits for one task to end; `None` when there is none. Cancel safe.
    ///
    /// # Errors
    /// [`TaskFailure`]: it panicked.
    pub async fn join_next(&mut self) -> Option<Result<(), TaskFailure>> {
        let ended = self.tasks.join_next().await?;
        match ended {
            Err(source) if source.is_panic() => Some(Err(TaskFailure {
                group: self.name,
                source,
            })),
            Ok(()) | Err(_) => Some(Ok(())),
        }
    }

    /// Joins what has ended already, without waiting.
    ///
    /// # Errors
    /// [`TaskFailure`]: one of them panicked.
    pub fn reap(&mut self) -> Result<(), TaskFailure> {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(source) = ended
                && source.is_panic()
            {
                return Err(TaskFailure {
                    group: self.name,
                    source,
                });
            }
        }
        Ok(())
    }

    /// Waits for every task.
    ///
    /// # Errors
    /// [`TaskFailure`]: one panicked; the others have been waited for all the same.
    pub async fn join_all(mut self) -> Result<(), TaskFailure> {
        let mut outcome = Ok(());
        while let Some(ended) = self.join_next().await {
            outcome = outcome.and(ended);
        }
        outcome
    }

    /// Ends every task at its next await.
    pub fn abort_all(&mut self) {
        self.tasks.abort_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_reaches_the_owner() {
        let mut group = TaskGroup::new("test");
        group.spawn(async {});
        group.spawn(async { panic!("planted") });

        let outcome = group.join_all().await;

        assert_eq!(
            outcome.unwrap_err().to_string(),
            "a task of group test panicked"
        );
    }
}
