//! The machine below a process: memory, processor, clock, file systems.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use esker_e2e::resident_peak;
use esker_testkit::ControlGroup;

use super::kills::RESTART_MAX;
use crate::load::Load;
use crate::outcome::CannotRun;
use crate::scene::Scene;

/// Where `.ci/bootstrap` puts the library that fakes the wall clock.
const FAKE_TIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Row 5. Memory is held at 192 MiB under load, then at what is used, until the system kills.
pub(super) async fn memory(scene: &mut Scene) -> anyhow::Result<()> {
    const LIMIT_BYTES: u64 = 192 * 1024 * 1024;
    const LESS_SHARE: u64 = 16;
    const TIGHTENED_MAX: u32 = 60;
    let group =
        ControlGroup::make("memory", "faults").ok_or(CannotRun("no memory control group"))?;
    group.limit_memory(LIMIT_BYTES)?;
    let place = scene.add_pod().await?;
    let pod = scene.pod(place)?;
    pod.add_arguments(&[
        "--produce-buffer-bytes",
        "33554432",
        "--cache-bytes",
        "33554432",
    ]);
    pod.arguments.wrapper = group.wrapper();
    pod.start().await?;
    let id = pod.process()?.id();
    scene
        .create_topic(crate::load::TOPIC, crate::load::PARTITIONS)
        .await?;
    scene.recovery_max = Some(RESTART_MAX);
    let load = Load {
        idempotent: 4,
        readers: 4,
        pause: Duration::from_millis(1),
        ..Load::default()
    };
    let (peak, status) = scene
        .under(load, async |scene| {
            scene.pause(if scene.is_long { 15.0 } else { 4.0 }).await;
            let peak = resident_peak(id)?;
            let mut status = None;
            for _ in 0..TIGHTENED_MAX {
                // Cached pages go first. Refused when nothing can go any more: then the limit of
                // before is what is used, and whoever asks for more is killed.
                let used = group.used_bytes()?;
                let _ = group.limit_memory(used - used / LESS_SHARE);
                let soon = Duration::from_millis(200);
                if let Ok(ended) = scene.pod(0)?.ended_within(soon).await {
                    status = Some(ended);
                    break;
                }
            }
            if status.is_none() {
                scene.pod(0)?.kill9()?;
            }
            scene.recorder.mark();
            scene.pod(0)?.arguments.wrapper.clear();
            scene.pod(0)?.start().await?;
            scene.pause(1.5).await;
            Ok((peak, status))
        })
        .await?;
    let ended = status.map_or("killed by us".to_owned(), |status| status.to_string());
    scene.fact(format!("held {} MiB of 192; then: {ended}", peak >> 20));
    ensure!(peak < LIMIT_BYTES, "it held {peak} bytes");
    Ok(())
}

/// Row 6. 5 % of one processor for a while: slow, not wrong.
pub(super) async fn processor(scene: &mut Scene) -> anyhow::Result<()> {
    let group =
        ControlGroup::make("cpu", "faults").ok_or(CannotRun("no processor control group"))?;
    scene.leader().await?;
    let id = scene.pod(0)?.process()?.id();
    group.add(id)?;
    let load = Load {
        answer_within: Duration::from_secs(20),
        finish_within: Duration::from_secs(90),
        ..Load::default()
    };
    let length = if scene.is_long { 25.0 } else { 6.0 };
    scene
        .under(load, async |scene| {
            scene.pause(1.0).await;
            group.limit_processor(5)?;
            scene.pause(length).await;
            group.limit_processor(100)?;
            scene.recorder.mark();
            scene.pause(1.0).await;
            Ok(())
        })
        .await?;
    let throttled = group.throttled()?;
    ensure!(throttled > 0, "the processor was never taken away");
    scene.fact(format!("stopped {throttled} times for the rest of 100 ms"));
    // The group can go only when the process has.
    scene.pod(0)?.stop().await?;
    scene.pod(0)?.start().await?;
    Ok(())
}

/// Row 29. The wall clock jumps an hour on and two back; the monotonic clock does not.
pub(super) async fn clock(scene: &mut Scene) -> anyhow::Result<()> {
    let library = Path::new(FAKE_TIME);
    if !library.is_file() {
        return Err(CannotRun("no libfaketime: run .ci/bootstrap faketime").into());
    }
    let file = scene.store.path().join("faketime");
    let set = |offset: &str| std::fs::write(&file, offset);
    set("+0")?;
    // S3 refuses requests of more than 15 minutes ago or ahead: there the jumps are smaller.
    let jumps = match scene.kind {
        esker_e2e::StoreKind::Directory => ["+3600", "-3600", "+86400", "+0"],
        esker_e2e::StoreKind::Minio | esker_e2e::StoreKind::Seaweed => {
            ["+600", "-600", "+300", "+0"]
        }
    };
    let place = scene.add_pod().await?;
    let pod = scene.pod(place)?;
    let variables = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    pod.arguments.environment.extend(variables);
    pod.start().await?;
    scene
        .create_topic(crate::load::TOPIC, crate::load::PARTITIONS)
        .await?;
    scene
        .under_load(async |scene| {
            for jump in jumps {
                scene.pause_within(800, 1500).await;
                set(jump)?;
                scene.recorder.mark();
                scene.pause_within(300, 900).await;
                scene.pod(0)?.kill9()?;
                scene.pod(0)?.start().await?;
            }
            scene.pause(1.0).await;
            Ok(())
        })
        .await?;
    // Its own log tells what time it took it to be: `YYYY-MM-DDTHH:M` of each line.
    let log = scene.pod(0)?.log();
    let stamps = log
        .lines()
        .filter_map(|line| line.split_once("\"timestamp\":\""));
    let tens: BTreeSet<&str> = stamps.filter_map(|(_, rest)| rest.get(..15)).collect();
    ensure!(tens.len() > 2, "the clock did not jump: {tens:?}");
    scene.fact(format!("jumps of {jumps:?} seconds"));
    Ok(())
}

/// Row 56. Its root is read-only, its temporary directory is full, there is no shared memory.
pub(super) async fn read_only(scene: &mut Scene) -> anyhow::Result<()> {
    const SCRIPT: &str = "mount --make-rprivate / && mount -o remount,ro,bind / && \
        mount -t tmpfs -o size=4k tmpfs \"$TMPDIR\" && \
        mount -t tmpfs -o ro,size=4k tmpfs /dev/shm && \
        head -c 4096 /dev/zero > \"$TMPDIR/filler\" && exec \"$@\"";
    let probe = esker_e2e::Program::new("unshare")
        .args(["-m", "mount", "--make-rprivate", "/"])
        .run()
        .await?;
    if !probe.status.success() {
        return Err(CannotRun("no right to mount").into());
    }
    let full = scene.store.path().join("full");
    std::fs::create_dir_all(&full)?;
    let place = scene.add_pod().await?;
    let pod = scene.pod(place)?;
    let words = ["unshare", "-m", "sh", "-c", SCRIPT, "sh"];
    pod.arguments.wrapper = words.map(str::to_owned).to_vec();
    let variable = ("TMPDIR".to_owned(), full.display().to_string());
    pod.arguments.environment.push(variable);
    pod.start().await?;
    scene
        .create_topic(crate::load::TOPIC, crate::load::PARTITIONS)
        .await?;
    scene
        .under_load(async |scene| {
            scene.pause(2.0).await;
            scene.recorder.mark();
            scene.pod(0)?.kill9()?;
            scene.pod(0)?.start().await?;
            scene.pause(2.0).await;
            Ok(())
        })
        .await
}
