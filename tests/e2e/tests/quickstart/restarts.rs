//! A restart is quick, keeps the cluster id and what was acknowledged.

use std::time::Duration;

use anyhow::ensure;
use esker_e2e::{HttpApi, Kcat, StoreKind, cluster_id, proved};

use crate::start;

/// Loose, for loaded machines; what was measured is printed.
fn ready_within(kind: StoreKind) -> Duration {
    match kind {
        StoreKind::Directory | StoreKind::Minio => Duration::from_secs(5),
        // Its locks make the losers of the start-up probe's races wait for seconds.
        StoreKind::Seaweed => Duration::from_secs(20),
    }
}

pub(crate) async fn restarts(kind: StoreKind) -> anyhow::Result<()> {
    let (store, mut esker) = start(kind).await?;
    let first = cluster_id(esker.kafka).await?;
    let mut starts = vec![esker.ready_after];
    let mut values = Vec::new();

    for round in 0..4_u8 {
        let value = format!("round {round}").into_bytes();
        let record = [(b"key".to_vec(), value.clone())];
        Kcat::new(esker.kafka).produce("kept", &record, &[]).await?;
        values.push(value);
        if round % 2 == 0 {
            let status = esker.stop().await?;
            ensure!(
                status.success(),
                "SIGTERM ends with {status}: {}",
                esker.log_tail()
            );
        } else {
            esker.kill9()?;
        }
        esker = store.esker().await?;
        starts.push(esker.ready_after);
        let now = cluster_id(esker.kafka).await?;
        ensure!(now == first, "the cluster id changed from {first} to {now}");
        let read = HttpApi::new(esker.http)
            .read("kept", 0, "from=earliest")
            .await?;
        let read: Vec<_> = read.into_iter().filter_map(|record| record.value).collect();
        ensure!(read == values, "round {round}: {read:?}");
    }

    let slowest = starts.iter().max().copied().unwrap_or_default();
    ensure!(slowest <= ready_within(kind), "starts took {starts:?}");
    proved(&format!(
        "{kind:?}: cluster {first} and its records outlive SIGTERM and kill -9; ready after \
         {starts:?}"
    ));
    Ok(())
}
