//! One process: killed, stopped, asked to end.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_testkit::{Reply, Rule, ShapedFault};
use rustix::process::Signal;

use crate::load::{Load, PARTITIONS, TOPIC};
use crate::scene::Scene;

/// A single process is back so soon, and the clients with it.
pub(super) const RESTART_MAX: Duration = Duration::from_secs(10);

/// Row 1. Killed again and again at moments that the seed chooses, sometimes while it starts.
pub(super) async fn kill(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    scene.recovery_max = Some(RESTART_MAX);
    let rounds = if scene.is_long { 12 } else { 4 };
    scene
        .under_load(async |scene| {
            for round in 0..rounds {
                scene.pause_within(300, 2500).await;
                scene.pod(0)?.kill9()?;
                scene.recorder.mark();
                if scene.rng.below(3) == 0 {
                    scene.pod(0)?.spawn()?;
                    scene.pause_within(0, 400).await;
                    scene.pod(0)?.kill9()?;
                }
                let start = scene.pod(0)?.start().await;
                start.with_context(|| format!("start behind kill {round}"))?;
            }
            scene.pause(1.0).await;
            Ok(())
        })
        .await
}

/// Row 2. Stopped for 5 or 30 s with nobody to take over: it goes on where it was.
pub(super) async fn stop_and_continue(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    scene.recovery_max = Some(RESTART_MAX);
    let stops: &[f64] = if scene.is_long { &[5.0, 30.0] } else { &[5.0] };
    scene
        .under_load(async |scene| {
            for seconds in stops {
                scene.pause_within(1000, 2000).await;
                scene.pod(0)?.signal(Signal::STOP)?;
                scene.pause(*seconds).await;
                scene.pod(0)?.signal(Signal::CONT)?;
                scene.recorder.mark();
            }
            scene.pause(3.0).await;
            Ok(())
        })
        .await
}

/// Row 3. Asked to end under load: it ends in order, and the next start finds everything.
pub(super) async fn drain(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    scene.recovery_max = Some(RESTART_MAX);
    let mut longest = Duration::ZERO;
    scene
        .under_load(async |scene| {
            for _ in 0..3 {
                scene.pause_within(800, 2000).await;
                let asked = scene.env.clock.now();
                scene.recorder.mark();
                let status = scene.pod(0)?.stop().await?;
                longest = longest.max(scene.env.clock.now().since(asked));
                ensure!(status.success(), "asked to end, it ended with {status}");
                scene.pod(0)?.start().await?;
            }
            scene.pause(1.0).await;
            Ok(())
        })
        .await?;
    let in_doubt = scene.recorder.counts().sends_in_doubt;
    scene.fact(format!(
        "drained in {longest:.2?} at most; {in_doubt} requests lost their reply over 3 stops"
    ));
    ensure!(
        longest < Duration::from_secs(30),
        "a drain took {longest:?}"
    );
    Ok(())
}

/// Row 4. Asked to end while the store answers nothing: it ends within its bound.
pub(super) async fn drain_without_store(scene: &mut Scene) -> anyhow::Result<()> {
    // Twice the drain's bound and 5 s: fronts first, then the metadata service.
    const ENDS_WITHIN: Duration = Duration::from_secs(22);
    scene.leader_with(&["--drain-timeout-ms", "5000"]).await?;
    let took = scene
        .under_load(async |scene| {
            scene.pause_within(800, 2000).await;
            let reply = Reply::Hang;
            scene.rules(&[Rule::new(ShapedFault::Fb { reply })])?;
            scene.pause_within(0, 1000).await;
            scene.pod(0)?.signal(Signal::TERM)?;
            let asked = scene.env.clock.now();
            scene.pod(0)?.ended_within(ENDS_WITHIN).await?;
            let took = scene.env.clock.now().since(asked);
            scene.heal()?;
            scene.pod(0)?.start().await?;
            scene.pause(1.0).await;
            Ok(took)
        })
        .await?;
    scene.fact(format!("ended {took:.1?} behind SIGTERM"));
    Ok(())
}

/// Row 50. All processes and the store killed in the middle of writes: all starts by itself.
pub(super) async fn everything(scene: &mut Scene) -> anyhow::Result<()> {
    scene.pair().await?;
    scene.recovery_max = Some(Duration::from_secs(20));
    let rounds = if scene.is_long { 4 } else { 2 };
    scene
        .under_load(async |scene| {
            for _ in 0..rounds {
                scene.pause_within(1000, 3000).await;
                scene.recorder.mark();
                scene.store.minio()?.kill9()?;
                scene.pause_within(0, 300).await;
                scene.pod(0)?.kill9()?;
                scene.pod(1)?.kill9()?;
                scene.store.minio()?.restart().await?;
                scene.pod(0)?.spawn()?;
                scene.pod(1)?.spawn()?;
                scene.leading().await?;
                scene.pause(2.0).await;
            }
            Ok(())
        })
        .await?;
    scene.leading().await?;
    Ok(())
}

/// Row 61. No checkpoint but those that the count of segments forces; then killed: the start walks
/// a bounded chain and gives every record its old offset.
pub(super) async fn no_checkpoint(scene: &mut Scene) -> anyhow::Result<()> {
    /// A checkpoint is due behind 256 segments, looked for twice a second.
    const WALKED_MAX: f64 = 640.0;
    scene
        .leader_with(&["--checkpoint-interval-ms", "600000", "--linger-ms", "5"])
        .await?;
    let seconds = if scene.is_long { 20.0 } else { 5.0 };
    scene
        .under(Load::default(), async |scene| {
            scene.pause(seconds).await;
            Ok(())
        })
        .await?;
    let lag = scene
        .metrics("esker_metadata_checkpoint_lag_segments")
        .await;
    scene.read_all(TOPIC, PARTITIONS, false).await?;
    scene.pod(0)?.kill9()?;
    let took = scene.pod(0)?.start().await?;
    let walked = scene.metrics("esker_metadata_recovered_segments").await;
    let walked = walked.values().copied().fold(0.0, f64::max);
    scene.fact(format!(
        "{lag:?} segments outside a checkpoint; the start walked {walked} in {took:.2?}"
    ));
    ensure!(walked <= WALKED_MAX, "a start walked {walked} segments");
    Ok(())
}
