//! A group whose coordinator dies at every phase: nobody owns twice, no commit is lost or revived.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use esker_e2e::load::Connection;
use esker_env::{Env, Rng, Shutdown};
use esker_history::format::{Commit, Note, Operation, Owns};
use esker_kafka::KafkaError;
use esker_kafka::messages::OffsetCommitResponse;

use super::kills::RESTART_MAX;
use crate::asker::{Asker, commit_request};
use crate::load::{PARTITIONS, TOPIC};
use crate::member::{COMMIT, Member};
use crate::recorder::{End, Recorder, key, nothing};
use crate::scene::Scene;

const GROUP: &str = "rebalanced";
const SESSION: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(60);
/// Surely without effect: the member's generation is over.
const FENCED: [KafkaError; 3] = [
    KafkaError::UnknownMemberId,
    KafkaError::IllegalGeneration,
    KafkaError::RebalanceInProgress,
];

/// Row 37. Members join, sync, commit and join again while the process is killed at moments that
/// the seed chooses.
pub(super) async fn leader_changes(scene: &mut Scene) -> anyhow::Result<()> {
    scene
        .leader_with(&["--group-initial-rebalance-delay-ms", "50"])
        .await?;
    scene.recovery_max = Some(RESTART_MAX);
    let rounds = if scene.is_long { 15 } else { 5 };
    let (generations, commits) = scene
        .under_load(async |scene| {
            let address = scene.pod(0)?.kafka;
            let (trigger, stop) = Shutdown::new();
            let lives = [0, 1, 2].map(|number| {
                let rng = Rng::from_seed(scene.seed).stream(&format!("member {number}"));
                life(address, scene.recorder.clone(), rng, stop.clone())
            });
            let kills = async {
                for _ in 0..rounds {
                    scene.pause_within(400, 1800).await;
                    scene.pod(0)?.kill9()?;
                    scene.recorder.mark();
                    scene.pod(0)?.start().await?;
                }
                scene.pause(2.0).await;
                trigger.request();
                anyhow::Ok(())
            };
            let lives = futures::future::try_join_all(lives);
            let (killed, lived) = tokio::join!(Box::pin(kills), Box::pin(lives));
            killed?;
            let lived = lived?;
            let generations = lived.iter().map(|life| life.0).max().unwrap_or(0);
            Ok((generations, lived.iter().map(|life| life.1).sum::<u64>()))
        })
        .await?;
    scene.fact(format!(
        "{generations} generations, {commits} commits taken"
    ));
    anyhow::ensure!(commits > 0, "no member could commit");
    Ok(())
}

/// One member until asked to stop: the last generation it was in, its commits that were taken.
async fn life(
    address: SocketAddr,
    recorder: Recorder,
    rng: Rng,
    stop: Shutdown,
) -> anyhow::Result<(i32, u64)> {
    let clock = Env::system().clock;
    let mut member: Option<Member> = None;
    let (mut generation, mut taken) = (0, 0);
    let asker = Asker::new(&recorder, TOPIC, GROUP);
    while !stop.is_requested() {
        clock.sleep(PAUSE).await;
        let joined = match member.take() {
            Some(mut known) => known.enter().await.map(|()| known),
            None => Member::join(address, GROUP, SESSION).await,
        };
        // A connection that ended takes the member with it; its session runs out.
        let Ok(mut joined) = joined else { continue };
        generation = generation.max(joined.generation);
        if joined.owns_all {
            recorder.note(Note::Owns(Owns {
                group: GROUP.to_owned(),
                generation: u32::try_from(joined.generation)?,
                member: joined.id.clone(),
                keys: (0..PARTITIONS).map(|at| key(TOPIC, at)).collect(),
            }));
        }
        let mut is_in = true;
        for _ in 0..=rng.below(12) {
            clock.sleep(PAUSE).await;
            if joined.owns_all {
                is_in = commit(&recorder, &mut joined, rng.below(1 << 40)).await?;
                taken += u64::from(is_in);
                if let Ok(mut connection) = Connection::open(address).await {
                    asker.committed(&mut connection, 0).await;
                }
            }
            is_in = is_in && joined.heartbeat().await.is_ok_and(|error| error.is_none());
            if !is_in {
                break;
            }
        }
        member = Some(joined);
    }
    Ok((generation, taken))
}

/// Whether the coordinator took it.
async fn commit(recorder: &Recorder, member: &mut Member, offset: u64) -> anyhow::Result<bool> {
    let commit = Commit {
        group: GROUP.to_owned(),
        generation: u32::try_from(member.generation)?,
        key: key(TOPIC, 0),
        offset,
    };
    let op = recorder.begin(recorder.process(), None, Operation::Commit(commit));
    let who = (GROUP, member.id.as_str(), member.generation);
    let request = commit_request(who, TOPIC, 0, i64::try_from(offset)?);
    let limit = Duration::from_secs(3);
    let reply = member.connection.ask(COMMIT, &request, limit).await;
    let Ok(reply): Result<OffsetCommitResponse, _> = reply else {
        recorder.end(op, End::Info, nothing());
        return Ok(false);
    };
    let mut answers = reply.topics.iter().flat_map(|topic| &topic.partitions);
    let code = answers.next().context("an answer")?.error_code;
    let error = KafkaError::from_code(code).context("an unknown code")?;
    let end = match error {
        KafkaError::None => End::Ok,
        fenced if FENCED.contains(&fenced) => End::Fail,
        _ => End::Info,
    };
    recorder.end(op, end, nothing());
    Ok(end == End::Ok)
}
