//! Two processes: whoever leads is killed, stopped, cut off, asked to end; the other takes over.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_testkit::{Reply, Rule, ShapedFault};
use rustix::process::Signal;

use super::clients::Line;
use crate::scene::Scene;

/// The promise: acknowledgements resume within 10 s; the clients need a moment to notice.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(12);
/// A look at a process that does not answer takes 1.5 s, as long as the pause between two looks;
/// the clients wait for 3 s.
const TAKEN_OVER_FROM_SILENT_WITHIN: Duration = Duration::from_secs(15);
/// Turns of a pair that is cut apart: first seconds apart, then several.
const TURNS_PER_MINUTE_MAX: f64 = 30.0;
/// A leader without questions looks every 10 s whether it still leads.
const DEPOSED_WITHIN: Duration = Duration::from_secs(20);

/// Row 19. Whoever leads is killed; the standby takes over; the killed one comes back as standby.
pub(super) async fn kill_leaders(scene: &mut Scene) -> anyhow::Result<()> {
    scene.pair().await?;
    scene.recovery_max = Some(TAKEN_OVER_WITHIN);
    let rounds = if scene.is_long { 8 } else { 2 };
    scene
        .under_load(async |scene| {
            for _ in 0..rounds {
                scene.pause_within(1500, 3500).await;
                let leader = scene.leading().await?;
                scene.pod(leader)?.kill9()?;
                scene.recorder.mark();
                scene.leading().await?;
                scene.pod(leader)?.spawn()?;
            }
            scene.pause(1.5).await;
            Ok(())
        })
        .await
}

/// Row 51. The same with SIGTERM: nothing beyond a retry.
pub(super) async fn stop_leaders(scene: &mut Scene) -> anyhow::Result<()> {
    scene.pair().await?;
    scene.recovery_max = Some(TAKEN_OVER_WITHIN);
    let rounds = if scene.is_long { 8 } else { 3 };
    scene
        .under_load(async |scene| {
            for _ in 0..rounds {
                scene.pause_within(1500, 3500).await;
                let leader = scene.leading().await?;
                scene.recorder.mark();
                let status = scene.pod(leader)?.stop().await?;
                ensure!(
                    status.success(),
                    "asked to end, a leader ended with {status}"
                );
                scene.leading().await?;
                scene.pod(leader)?.spawn()?;
            }
            scene.pause(1.5).await;
            Ok(())
        })
        .await
}

/// Row 20. The leader is stopped for longer than every deadline, its successor works, it goes on:
/// it answers nothing that must be current, and ends.
pub(super) async fn zombie(scene: &mut Scene) -> anyhow::Result<()> {
    scene.pair().await?;
    scene.recovery_max = Some(TAKEN_OVER_FROM_SILENT_WITHIN);
    let beyond = if scene.is_long { 45.0 } else { 6.0 };
    let gone = scene
        .under_load(async |scene| {
            scene.pause_within(1500, 3500).await;
            scene.pod(0)?.signal(Signal::STOP)?;
            scene.recorder.mark();
            let successor = scene.pod(1)?.process()?;
            successor
                .wait_until_ready_within(TAKEN_OVER_FROM_SILENT_WITHIN)
                .await?;
            scene.pause(beyond).await;
            scene.pod(0)?.signal(Signal::CONT)?;
            let woken = scene.env.clock.now();
            let status = scene.pod(0)?.ended_within(DEPOSED_WITHIN).await?;
            ensure!(!status.success(), "a deposed leader ended with {status}");
            let gone = scene.env.clock.now().since(woken);
            scene.pod(0)?.spawn()?;
            scene.pause(1.5).await;
            Ok(gone)
        })
        .await?;
    scene.fact(format!("the zombie ended {gone:.1?} behind SIGCONT"));
    let log = scene.pod(0)?.log();
    ensure!(
        log.contains("another process took over as metadata leader"),
        "the zombie does not say why it ended"
    );
    Ok(())
}

/// Row 22. The leader cannot reach its store; everybody else reaches it and the store.
pub(super) async fn leader_without_store(scene: &mut Scene) -> anyhow::Result<()> {
    scene.pair().await?;
    let cut_for = if scene.is_long { 60.0 } else { 12.0 };
    let replies = [Reply::Hang, Reply::Rst, Reply::Code(503)];
    let chosen = usize::try_from(scene.rng.below(3))?;
    let reply = *replies.get(chosen).context("a reply")?;
    let load = crate::load::Load {
        finish_within: Duration::from_secs(90),
        ..crate::load::Load::default()
    };
    let leads = scene
        .under(load, async |scene| {
            scene.pause_within(1500, 2500).await;
            let faults = vec![Rule::new(ShapedFault::Fb { reply })];
            scene.pod(0)?.rules(faults)?;
            scene.pause(cut_for).await;
            let leads = scene.leading().await.ok();
            scene.heal()?;
            scene.pause(5.0).await;
            if let Ok(status) = scene.pod(0)?.ended_within(Duration::from_secs(20)).await {
                scene.fact(format!("the old leader ended with {status}"));
                scene.pod(0)?.spawn()?;
            }
            scene.leading().await?;
            scene.pause(2.0).await;
            Ok(leads)
        })
        .await?;
    let whom = leads.map_or("nobody".to_owned(), |place| format!("pod{place}"));
    scene.fact(format!(
        "{reply:?} to the leader for {cut_for} s: {whom} leads at the end of it"
    ));
    Ok(())
}

/// Row 23. Leader and standby do not hear each other and both reach the store: one of them leads
/// at a time, whoever is deposed ends and is started again; there is no livelock behind it.
pub(super) async fn cut_apart(scene: &mut Scene) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for _ in 0..2 {
        let place = scene.add_pod().await?;
        let pod = scene.pod(place)?;
        let line = Line::before(pod.http).await?;
        let address = line.address().to_string();
        pod.add_arguments(&["--http-advertise", &address]);
        lines.push(line);
    }
    scene.pod(0)?.start().await?;
    scene
        .create_topic(crate::load::TOPIC, crate::load::PARTITIONS)
        .await?;
    scene.pod(1)?.spawn()?;
    scene.recovery_max = Some(Duration::from_secs(30));
    let cut_for = if scene.is_long { 30 } else { 12 };
    let ends = scene
        .under_load(async |scene| {
            scene.pause_within(1500, 2500).await;
            for line in &lines {
                line.close();
            }
            let mut ends = restart_ended_for(scene, Duration::from_secs(cut_for)).await?;
            for line in &lines {
                line.open();
            }
            scene.recorder.mark();
            ends += restart_ended_for(scene, Duration::from_secs(10)).await?;
            scene.leading().await?;
            Ok(ends)
        })
        .await?;
    scene.fact(format!("{ends} deposed processes were started again"));
    // The two turns at the start of the cut and the one behind it are not paced.
    let paced = f64::from(ends.saturating_sub(3));
    let minutes = Duration::from_secs(cut_for).as_secs_f64() / 60.0;
    ensure!(
        paced <= TURNS_PER_MINUTE_MAX * minutes,
        "leader and standby deposed one another {ends} times in {cut_for} s"
    );
    Ok(())
}

/// For so long starts again whichever process has ended, as a supervisor does; how often.
pub(super) async fn restart_ended_for(scene: &mut Scene, time: Duration) -> anyhow::Result<u32> {
    let deadline = scene.env.clock.now().after(time);
    let mut count = 0;
    while scene.env.clock.now() < deadline {
        for pod in &mut scene.pods {
            let look = Duration::from_millis(20);
            if pod.ended_within(look).await.is_ok() {
                pod.spawn()?;
                count += 1;
            }
        }
        scene.pause(0.2).await;
    }
    Ok(count)
}
