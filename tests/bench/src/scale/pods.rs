//! What the processes of a cluster used between two moments, by role.

use std::collections::BTreeMap;

use anyhow::Context as _;
use esker_e2e::{ClusterMember, TestCluster};
use serde::{Deserialize, Serialize};

use crate::meter::Meter;

const BYTES: &str = "esker_object_bytes_total";
const REQUESTS: &str = "esker_object_requests_total";

/// What one process used since it started.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct PodUse {
    pub(crate) process: u32,
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_mib: f64,
    /// Bytes of segments that it read from the store.
    pub(crate) read_bytes: f64,
    /// Bytes of segments that it wrote.
    pub(crate) written_bytes: f64,
    /// Requests to the store that delete.
    pub(crate) deletes: f64,
    /// Batches that it took from producers.
    pub(crate) batches: f64,
}

/// By name of the process.
pub(crate) type Uses = BTreeMap<String, PodUse>;

/// Sums of the rows of a family whose labels hold all of `labels`.
fn sum(text: &str, family: &str, labels: &[&str]) -> f64 {
    let rows = text.lines().filter(|row| {
        let name = row.split(['{', ' ']).next();
        name == Some(family) && labels.iter().all(|label| row.contains(label))
    });
    let values = rows.filter_map(|row| row.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

async fn of(member: &ClusterMember) -> anyhow::Result<PodUse> {
    let url = format!("http://{}/metrics", member.process.http);
    let text = reqwest::get(url).await?.text().await?;
    let meter = Meter::of(member.process.id());
    let segments = "class=\"session\"";
    Ok(PodUse {
        process: member.process.id(),
        cpu_seconds: meter.used()?.cpu_seconds,
        resident_mib: meter.resident_mib()?,
        read_bytes: sum(&text, BYTES, &["op=\"get\"", segments]),
        written_bytes: sum(&text, BYTES, &["op=\"put\"", segments]),
        deletes: sum(&text, REQUESTS, &["op=\"delete\""]),
        batches: sum(&text, "esker_ingest_batches_total", &[]),
    })
}

/// All processes of the cluster, now.
pub(crate) async fn uses(cluster: &TestCluster) -> anyhow::Result<Uses> {
    let mut all = Uses::new();
    let members = cluster.metadata.iter().chain(&cluster.ingest);
    for member in members.chain(&cluster.fetch) {
        let used = of(member).await;
        let used = used.with_context(|| format!("what {} used", member.name))?;
        all.insert(member.name.clone(), used);
    }
    Ok(all)
}

/// What was used from `before` to `after` by processes whose names begin with `role`.
pub(crate) fn between(before: &Uses, after: &Uses, role: &str, of: fn(&PodUse) -> f64) -> f64 {
    let members = after.iter().filter(|(name, _)| name.starts_with(role));
    members
        .map(|(name, now)| of(now) - before.get(name).map_or(0.0, of))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_summed_by_family_and_labels() {
        let text = "# HELP x y\nx{op=\"get\",class=\"session\"} 3\n\
             x{op=\"get\",class=\"journal\"} 4\nx{op=\"put\",class=\"session\"} 5\n\
             xy{op=\"get\",class=\"session\"} 6\n";

        assert_eq!(sum(text, "x", &["op=\"get\"", "class=\"session\""]), 3.0);
        assert_eq!(sum(text, "x", &[]), 12.0);
    }

    #[test]
    fn what_was_not_there_before_counts_from_its_start() {
        let used = |cpu_seconds| PodUse {
            cpu_seconds,
            ..PodUse::default()
        };
        let before = Uses::from([("ingest-1".to_owned(), used(2.0))]);
        let after = Uses::from([
            ("ingest-1".to_owned(), used(3.0)),
            ("ingest-2".to_owned(), used(0.5)),
            ("fetch-1".to_owned(), used(9.0)),
        ]);

        let cpu = between(&before, &after, "ingest", |pod| pod.cpu_seconds);

        assert_eq!(cpu, 1.5);
    }
}
