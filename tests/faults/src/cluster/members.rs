//! The processes of the cluster, each on a host of its own, and whoever starts them again.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use esker_e2e::TestStore;
use esker_env::{Clock, Env, timeout};
use esker_testkit::{End, EskerArguments, EskerProcess, Network};
use rustix::process::Signal;
use serde::Serialize;

use crate::reader::PodAddress;

const KAFKA_PORT: u16 = 9092;
const HTTP_PORT: u16 = 8080;
const INTERNAL_PORT: u16 = 9094;
/// After a fault all processes are ready and one leads, so soon: a leader that nobody asks looks
/// every 10 s whether it still leads, and waits up to 5 s before it ends.
const SETTLED_WITHIN: Duration = Duration::from_secs(45);
/// A process that is asked whether it lives has so long to say so.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Ingest,
    Fetch,
    Metadata,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Ingest, Self::Fetch, Self::Metadata];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Fetch => "fetch",
            Self::Metadata => "metadata",
        }
    }

    fn count(self) -> usize {
        match self {
            Self::Ingest => 3,
            Self::Fetch | Self::Metadata => 2,
        }
    }
}

/// One process.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Its host in the network.
    pub(crate) host: usize,
    pub(crate) process: EskerProcess,
    arguments: EskerArguments,
}

impl Member {
    /// Its name and where clients connect.
    pub(crate) fn address(&self) -> PodAddress {
        (self.name.clone(), self.process.kafka)
    }

    /// Starts it again, at its address.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.process = EskerProcess::spawn(&self.arguments)?;
        Ok(())
    }

    /// Its whole log over all starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.process.log).unwrap_or_default()
    }

    async fn answer(&self, path: &str) -> Option<reqwest::Response> {
        let url = format!("http://{}{path}", self.process.http);
        let clock = Env::system().clock;
        let asked = timeout(clock.as_ref(), LOOK_WITHIN, reqwest::get(url)).await;
        asked.ok()?.ok()
    }

    async fn is_ready(&self) -> bool {
        let answer = self.answer("/readyz").await;
        answer.is_some_and(|answer| answer.status().is_success())
    }

    /// Whether it says that it leads.
    async fn leads(&self) -> bool {
        let Some(answer) = self.answer("/livez").await else {
            return false;
        };
        let alive = answer.json::<serde_json::Value>().await;
        alive.is_ok_and(|alive| alive["owner"].is_string())
    }
}

/// Only a leader that was deposed ends by itself.
fn check_may_end(member: &Member) -> anyhow::Result<()> {
    let tail = member.process.log_tail();
    let is_deposed = tail.contains("another process took over as metadata leader");
    ensure!(
        member.role == Role::Metadata && is_deposed,
        "{} ended by itself:\n{tail}",
        member.name
    );
    Ok(())
}

/// A cluster in a network of its own. Processes end before the network does.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) store: TestStore,
    pub(crate) network: Network,
    store_host: usize,
    env: Env,
    /// Processes that ended by themselves and were started again.
    pub(crate) restarts: u32,
}

impl Cluster {
    /// 2 metadata, 3 ingest and 2 fetch processes and MinIO, all ready.
    pub(crate) async fn start(mut network: Network) -> anyhow::Result<Self> {
        let store_host = network.add_host("store")?;
        let store = TestStore::start_minio_at(network.place(store_host)?).await?;
        let mut cluster = Self {
            members: Vec::new(),
            store,
            network,
            store_host,
            env: Env::system(),
            restarts: 0,
        };
        // Metadata first: the others wait for it.
        for role in [Role::Metadata, Role::Ingest, Role::Fetch] {
            cluster.start_role(role).await?;
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    async fn start_role(&mut self, role: Role) -> anyhow::Result<()> {
        let hosts = (0..role.count())
            .map(|at| self.network.add_host(&format!("{}{at}", role.label())))
            .collect::<anyhow::Result<Vec<usize>>>()?;
        for (at, host) in hosts.into_iter().enumerate() {
            let arguments = self.arguments(role, at, host)?;
            std::fs::create_dir_all(&arguments.directory)?;
            let mut member = Member {
                name: format!("{}-{}", role.label(), at + 1),
                role,
                host,
                process: EskerProcess::spawn(&arguments)?,
                arguments,
            };
            if role == Role::Metadata {
                member.process.wait_until_ready().await?;
            }
            self.members.push(member);
        }
        Ok(())
    }

    fn arguments(&self, role: Role, at: usize, host: usize) -> anyhow::Result<EskerArguments> {
        let place = self.network.place(host)?;
        let inside = format!("{}:{INTERNAL_PORT}", place.address);
        let more = match role {
            Role::Metadata => vec!["--internal-listen".to_owned(), inside],
            Role::Ingest | Role::Fetch => {
                let first = if role == Role::Ingest { 1 } else { 101 };
                let all = self.of(Role::Metadata);
                let all = all.map(|member| format!("{}:{INTERNAL_PORT}", member.process.http.ip()));
                let all: Vec<String> = all.collect();
                let node_id = (first + at).to_string();
                ["--metadata", &all.join(","), "--node-id", &node_id]
                    .map(str::to_owned)
                    .to_vec()
            }
        };
        let mut arguments = self.store.arguments();
        let name = format!("{}-{}", role.label(), at + 1);
        arguments.directory = self.store.path().join(name);
        arguments.address = place.address;
        arguments.wrapper = place.wrapper;
        arguments.kafka_port = Some(KAFKA_PORT);
        arguments.http_port = Some(HTTP_PORT);
        arguments
            .more
            .extend(["--role".to_owned(), role.label().to_owned()]);
        arguments.more.extend(more);
        Ok(arguments)
    }

    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(move |member| member.role == role)
    }

    /// Processes that take clients, those for writing first.
    pub(crate) fn addresses(&self) -> Vec<PodAddress> {
        let all = self.of(Role::Ingest).chain(self.of(Role::Fetch));
        all.map(Member::address).collect()
    }

    pub(crate) fn member(&mut self, place: usize) -> anyhow::Result<&mut Member> {
        self.members.get_mut(place).context("a process")
    }

    /// Where the other ends of a process's lines are.
    pub(crate) fn others(&self, host: usize, roles: &[Role]) -> Vec<End> {
        let all = self.members.iter();
        let all = all.filter(|one| one.host != host && roles.contains(&one.role));
        all.map(|one| End::Host(one.host)).collect()
    }

    pub(crate) fn store_end(&self) -> End {
        End::Host(self.store_host)
    }

    /// Whom a fault of this round hits: whoever leads, or the next one.
    pub(crate) async fn victim(&self, role: Role, round: u32) -> anyhow::Result<usize> {
        if role == Role::Metadata {
            return self.leader().await;
        }
        let mut places = self.members.iter().enumerate();
        let turn = usize::try_from(round)? % role.count();
        let found = places
            .by_ref()
            .filter(|(_, member)| member.role == role)
            .nth(turn);
        Ok(found.context("a process of the role")?.0)
    }

    /// Whoever says that it leads, if one alone does.
    pub(crate) async fn leader(&self) -> anyhow::Result<usize> {
        let mut leading = Vec::new();
        for (place, member) in self.members.iter().enumerate() {
            if member.role == Role::Metadata && member.leads().await {
                leading.push(place);
            }
        }
        match leading.as_slice() {
            [one] => Ok(*one),
            other => bail!("{} processes say that they lead", other.len()),
        }
    }

    /// As a supervisor does: whatever has ended is started again, until all are ready and one
    /// leads.
    pub(crate) async fn settled(&mut self) -> anyhow::Result<()> {
        let deadline = self.env.clock.now().after(SETTLED_WITHIN);
        loop {
            let mut unready = Vec::new();
            for member in &mut self.members {
                if member.process.ended()?.is_some() {
                    check_may_end(member)?;
                    member.restart()?;
                    self.restarts += 1;
                }
                if !member.is_ready().await {
                    unready.push(member.name.clone());
                }
            }
            let leader = self.leader().await;
            if unready.is_empty() && leader.is_ok() {
                return Ok(());
            }
            if self.env.clock.now() >= deadline {
                let tails = self.members.iter();
                let tails = tails.filter(|one| unready.contains(&one.name));
                let tails: Vec<String> = tails.map(|one| one.process.log_tail()).collect();
                bail!(
                    "after {SETTLED_WITHIN:?} {unready:?} are not ready, {leader:?}\n{}",
                    tails.join("\n--\n")
                );
            }
            self.env.clock.sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGTERM to all; each must end with 0, those that need others first. A leader that was
    /// deposed may have ended by itself a moment ago.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        for role in Role::ALL {
            for member in &mut self.members {
                if member.role != role {
                    continue;
                }
                if member.process.ended()?.is_some() {
                    check_may_end(member)?;
                    member.restart()?;
                    member.process.wait_until_ready().await?;
                    self.restarts += 1;
                }
                member.process.signal(Signal::TERM)?;
            }
            for member in &mut self.members {
                if member.role == role {
                    let limit = Duration::from_secs(40);
                    let status = member.process.wait_for_end(limit).await?;
                    ensure!(status.success(), "{} ended with {status}", member.name);
                }
            }
        }
        Ok(())
    }

    /// Ends whatever fault is left.
    pub(crate) fn release(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if member.process.ended()?.is_none() {
                member.process.signal(Signal::CONT)?;
            }
        }
        self.network.heal()
    }

    /// The clock that times everything.
    pub(crate) fn clock(&self) -> &dyn Clock {
        self.env.clock.as_ref()
    }
}
