//! What waiting costs.

use esker_env::Env;
use esker_kafka::client::{Client, FetchOptions};
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;

use super::{Figures, seconds, topic};
use crate::contender::Running;
use crate::suite::Plan;

const CONSUMERS: i32 = 100;

/// 100 consumers at the end of a topic with 16 partitions, half a second per long poll.
pub(super) async fn run(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    topic(on, "idle").await?;
    let env = Env::system();
    let connected = (0..CONSUMERS).map(|number| {
        let address = on.bootstrap.to_string();
        let env = env.clone();
        async move {
            let client = Client::connect(&address, "idle", env).await?;
            anyhow::Ok((client, number % super::PARTITIONS))
        }
    });
    let mut consumers = Vec::new();
    for connected in join_all(connected).await {
        consumers.push(connected?);
    }
    let waiting = consumers.iter().map(|(client, partition)| async move {
        loop {
            let fetched = client.fetch("idle", *partition, 0, FetchOptions::default());
            if let Err(error) = fetched.await {
                return error;
            }
        }
    });
    let waiting: FuturesUnordered<_> = waiting.collect();
    let before = on.requests().await?;
    let (cpu, start) = (on.server().used()?.cpu_seconds, env.clock.now());
    let failed = waiting.into_future();
    tokio::select! {
        (Some(error), _) = failed => return Err(error.into()),
        () = env.clock.sleep(seconds(plan)) => {}
    }
    let took = env.clock.now().since(start).as_secs_f64();
    let cpu = on.server().used()?.cpu_seconds - cpu;
    let mut figures = Figures::from([
        ("server_cpu_percent".to_owned(), 100.0 * cpu / took),
        (
            "server_resident_mib".to_owned(),
            on.server().resident_mib()?,
        ),
    ]);
    if let (Some(before), Some(now)) = (before, on.requests().await?) {
        let all = now.puts + now.gets + now.others - before.puts - before.gets - before.others;
        figures.insert("store_requests_per_minute".to_owned(), all * 60.0 / took);
    }
    Ok(figures)
}
