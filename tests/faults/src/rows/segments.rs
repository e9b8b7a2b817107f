//! Puts of segments: lost replies, late arrivals, cuts, failures of one place, races with seals.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_testkit::{Reply, Rule, ShapedFault, StoreOperation};

use super::kills::RESTART_MAX;
use crate::load::Load;
use crate::scene::Scene;

/// A single process without any fault acknowledges again so soon.
const HEALED_WITHIN: Duration = Duration::from_secs(30);

/// Puts below `sessions/`, of segments and of seals.
fn segment_put(fault: ShapedFault) -> Rule {
    Rule {
        operation: Some(StoreOperation::Put),
        key_contains: Some("/sessions/".to_owned()),
        ..Rule::new(fault)
    }
}

fn sometimes(share: f64, rule: Rule) -> Rule {
    Rule {
        probability: Some(share),
        ..rule
    }
}

/// The usual load under rules for some seconds, then without.
pub(super) async fn load_under(
    scene: &mut Scene,
    rules: &[Rule],
    seconds: f64,
) -> anyhow::Result<()> {
    scene.recovery_max = Some(HEALED_WITHIN);
    let load = Load {
        finish_within: Duration::from_secs(90),
        ..Load::default()
    };
    scene
        .under(load, async |scene| {
            scene.pause_within(500, 1000).await;
            scene.rules(rules)?;
            scene.pause(seconds).await;
            scene.heal()?;
            scene.pause(2.0).await;
            Ok(())
        })
        .await
}

fn seconds(scene: &Scene) -> f64 {
    if scene.is_long { 25.0 } else { 6.0 }
}

/// Row 8. The store has the segment, the reply is lost: in three ways.
pub(super) async fn reply_lost(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let replies = [Reply::Code(500), Reply::Rst, Reply::Hang];
    let rules = replies.map(|reply| sometimes(0.12, segment_put(ShapedFault::Fa { reply })));
    let length = seconds(scene);
    load_under(scene, &rules, length).await
}

/// Row 9. The client gives up; the request arrives later than every time-out.
pub(super) async fn late(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let held = |millis, reply| sometimes(0.1, segment_put(ShapedFault::Hold { millis, reply }));
    let rules = [
        held(12_000, Reply::Code(500)),
        held(4_000, Reply::Rst),
        held(11_000, Reply::Hang),
    ];
    let length = seconds(scene);
    load_under(scene, &rules, length).await?;
    // All that was held arrives before the last reading.
    scene.pause(13.0).await;
    Ok(())
}

/// Row 12. The store takes half of the body.
pub(super) async fn cut(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader_with(&["--s3-checksum", "sha256"]).await?;
    let rules = [sometimes(0.2, segment_put(ShapedFault::Trunc))];
    let length = seconds(scene);
    load_under(scene, &rules, length).await
}

/// Row 58. One place fails for a while, the places behind it succeed: nothing at or behind it is
/// acknowledged before it is there.
pub(super) async fn one_place(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let nth = 10 + scene.rng.below(30);
    let reply = Reply::Code(500);
    let rule = Rule {
        nth: Some(nth),
        times: Some(6),
        sticks: true,
        ..segment_put(ShapedFault::Fb { reply })
    };
    load_under(scene, &[rule], 4.0).await
}

/// Row 59. Some puts take 3 s: hedges overtake them.
pub(super) async fn slow(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let slow = ShapedFault::Slow {
        latency_millis: 3_000,
        bytes_per_second: None,
    };
    let rules = [sometimes(0.04, segment_put(slow))];
    let length = seconds(scene);
    load_under(scene, &rules, length).await?;
    let hedges = scene.metrics("esker_object_hedges_total").await;
    let hedged: f64 = hedges.values().sum();
    scene.fact(format!("{hedged} hedges"));
    ensure!(hedged > 0.0, "slow puts were not hedged");
    Ok(())
}

/// Row 57. The leader's puts are on their way when it is killed; they arrive around the time at
/// which its successor seals the session: one of them has the place.
pub(super) async fn seal_race(scene: &mut Scene) -> anyhow::Result<()> {
    scene.pair().await?;
    scene.recovery_max = Some(Duration::from_secs(15));
    let rounds = if scene.is_long { 6 } else { 2 };
    let mut sealed = Vec::new();
    scene
        .under_load(async |scene| {
            for _ in 0..rounds {
                scene.pause_within(1500, 2500).await;
                let leader = scene.leading().await?;
                // Look, take-over and walk take some 3 to 7 s: the late ones lie around that.
                let held = (0..12).map(|at| Rule {
                    times: Some(1),
                    ..segment_put(ShapedFault::Hold {
                        millis: 2_000 + at * 400 + scene.rng.below(200),
                        reply: Reply::Hang,
                    })
                });
                let held = held.collect();
                scene.pod(leader)?.rules(held)?;
                scene.pause_within(200, 900).await;
                scene.pod(leader)?.kill9()?;
                scene.recorder.mark();
                sealed.push(scene.leading().await?);
                scene.pod(leader)?.rules(Vec::new())?;
                scene.pod(leader)?.spawn()?;
            }
            // The last of the held puts arrives.
            scene.pause(5.0).await;
            Ok(())
        })
        .await?;
    scene.fact(format!("successors: {sealed:?}"));
    Ok(())
}

/// Row 62. Killed with places reserved and not one of their puts done: what was given out and is
/// nowhere is stepped over.
pub(super) async fn reserved_only(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    scene.recovery_max = Some(RESTART_MAX);
    let rounds = if scene.is_long { 8 } else { 3 };
    scene
        .under_load(async |scene| {
            for _ in 0..rounds {
                scene.pause_within(800, 1600).await;
                let reply = Reply::Hang;
                // The first of them may be done or not, those behind it are not.
                let first = Rule {
                    times: Some(scene.rng.below(2)),
                    ..segment_put(ShapedFault::Fa { reply })
                };
                let others = segment_put(ShapedFault::Fb { reply });
                scene.rules(&[first, others])?;
                scene.pause_within(150, 600).await;
                scene.pod(0)?.kill9()?;
                scene.rules(&[])?;
                scene.recorder.mark();
                scene.pod(0)?.start().await.context("start behind a kill")?;
            }
            scene.pause(1.0).await;
            Ok(())
        })
        .await
}
