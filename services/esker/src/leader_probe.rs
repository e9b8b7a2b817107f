//! Asks the process that the journal names as leader whether it lives: its `/livez`, its own id.

use std::sync::Arc;
use std::time::Duration;

use esker_env::{Clock, timeout};
use esker_journal::LeaderInfo;
use esker_metadata::LeaderProbe;
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// No more than the pause between two looks: a leader that falls silent is then missed as soon as
/// one whose address refuses.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);

/// Over HTTP, on a connection that is kept: a leader short of processor time answers sooner.
#[derive(Debug)]
pub(crate) struct HttpProbe {
    clock: Arc<dyn Clock>,
    client: reqwest::Client,
}

impl HttpProbe {
    /// Asks processes themselves, whatever proxy the environment names.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let client = reqwest::Client::builder().no_proxy().build();
        let client = client.unwrap_or_default();
        Self { clock, client }
    }
}

#[derive(Debug, serde::Deserialize)]
struct Alive {
    owner: Option<String>,
}

async fn owner(client: &reqwest::Client, address: &str) -> Option<String> {
    let asked = client.get(format!("http://{address}/livez"));
    let answer = asked.send().await.ok()?;
    answer.json::<Alive>().await.ok()?.owner
}

impl LeaderProbe for HttpProbe {
    fn is_alive<'a>(&'a self, leader: &'a LeaderInfo) -> BoxFuture<'a, bool> {
        async move {
            let asked = owner(&self.client, &leader.address);
            let asked = timeout(self.clock.as_ref(), ANSWER_WITHIN, asked).await;
            // Another process at the same address is not the leader.
            asked.ok().flatten() == Some(leader.owner.to_string())
        }
        .boxed()
    }
}
