//! The journal and its neighbours: lost, late and doubled writes, conflicts, lists that lie.

use esker_testkit::{Reply, Rule, ShapedFault, StoreOperation};

use super::kills::RESTART_MAX;
use super::segments::load_under;
use crate::scene::Scene;

fn journal_put(share: f64, fault: ShapedFault) -> Rule {
    Rule {
        method: Some("PUT".to_owned()),
        key_contains: Some("/journal/".to_owned()),
        probability: Some(share),
        ..Rule::new(fault)
    }
}

/// Row 24. Writes of the journal are done and their replies lost, arrive late, arrive twice; and
/// the process is killed meanwhile.
pub(super) async fn replies(scene: &mut Scene) -> anyhow::Result<()> {
    scene
        .leader_with(&["--checkpoint-interval-ms", "300"])
        .await?;
    let held = |millis, reply| ShapedFault::Hold { millis, reply };
    let lost = |reply| ShapedFault::Fa { reply };
    let rules = [
        journal_put(0.15, lost(Reply::Code(500))),
        journal_put(0.15, lost(Reply::Rst)),
        journal_put(0.10, held(3_000, Reply::Code(500))),
        journal_put(0.05, held(2_000, Reply::Rst)),
        journal_put(0.20, ShapedFault::Dup { millis: 700 }),
        Rule {
            key_contains: Some("/snapshots/".to_owned()),
            ..journal_put(0.3, lost(Reply::Code(500)))
        },
    ];
    let length = if scene.is_long { 20.0 } else { 5.0 };
    load_under(scene, &rules, length).await?;
    scene
        .under_load(async |scene| {
            let kills = if scene.is_long { 6 } else { 2 };
            for _ in 0..kills {
                scene.rules(&rules)?;
                scene.pause_within(300, 1500).await;
                scene.pod(0)?.kill9()?;
                scene.recorder.mark();
                start_until_it_leads(scene).await?;
            }
            scene.heal()?;
            scene.pause(1.0).await;
            Ok(())
        })
        .await
}

/// A start may be refused while its store answers badly; one of the next ones is not.
async fn start_until_it_leads(scene: &mut Scene) -> anyhow::Result<()> {
    for tries in 0..8_u32 {
        match scene.pod(0)?.start().await {
            Ok(_) => return Ok(()),
            Err(error) if tries == 7 => return Err(error),
            Err(_) => scene.fact("a start under faults had to be repeated"),
        }
        if tries == 4 {
            scene.rules(&[])?;
        }
    }
    Ok(())
}

/// Row 25. Creates are answered 409: the object is there in half of the cases.
pub(super) async fn conflicts(scene: &mut Scene) -> anyhow::Result<()> {
    scene
        .leader_with(&["--checkpoint-interval-ms", "500"])
        .await?;
    let conflict = |effect, part: &str| Rule {
        operation: Some(StoreOperation::Put),
        key_contains: Some(part.to_owned()),
        probability: Some(0.12),
        ..Rule::new(ShapedFault::C409 { effect })
    };
    let rules = [
        conflict(true, "/journal/"),
        conflict(false, "/journal/"),
        conflict(true, "/sessions/"),
        conflict(false, "/sessions/"),
    ];
    let length = if scene.is_long { 20.0 } else { 6.0 };
    load_under(scene, &rules, length).await
}

/// Row 27. At a start lists lack what is younger than a minute, and come in any order.
pub(super) async fn lists(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    scene.recovery_max = Some(RESTART_MAX);
    let list = |fault| Rule {
        operation: Some(StoreOperation::List),
        ..Rule::new(fault)
    };
    let stale = list(ShapedFault::StaleList { millis: 60_000 });
    let unordered = list(ShapedFault::UnordList);
    let kinds = if scene.rng.below(2) == 0 {
        [stale, unordered]
    } else {
        [unordered, stale]
    };
    for rule in kinds {
        scene.rules(std::slice::from_ref(&rule))?;
        scene
            .under_load(async |scene| {
                for _ in 0..2 {
                    scene.pause_within(800, 1600).await;
                    scene.pod(0)?.kill9()?;
                    scene.recorder.mark();
                    scene.pod(0)?.start().await?;
                }
                scene.pause(1.0).await;
                Ok(())
            })
            .await?;
    }
    let struck = scene.struck();
    scene.fact(format!(
        "{struck} lists were made worse: no start depends on one"
    ));
    Ok(())
}

/// Row 60. The registration of a session is done and its reply lost, start after start: a session
/// nobody uses is harmless.
pub(super) async fn registration(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let lost = |reply| journal_put(0.25, ShapedFault::Fa { reply });
    let rules = [lost(Reply::Code(500)), lost(Reply::Rst)];
    scene
        .under_load(async |scene| {
            let rounds = if scene.is_long { 10 } else { 4 };
            for _ in 0..rounds {
                scene.pause_within(400, 1200).await;
                scene.pod(0)?.kill9()?;
                scene.recorder.mark();
                scene.rules(&rules)?;
                start_until_it_leads(scene).await?;
            }
            scene.heal()?;
            scene.pause(1.0).await;
            Ok(())
        })
        .await
}
