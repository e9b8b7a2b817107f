//! The whole store: away, refusing, asked by the wrong cluster.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_testkit::{Reply, Rule, ShapedFault};

use super::segments::load_under;
use crate::load::{PARTITIONS, TOPIC};
use crate::scene::Scene;

/// A process that may not start has ended within this.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

/// Row 10. Half of all requests are answered 503.
pub(super) async fn storm(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let reply = Reply::Code(503);
    let rule = Rule {
        probability: Some(0.5),
        ..Rule::new(ShapedFault::Fb { reply })
    };
    let length = if scene.is_long { 30.0 } else { 6.0 };
    load_under(scene, &[rule], length).await?;
    let retries = scene.metrics("esker_object_retries_total").await;
    let requests = scene.metrics("esker_object_requests_total").await;
    scene.fact(format!("retries {retries:?} of requests {requests:?}"));
    Ok(())
}

/// Row 11. No request reaches the store: refused, reset or swallowed, as the seed says.
pub(super) async fn outage(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let replies = [Reply::Code(503), Reply::Rst, Reply::Hang];
    let chosen = usize::try_from(scene.seed % 3)?;
    let reply = *replies.get(chosen).context("a reply")?;
    let length = if scene.is_long { 60.0 } else { 10.0 };
    scene.fact(format!("{reply:?} for {length} s"));
    load_under(scene, &[Rule::new(ShapedFault::Fb { reply })], length).await
}

/// Row 14. Credentials are refused, then called expired, then taken.
pub(super) async fn credentials(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let half = if scene.is_long { 15_000 } else { 3_000 };
    let cred = |expired| Rule::new(ShapedFault::Cred { expired });
    let rules = [
        Rule {
            for_millis: Some(half),
            ..cred(false)
        },
        Rule {
            after_millis: half,
            for_millis: Some(half),
            ..cred(true)
        },
    ];
    let length = Duration::from_millis(half * 2).as_secs_f64();
    load_under(scene, &rules, length).await
}

/// Row 26. A store that looks at no condition is refused at the start, whatever lies in it.
pub(super) async fn no_conditions(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    scene
        .under_load(async |scene| {
            scene.pause(1.5).await;
            Ok(())
        })
        .await?;
    scene.stop_all().await?;

    scene.rules(&[Rule::new(ShapedFault::NoCond)])?;
    scene.pod(0)?.spawn()?;
    let status = scene.pod(0)?.ended_within(REFUSED_WITHIN).await?;
    let log = scene.pod(0)?.log();

    let last = log
        .lines()
        .rev()
        .find(|line| line.to_lowercase().contains("condition"));
    ensure!(!status.success(), "it ended with {status}");
    let last = last.context("it does not say that conditions are ignored")?;
    let text: String = last.chars().take(160).collect();
    scene.fact(format!("{status}: {text}"));
    scene.heal()?;
    scene.pod(0)?.start().await?;
    scene
        .under_load(async |scene| {
            scene.pause(1.0).await;
            Ok(())
        })
        .await
}

/// Row 55. Another cluster's name: refused, and nothing in the bucket has changed.
pub(super) async fn other_cluster(scene: &mut Scene) -> anyhow::Result<()> {
    const OTHER: &str = "0123456789abcdef0123456789abcdef";
    scene.leader().await?;
    scene
        .under_load(async |scene| {
            scene.pause(1.5).await;
            Ok(())
        })
        .await?;
    scene.read_all(TOPIC, PARTITIONS, false).await?;
    scene.stop_all().await?;

    let stranger = scene.add_pod().await?;
    let pod = scene.pod(stranger)?;
    pod.add_arguments(&["--cluster-id", OTHER]);
    pod.spawn()?;
    let status = pod.ended_within(REFUSED_WITHIN).await?;
    let log = pod.log();

    ensure!(!status.success(), "the stranger ended with {status}");
    let says = log.lines().rev().find(|line| line.contains("cluster"));
    let text: String = says
        .context("it does not say why")?
        .chars()
        .take(160)
        .collect();
    scene.fact(format!("{status}: {text}"));
    scene.pods.pop();
    scene.pod(0)?.start().await?;
    Ok(())
}
