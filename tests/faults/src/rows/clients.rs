//! Clients and the lines between: silent members, topics made again, resets, silence, thin lines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::load::{Connection, batch_of, padded};
use esker_env::{Env, TaskGroup};
use esker_history::format::{Commit, Done, Isolation, Note, Operation, Owns, Send, Whole};
use esker_kafka::KafkaError;
use esker_kafka::client::Client;
use esker_kafka::messages::OffsetCommitResponse;
use esker_record::Compression;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::asker::{Asker, commit_request};
use crate::load::{Load, PARTITIONS, TOPIC};
use crate::member::{COMMIT, Member};
use crate::reader::Reader;
use crate::recorder::{End, key, nothing, value};
use crate::scene::Scene;

/// Bytes that a line takes at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// 1 Mbit/s.
const THIN_BYTES_PER_SECOND: u64 = 125_000;
const LOOK: Duration = Duration::from_millis(20);

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const SILENT: u8 = 2;
const THIN: u8 = 3;

/// A TCP line that can be cut, silenced and made thin; everything on it ends with it.
#[derive(Debug)]
pub(super) struct Line {
    address: SocketAddr,
    manner: Arc<AtomicU8>,
    _tasks: TaskGroup,
}

impl Line {
    /// In front of `server`, on a port that the system chose.
    pub(super) async fn before(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let manner = Arc::new(AtomicU8::new(OPEN));
        let mut tasks = TaskGroup::new("line");
        tasks.spawn(accept(listener, server, Arc::clone(&manner)));
        Ok(Self {
            address,
            manner,
            _tasks: tasks,
        })
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes everything.
    pub(super) fn open(&self) {
        self.manner.store(OPEN, Ordering::Relaxed);
    }

    /// Resets what is open and what comes.
    pub(super) fn close(&self) {
        self.manner.store(CLOSED, Ordering::Relaxed);
    }

    fn silence(&self) {
        self.manner.store(SILENT, Ordering::Relaxed);
    }

    fn thin(&self) {
        self.manner.store(THIN, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, manner: Arc<AtomicU8>) {
    let mut links = TaskGroup::new("links of a line");
    while let Ok((client, _)) = listener.accept().await {
        let _ = links.reap();
        if manner.load(Ordering::Relaxed) == CLOSED {
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            continue;
        }
        links.spawn(link(client, server, Arc::clone(&manner)));
    }
}

async fn link(client: TcpStream, server: SocketAddr, manner: Arc<AtomicU8>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
        // What is dropped is reset.
        let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        biased;
        () = carry(client_read, server_write, &manner) => {}
        () = carry(server_read, client_write, &manner) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, manner: &AtomicU8) {
    let clock = Env::system().clock;
    let mut bytes = vec![0; CHUNK_BYTES];
    loop {
        let count = tokio::select! {
            biased;
            read = from.read(&mut bytes) => match read {
                Ok(count) if count > 0 => count,
                Ok(_) | Err(_) => return,
            },
            () = clock.sleep(LOOK) => 0,
        };
        while manner.load(Ordering::Relaxed) == SILENT {
            clock.sleep(LOOK).await;
        }
        match manner.load(Ordering::Relaxed) {
            CLOSED => return,
            THIN => {
                let count = u64::try_from(count).unwrap_or(0);
                let time = Duration::from_micros(count * 1_000_000 / THIN_BYTES_PER_SECOND);
                clock.sleep(time).await;
            }
            _ => {}
        }
        let Some(part) = bytes.get(..count) else {
            return;
        };
        if to.write_all(part).await.is_err() {
            return;
        }
    }
}

/// Row 47. Between clients and server: resets, silence on open connections, 1 Mbit/s.
pub(super) async fn bad_line(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let pod = scene.pod(0)?;
    let line = Line::before(pod.kafka).await?;
    let direct = pod.kafka;
    pod.kafka = line.address();
    let rounds = if scene.is_long { 20 } else { 6 };
    let load = Load {
        finish_within: Duration::from_secs(60),
        ..Load::default()
    };
    scene
        .under(load, async |scene| {
            for round in 0..rounds {
                scene.pause_within(500, 1200).await;
                match (round + scene.seed) % 3 {
                    0 => {
                        line.close();
                        scene.pause_within(50, 600).await;
                    }
                    1 => {
                        line.silence();
                        scene.pause_within(1000, 4000).await;
                    }
                    _ => {
                        line.thin();
                        scene.pause_within(500, 1500).await;
                    }
                }
                line.open();
                scene.recorder.mark();
            }
            scene.pause(1.0).await;
            Ok(())
        })
        .await?;
    scene.pod(0)?.kafka = direct;
    scene.fact("no loss of packets: it needs netem; resets, silence and a thin line instead");
    Ok(())
}

/// Row 36. A topic is deleted and made again under the same name: each one has its own records.
pub(super) async fn topic_again(scene: &mut Scene) -> anyhow::Result<()> {
    scene.leader().await?;
    let rounds = if scene.is_long { 200 } else { 40 };
    scene
        .under_load(async |scene| {
            let address = scene.pod(0)?.kafka.to_string();
            let client = Client::connect(&address, "faults", Env::system()).await?;
            for round in 0..rounds {
                one_life(scene, &client, round).await?;
                scene.pause_within(0, 120).await;
            }
            Ok(())
        })
        .await
}

/// A topic of its own records: made, written, read, deleted.
async fn one_life(scene: &mut Scene, client: &Client, round: u32) -> anyhow::Result<()> {
    const NAME: &str = "again";
    let label = format!("{NAME}#{round}");
    let producer = 50_000 + round;
    scene.create_topic(NAME, 1).await?;
    let p = scene.recorder.process();
    let batches = 1 + scene.rng.below(5);
    for number in 0..batches {
        let send = Send {
            key: key(&label, 0),
            vals: vec![value(producer, number)],
            producer: None,
            txn: None,
        };
        let op = scene.recorder.begin(p, None, Operation::Send(send));
        let bytes = padded(&format!("{producer}:{number}"), 100);
        let batch = batch_of([bytes], Compression::None, None)?;
        let produced = client.produce(NAME, 0, batch).await?;
        let offset = u64::try_from(produced.base_offset).ok();
        let done = Done {
            offset,
            ..nothing()
        };
        scene.recorder.end(op, End::Ok, done);
    }
    let (name, address) = scene.pod(0)?.address();
    let mut reader = Reader::labelled(&scene.recorder, (NAME, &label), &[0], true);
    let mut connection = Connection::open(address).await?;
    while reader.position(0) < batches {
        ensure!(
            reader.poll(&name, &mut connection).await?,
            "{label} cannot be read"
        );
    }
    ensure!(
        reader.position(0) == batches,
        "{label} has more than was sent"
    );
    let iso = Isolation::Ru;
    let key = key(&label, 0);
    scene.recorder.note(Note::Whole(Whole { key, iso }));
    client.delete_topic(NAME).await?;
    Ok(())
}

/// Row 38. A member is silent beyond its session; another one takes its partitions; what the first
/// one commits then is refused, and the offset is that of the second.
pub(super) async fn silent_member(scene: &mut Scene) -> anyhow::Result<()> {
    const GROUP: &str = "silent";
    scene.leader().await?;
    scene
        .under_load(async |scene| {
            let address = scene.pod(0)?.kafka;
            let session = Duration::from_secs(6);
            let mut first = Member::join(address, GROUP, session).await?;
            owns(scene, GROUP, &first);
            let taken = commit(scene, GROUP, &mut first, 10).await?;
            ensure!(
                taken == KafkaError::None,
                "the first member was refused: {taken}"
            );
            // Nothing is heard of it for longer than its session.
            scene.pause(session.as_secs_f64() + 1.5).await;
            let mut second = Member::join(address, GROUP, session).await?;
            ensure!(
                second.generation > first.generation,
                "the generation did not rise"
            );
            owns(scene, GROUP, &second);
            let taken = commit(scene, GROUP, &mut second, 20).await?;
            ensure!(
                taken == KafkaError::None,
                "the second member was refused: {taken}"
            );

            let refused = commit(scene, GROUP, &mut first, 15).await?;
            let beat = first.heartbeat().await?;

            let told = [refused, beat];
            let fences = [KafkaError::UnknownMemberId, KafkaError::IllegalGeneration];
            ensure!(
                told.iter().all(|error| fences.contains(error)),
                "a fenced member was told {told:?}"
            );
            scene.fact(format!("the member that was silent was told {told:?}"));
            let asker = Asker::new(&scene.recorder, TOPIC, GROUP);
            let mut connection = Connection::open(address).await?;
            for partition in 0..PARTITIONS {
                asker.committed(&mut connection, partition).await;
            }
            Ok(())
        })
        .await
}

fn owns(scene: &Scene, group: &str, member: &Member) {
    scene.recorder.note(Note::Owns(Owns {
        group: group.to_owned(),
        generation: u32::try_from(member.generation).unwrap_or(0),
        member: member.id.clone(),
        keys: (0..PARTITIONS)
            .map(|partition| key(TOPIC, partition))
            .collect(),
    }));
}

/// Commits one offset of partition 0: what the coordinator says.
async fn commit(
    scene: &Scene,
    group: &str,
    member: &mut Member,
    offset: u32,
) -> anyhow::Result<KafkaError> {
    let commit = Commit {
        group: group.to_owned(),
        generation: u32::try_from(member.generation)?,
        key: key(TOPIC, 0),
        offset: u64::from(offset),
    };
    let p = scene.recorder.process();
    let op = scene.recorder.begin(p, None, Operation::Commit(commit));
    let who = (group, member.id.as_str(), member.generation);
    let request = commit_request(who, TOPIC, 0, i64::from(offset));
    let limit = Duration::from_secs(5);
    let reply: OffsetCommitResponse = member.connection.ask(COMMIT, &request, limit).await?;
    let mut answers = reply.topics.iter().flat_map(|topic| &topic.partitions);
    let code = answers.next().context("an answer")?.error_code;
    let error = KafkaError::from_code(code).context("an unknown code")?;
    let end = if error == KafkaError::None {
        End::Ok
    } else {
        End::Fail
    };
    scene.recorder.end(op, end, nothing());
    Ok(error)
}
