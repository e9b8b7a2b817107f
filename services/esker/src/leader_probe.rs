//! Asks the process that the journal names as leader whether it lives: its `/livez`, its own id.

use std::sync::Arc;
use std::time::Duration;

use esker_env::{Clock, timeout};
use esker_journal::LeaderInfo;
use esker_metadata::LeaderProbe;
use futures::FutureExt as _;
use futures::future::BoxFuture;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Over HTTP.
#[derive(Debug)]
pub(crate) struct HttpProbe {
    pub(crate) clock: Arc<dyn Clock>,
}

#[derive(Debug, serde::Deserialize)]
struct Alive {
    owner: Option<String>,
}

async fn owner(address: &str) -> Option<String> {
    let answer = reqwest::get(format!("http://{address}/livez")).await.ok()?;
    answer.json::<Alive>().await.ok()?.owner
}

impl LeaderProbe for HttpProbe {
    fn is_alive<'a>(&'a self, leader: &'a LeaderInfo) -> BoxFuture<'a, bool> {
        async move {
            let asked = timeout(self.clock.as_ref(), ANSWER_WITHIN, owner(&leader.address)).await;
            // Another process at the same address is not the leader.
            asked.ok().flatten() == Some(leader.owner.to_string())
        }
        .boxed()
    }
}
