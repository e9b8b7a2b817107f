//! The whole store: away, refusing, asked by the wrong cluster.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_testkit::{Reply, Rule, ShapedFault};

use super::handover::restart_ended_for;
use super::segments::load_under;
use crate::load::{Load, PARTITIONS, TOPIC};
use crate::scene::Scene;

/// All is well so soon behind the last refusal.
const HEALED_WITHIN: Duration = Duration::from_secs(30);
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
    let length = Duration::from_secs(if scene.is_long { 60 } else { 10 });
    scene.fact(format!("{reply:?} for {length:?}"));
    let rules = [Rule::new(ShapedFault::Fb { reply })];
    supervised_under(scene, &rules, length).await.map(|_| ())
}

/// Row 14. Credentials are refused, then called expired, then taken: the process waits for them,
/// for longer than either takes.
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
    let restarts = supervised_under(scene, &rules, Duration::from_millis(half * 2)).await?;
    ensure!(
        restarts == 0,
        "a process ended {restarts} times for want of rights"
    );
    Ok(())
}

/// The usual load under rules for so long, then without. Processes that end are started again, as
/// a supervisor does; how often.
async fn supervised_under(
    scene: &mut Scene,
    rules: &[Rule],
    refused_for: Duration,
) -> anyhow::Result<u32> {
    scene.recovery_max = Some(HEALED_WITHIN);
    let load = Load {
        finish_within: Duration::from_secs(90),
        ..Load::default()
    };
    let restarts = scene
        .under(load, async |scene| {
            scene.pause_within(500, 1000).await;
            scene.rules(rules)?;
            let mut restarts = restart_ended_for(scene, refused_for).await?;
            scene.heal()?;
            restarts += restart_ended_for(scene, Duration::from_secs(3)).await?;
            scene.leading().await?;
            scene.pause(1.0).await;
            Ok(restarts)
        })
        .await?;
    scene.fact(format!("ended and started again {restarts} times"));
    Ok(restarts)
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

/// Row 0, of no matrix: the bucket is replaced by an older copy of itself, which no process can
/// tell from the truth. The history must show it, else a passed row would mean nothing.
pub(super) async fn older_state(scene: &mut Scene) -> anyhow::Result<()> {
    let bucket = scene.store.path().join("bucket");
    let old = scene.store.path().join("older");
    scene.leader().await?;
    for copy_behind in [true, false] {
        scene
            .under_load(async |scene| {
                scene.pause(1.5).await;
                Ok(())
            })
            .await?;
        scene.read_all(TOPIC, PARTITIONS, false).await?;
        scene.stop_all().await?;
        if copy_behind {
            copy(&bucket, &old).await?;
            scene.pod(0)?.start().await?;
        }
    }
    std::fs::remove_dir_all(&bucket)?;
    copy(&old, &bucket).await?;
    scene.pod(0)?.start().await?;
    scene.is_broken_on_purpose = true;
    Ok(())
}

async fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copy = esker_e2e::Program::new("cp").args(["-r"]).args([from, to]);
    copy.succeed().await?;
    Ok(())
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
