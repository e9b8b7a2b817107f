//! Two processes on one bucket: one leads, the other stands by and takes over; never both.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use esker_e2e::load::{
    Batch, Connection, Figures, History, PRODUCE_VERSION, ProducerKind, ProducerPlan, Told,
    batch_of, compare, padded, produce, produce_request, read_all, retried,
};
use esker_e2e::{StoreKind, TestStore, proved};
use esker_env::{Env, Shutdown, timeout};
use esker_kafka::client::{Client, NewTopic};
use esker_kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use esker_kafka::messages::{
    ApiKey, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest, ProduceResponse, StrBytes,
    TopicName,
};
use esker_record::Compression;
use esker_testkit::{EskerArguments, EskerProcess};
use rustix::process::Signal;

const TOPIC: &str = "handed-over";
const PARTITIONS: i32 = 3;
/// Three looks up to 2.5 s apart, the take-over, the walk: the promise is 10 s.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);
/// A look at a process that does not answer takes 2 s more.
const TAKEN_OVER_FROM_STOPPED_WITHIN: Duration = Duration::from_secs(16);
/// A leader without questions looks every 10 s whether it still leads.
const DEPOSED_WITHIN: Duration = Duration::from_secs(15);
const LIST: (ApiKey, i16) = (ApiKey::ListOffsets, 7);
const PRODUCE: (ApiKey, i16) = (ApiKey::Produce, PRODUCE_VERSION);
/// Who asks a leader that is none any more.
const LATE_PRODUCER: u32 = 90;

fn arguments(store: &TestStore, name: &str) -> anyhow::Result<EskerArguments> {
    let directory = store.path().join(name);
    std::fs::create_dir_all(&directory)?;
    Ok(EskerArguments {
        directory,
        ..store.arguments()
    })
}

/// `/readyz`: its status and its body.
async fn readiness(http: SocketAddr) -> anyhow::Result<(u16, String)> {
    let answer = reqwest::get(format!("http://{http}/readyz")).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn stands_by(http: SocketAddr) -> anyhow::Result<()> {
    let (status, body) = readiness(http).await?;
    ensure!(
        status == 503 && body.contains("standing by for"),
        "{status} {body}"
    );
    Ok(())
}

/// A leader, a standby that says so, a topic.
async fn pair(store: &TestStore) -> anyhow::Result<(EskerProcess, EskerProcess)> {
    let leader = EskerProcess::start(&arguments(store, "leader")?).await?;
    let standby = EskerProcess::spawn(&arguments(store, "standby")?)?;
    let limit = Duration::from_secs(15);
    retried(limit, async || stands_by(standby.http).await).await?;
    let client = Client::connect(&leader.kafka.to_string(), "e2e", Env::system()).await?;
    let topic = NewTopic {
        name: TOPIC,
        partitions: Some(PARTITIONS),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&topic).await?;
    Ok((leader, standby))
}

fn plans(addresses: &[SocketAddr]) -> Vec<ProducerPlan> {
    let kinds = [
        ProducerKind::Idempotent,
        ProducerKind::Idempotent,
        ProducerKind::Plain,
    ];
    let plans = (1..).zip(kinds).map(|(producer, kind)| ProducerPlan {
        producer,
        kind,
        addresses: addresses.to_vec(),
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
        in_flight: 5,
        pause: Duration::from_millis(20),
        answer_within: Duration::from_secs(2),
        finish_within: Duration::from_secs(30),
        seed: u64::from(producer),
    });
    plans.collect()
}

/// Reads everything through `process` and compares.
async fn check(process: &EskerProcess, histories: &[History]) -> anyhow::Result<Figures> {
    let client = Client::connect(&process.kafka.to_string(), "e2e", Env::system()).await?;
    let log = read_all(&client, TOPIC, PARTITIONS).await?;
    compare(&log, histories)
}

/// Whether the new leader took all that idempotent producers had to say.
fn last_is_acknowledged(histories: &[History]) -> bool {
    let idempotent = histories.iter().filter(|history| history.is_idempotent);
    let mut last = idempotent.map(|history| history.batches.last());
    last.all(|last| last.is_some_and(|batch| matches!(batch.told, Told::Acknowledged { .. })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_from_a_killed_leader() -> anyhow::Result<()> {
    let env = Env::system();
    let store = TestStore::start(StoreKind::Minio).await?;
    let (mut leader, mut standby) = pair(&store).await?;
    let (trigger, stop) = Shutdown::new();
    let addresses = [leader.kafka, standby.kafka];
    let load = produce(&env, plans(&addresses), &stop);

    let hand_over = async {
        env.clock.sleep(Duration::from_secs(2)).await;
        stands_by(standby.http).await?;
        leader.kill9()?;
        let killed = env.clock.now();
        standby.wait_until_ready().await?;
        let took = env.clock.now().since(killed);
        env.clock.sleep(Duration::from_secs(3)).await;
        trigger.request();
        anyhow::Ok(took)
    };
    let (histories, took) = tokio::join!(load, hand_over);
    let took = took?;
    let histories = histories?;

    let figures = check(&standby, &histories).await?;
    proved(&format!(
        "standby after SIGKILL: took over in {took:.1?}; {figures}"
    ));
    ensure!(
        took <= TAKEN_OVER_WITHIN,
        "{took:?} is longer than {TAKEN_OVER_WITHIN:?}"
    );
    ensure!(last_is_acknowledged(&histories));
    Ok(())
}

fn late_produce(number: u64) -> anyhow::Result<ProduceRequest> {
    let value = padded(&format!("{LATE_PRODUCER}:{number}"), 40);
    let batch: Bytes = batch_of([value], Compression::None, None)?;
    Ok(produce_request(TOPIC, [(0, batch)]))
}

fn latest() -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(0)
        .with_timestamp(-1);
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partitions(vec![partition]);
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic])
}

/// An answer that only a leader may give is a failure; errors and silence are not.
fn refuse_produced(reply: &ProduceResponse) -> anyhow::Result<()> {
    let mut answers = reply
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    match answers.find(|answer| answer.error_code == 0) {
        Some(answer) => bail!("a deposed leader acknowledged at {}", answer.base_offset),
        None => Ok(()),
    }
}

fn refuse_listed(reply: &ListOffsetsResponse) -> anyhow::Result<()> {
    let mut answers = reply.topics.iter().flat_map(|topic| &topic.partitions);
    match answers.find(|answer| answer.error_code == 0) {
        Some(answer) => bail!(
            "a deposed leader said that the log ends at {}",
            answer.offset
        ),
        None => Ok(()),
    }
}

/// Asks a deposed leader for what only a leader may answer, until it is gone.
async fn ask_until_gone(address: SocketAddr) -> anyhow::Result<u64> {
    let (mut asked, limit) = (0, Duration::from_secs(20));
    while let Ok(mut connection) = Connection::open(address).await {
        let listed: Result<ListOffsetsResponse, _> = connection.ask(LIST, &latest(), limit).await;
        asked += 1;
        if let Ok(reply) = listed {
            refuse_listed(&reply)?;
            let produced = connection.ask(PRODUCE, &late_produce(asked)?, limit).await;
            if let Ok(reply) = produced {
                refuse_produced(&reply)?;
            }
        }
    }
    Ok(asked)
}

/// Replies to what was asked while the process was stopped.
async fn hear_held(mut held: Connection) -> anyhow::Result<()> {
    if let Ok(reply) = held.receiving.receive::<ProduceResponse>(PRODUCE).await {
        refuse_produced(&reply)?;
    }
    if let Ok(reply) = held.receiving.receive::<ListOffsetsResponse>(LIST).await {
        refuse_listed(&reply)?;
    }
    Ok(())
}

/// What the stopped process did when it went on.
#[derive(Clone, Copy, Debug)]
struct Woken {
    taken_over: Duration,
    gone: Duration,
    asked: u64,
}

/// Until no thread runs: one of them takes the signal when it gets a processor and stops the
/// others, which until then may take a request in and put it, as a leader may.
async fn until_stopped(process: &EskerProcess) -> anyhow::Result<()> {
    let tasks = format!("/proc/{}/task", process.id());
    retried(Duration::from_secs(5), async || {
        for task in std::fs::read_dir(&tasks)? {
            let stat = std::fs::read_to_string(task?.path().join("stat"))?;
            let state = stat.rsplit(") ").next();
            ensure!(state.is_some_and(|state| state.starts_with('T')), "{stat}");
        }
        Ok(())
    })
    .await
}

async fn stop_and_wake(
    leader: &mut EskerProcess,
    standby: &mut EskerProcess,
) -> anyhow::Result<Woken> {
    let clock = Env::system().clock;
    clock.sleep(Duration::from_secs(2)).await;
    let mut held = Connection::open(leader.kafka).await?;
    leader.signal(Signal::STOP)?;
    let stopped = clock.now();
    until_stopped(leader).await?;
    held.sending.send(PRODUCE, &late_produce(0)?).await?;
    held.sending.send(LIST, &latest()).await?;
    standby.wait_until_ready().await?;
    let taken_over = clock.now().since(stopped);
    clock.sleep(Duration::from_secs(5)).await;
    leader.signal(Signal::CONT)?;
    let woken = clock.now();
    let address = leader.kafka;
    let ended = async {
        let status = leader.wait_for_end(DEPOSED_WITHIN).await?;
        anyhow::Ok((status, clock.now().since(woken)))
    };
    let (ended, asked, heard) = tokio::join!(
        ended,
        timeout(clock.as_ref(), DEPOSED_WITHIN * 2, ask_until_gone(address)),
        timeout(clock.as_ref(), DEPOSED_WITHIN * 2, hear_held(held)),
    );
    heard??;
    let asked = asked??;
    let (status, gone) = ended?;
    ensure!(!status.success(), "a deposed process ended with {status}");
    Ok(Woken {
        taken_over,
        gone,
        asked,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_that_goes_on_answers_nothing_and_ends() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let (mut leader, mut standby) = pair(&store).await?;
    let env = Env::system();
    let (trigger, stop) = Shutdown::new();
    let addresses = [leader.kafka, standby.kafka];
    let load = produce(&env, plans(&addresses), &stop);

    let stopped = async {
        let woken = stop_and_wake(&mut leader, &mut standby).await;
        trigger.request();
        woken
    };
    let (histories, woken) = tokio::join!(load, stopped);
    let log = leader.log_tail();
    let woken = woken.with_context(|| log.clone())?;
    let mut histories = histories?;

    // What it was asked to append after it was deposed may not be anywhere.
    histories.push(late_history(woken.asked));
    let figures = check(&standby, &histories).await?;
    proved(&format!(
        "standby after SIGSTOP: took over in {:.1?}; after SIGCONT the old leader was asked {} \
         times, answered nothing that must be current and ended after {:.1?}; {figures}",
        woken.taken_over, woken.asked, woken.gone
    ));
    ensure!(
        woken.taken_over <= TAKEN_OVER_FROM_STOPPED_WITHIN,
        "{woken:?}"
    );
    ensure!(
        log.contains("another process took over as metadata leader"),
        "{log}"
    );
    ensure!(last_is_acknowledged(&histories));
    let (status, body) = readiness(standby.http).await?;
    ensure!(status == 200, "the new leader is not ready: {body}");
    Ok(())
}

/// Nothing of what the deposed leader was asked to append was acknowledged.
fn late_history(asked: u64) -> History {
    let batches = (0..=asked).map(|first| Batch {
        partition: 0,
        first,
        count: 1,
        connection: first,
        sent_at: esker_types::MonotonicTime::default(),
        told: Told::Unknown,
    });
    History {
        producer: LATE_PRODUCER,
        is_idempotent: false,
        batches: batches.collect(),
        reconnects: 0,
        resent: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_refuses_a_directory_in_use() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let first = EskerProcess::start(&arguments(&store, "first")?).await?;

    let mut second = EskerProcess::spawn(&arguments(&store, "second")?)?;
    let status = second.wait_for_end(Duration::from_secs(10)).await?;

    let log = second.log_tail();
    ensure!(!status.success(), "the second process ended with {status}");
    ensure!(log.contains("is in use by"), "{log}");
    ensure!(
        readiness(first.http).await?.0 == 200,
        "the first one does not go on"
    );
    proved(&format!(
        "a second process on one directory ends with {status}: in use"
    ));
    Ok(())
}

/// An address that goes with its process, as a pod's does, refuses while clients come to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_process_refuses_for_as_long_as_it_is_set_before_it_ends() -> anyhow::Result<()> {
    const DELAY: Duration = Duration::from_secs(2);
    let store = TestStore::start(StoreKind::Directory).await?;
    let mut arguments = arguments(&store, "delayed")?;
    let delay = DELAY.as_millis().to_string();
    arguments.more.extend(["--exit-delay-ms".to_owned(), delay]);
    let mut process = EskerProcess::start(&arguments).await?;
    let clock = Env::system().clock;

    process.signal(Signal::TERM)?;
    let (kafka, http) = (process.kafka, process.http);
    retried(Duration::from_secs(10), async || {
        for address in [kafka, http] {
            let refused = tokio::net::TcpStream::connect(address).await;
            ensure!(refused.is_err(), "{address} is open");
        }
        Ok(())
    })
    .await?;
    let refuses_from = clock.now();
    let is_there = process.ended()?.is_none();
    let status = process.wait_for_end(Duration::from_secs(10)).await?;

    let waited = clock.now().since(refuses_from);
    ensure!(is_there && status.success(), "it ended with {status}");
    ensure!(waited > DELAY / 2, "it ended after {waited:?}");
    proved(&format!(
        "a stopped process refuses connections for {} ms, then ends",
        waited.as_millis()
    ));
    Ok(())
}
