//! Reads of the store: damaged, refused, of what is gone; readers across a cold start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::load::Connection;
use esker_testkit::{Reply, Rule, ShapedFault, StoreOperation};

use crate::audit;
use crate::load::{Load, PARTITIONS, TOPIC};
use crate::reader::Reader;
use crate::scene::Scene;

/// Reads of segments.
fn segment_get(share: f64, fault: ShapedFault) -> Rule {
    Rule {
        operation: Some(StoreOperation::Get),
        key_contains: Some("/sessions/".to_owned()),
        probability: Some(share),
        ..Rule::new(fault)
    }
}

async fn filled(scene: &mut Scene, seconds: f64) -> anyhow::Result<()> {
    let load = Load {
        readers: 1,
        ..Load::default()
    };
    scene
        .under(load, async |scene| {
            scene.pause(seconds).await;
            Ok(())
        })
        .await
}

/// Row 31. Everything is read warm, the process is killed under readers, everything is read cold:
/// the same bytes, and readers go on where they were.
pub(super) async fn cold_start(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let rounds = if scene.is_long { 5 } else { 2 };
    for _ in 0..rounds {
        scene
            .under_load(async |scene| {
                scene.pause_within(1000, 2000).await;
                scene.pod(0)?.kill9()?;
                scene.recorder.mark();
                scene.pod(0)?.start().await?;
                scene.pause(1.0).await;
                Ok(())
            })
            .await?;
        scene.read_all(TOPIC, PARTITIONS, false).await?;
        scene.pod(0)?.kill9()?;
        scene.pod(0)?.start().await?;
        scene.read_all(TOPIC, PARTITIONS, false).await?;
    }
    Ok(())
}

/// Row 33. A cold process reads damaged, short and missing bytes: no bad byte, no skip.
pub(super) async fn damaged(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    filled(scene, 3.0).await?;
    scene.read_all(TOPIC, PARTITIONS, false).await?;
    let rounds = if scene.is_long { 6 } else { 2 };
    for _ in 0..rounds {
        scene.pod(0)?.kill9()?;
        scene.pod(0)?.start().await?;
        let reply = Reply::Code(404);
        scene.rules(&[
            segment_get(0.2, ShapedFault::Flip),
            segment_get(0.2, ShapedFault::Trunc),
            segment_get(0.2, ShapedFault::Short),
            segment_get(0.2, ShapedFault::Fb { reply }),
        ])?;
        // The readers of this load begin at offset 0.
        scene
            .under_load(async |scene| {
                scene.pause(4.0).await;
                scene.heal()?;
                scene.pause(1.5).await;
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// A process that can read again says so within this.
const READY_AGAIN_WITHIN: Duration = Duration::from_secs(15);

/// Row 53. Puts work and gets are refused: what is read is never empty instead. A process that can
/// read nothing for long is not ready, without flapping, and is again by itself.
pub(super) async fn grey_store(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    filled(scene, 2.0).await?;
    scene.pod(0)?.kill9()?;
    scene.pod(0)?.start().await?;
    let code = if scene.rng.below(2) == 0 { 403 } else { 500 };
    let reply = Reply::Code(code);
    scene.rules(&[segment_get(1.0, ShapedFault::Fb { reply })])?;
    let length = if scene.is_long { 80 } else { 5 };
    let (unready_from, ready_again) = scene
        .under_load(async |scene| {
            let mut unready_from = None;
            for second in 0..length {
                scene.pause(1.0).await;
                let is_ready = scene.pod(0)?.is_ready().await;
                ensure!(
                    !is_ready || unready_from.is_none(),
                    "ready and unready in turn"
                );
                if !is_ready {
                    unready_from.get_or_insert(second);
                }
            }
            scene.heal()?;
            let healed = scene.env.clock.now();
            let process = scene.pod(0)?.process()?;
            process.wait_until_ready_within(READY_AGAIN_WITHIN).await?;
            let ready_again = scene.env.clock.now().since(healed);
            scene.pause(2.0).await;
            Ok((unready_from, ready_again))
        })
        .await?;
    ensure!(
        unready_from.is_some() == scene.is_long,
        "{code} for every get over {length} s: unready from second {unready_from:?}"
    );
    scene.fact(format!(
        "{code} for every get: unready from second {unready_from:?}, ready again {ready_again:.1?} \
         behind the heal"
    ));
    Ok(())
}

/// All files below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Row 54. A segment is deleted behind the cluster's back: what lay in it is an error for as long
/// as anyone asks, and is never passed over.
pub(super) async fn object_gone(scene: &mut Scene) -> anyhow::Result<()> {
    const ASKED_FOR: Duration = Duration::from_secs(4);
    scene.leader().await?;
    filled(scene, 3.0).await?;
    scene.read_all(TOPIC, PARTITIONS, false).await?;
    scene.stop_all().await?;
    let mut found = Vec::new();
    files(&scene.store.path().join("bucket"), &mut found)?;
    found.retain(|path| path.to_string_lossy().contains("/sessions/"));
    found.sort();
    // Large ones hold batches of most partitions; a seal is none of them.
    let is_segment = |path: &PathBuf| path.metadata().is_ok_and(|file| file.len() > 1024);
    found.retain(is_segment);
    let middle = found.len() / 2;
    let victim = found.get(middle).context("a segment")?;
    std::fs::remove_file(victim)?;

    scene.pod(0)?.start().await?;
    let (name, address) = scene.pod(0)?.address();
    let mut ends = BTreeMap::new();
    let mut errors = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut reader = Reader::new(&scene.recorder, TOPIC, &[partition], false);
        let deadline = scene.env.clock.now().after(ASKED_FOR);
        while scene.env.clock.now() < deadline {
            let mut connection = Connection::open(address).await?;
            while scene.env.clock.now() < deadline && reader.poll(&name, &mut connection).await? {}
            scene.pause(0.05).await;
        }
        ends.insert(partition, reader.position(partition));
        errors.extend(reader.errors);
    }
    scene.fact(format!("readers came to {ends:?} and were told {errors:?}"));
    ensure!(!errors.is_empty(), "nobody was told that a segment is gone");
    scene.pod(0)?.stop().await?;
    let place = victim.file_name().context("a name")?.to_string_lossy();
    scene.audited_by_row = Some(audit::audit_damaged(&scene.store, &place).await?);
    scene.fact("the audit names the hole");
    Ok(())
}
