//! Roles in processes of their own, on one S3 store: the cluster of the black-box tests.

use std::net::SocketAddr;

use esker_testkit::{EskerArguments, EskerProcess};

use crate::balancer::Balancer;
use crate::load::lasting_port;
use crate::store::TestStore;

/// How many processes of each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterShape {
    /// With the role metadata: one leads.
    pub metadata: usize,
    /// With the role ingest.
    pub ingest: usize,
    /// With the role fetch.
    pub fetch: usize,
}

impl ClusterShape {
    /// What `make cluster` starts.
    pub const USUAL: Self = Self {
        metadata: 2,
        ingest: 3,
        fetch: 2,
    };
}

/// One process, and how to start it again at its addresses.
#[derive(Debug)]
pub struct ClusterMember {
    /// Such as `ingest-2`; also its directory below the store's.
    pub name: String,
    /// It.
    pub process: EskerProcess,
    arguments: EskerArguments,
}

impl ClusterMember {
    async fn start(name: String, arguments: EskerArguments) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&arguments.directory)?;
        let process = EskerProcess::start(&arguments).await?;
        Ok(Self {
            name,
            process,
            arguments,
        })
    }

    /// Starts it again, after a kill or an end; does not wait.
    ///
    /// # Errors
    /// No binary.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process = EskerProcess::spawn(&self.arguments)?;
        Ok(())
    }
}

/// A running cluster; its processes end with it.
#[derive(Debug)]
pub struct TestCluster {
    /// Leader and standbys.
    pub metadata: Vec<ClusterMember>,
    /// Node ids from 1.
    pub ingest: Vec<ClusterMember>,
    /// Node ids from 101.
    pub fetch: Vec<ClusterMember>,
    store: EskerArguments,
    addresses: String,
    balancer: Option<Balancer>,
}

impl TestCluster {
    /// The node id of the first fetch process.
    pub const FETCH_FROM: usize = 101;

    /// Starts all and waits until each is ready.
    ///
    /// # Errors
    /// One does not become ready.
    pub async fn start(store: &TestStore, shape: ClusterShape) -> anyhow::Result<Self> {
        Self::start_with(store, shape, &[]).await
    }

    /// The same with further arguments for every process.
    ///
    /// # Errors
    /// One does not become ready.
    pub async fn start_with(
        store: &TestStore,
        shape: ClusterShape,
        more: &[String],
    ) -> anyhow::Result<Self> {
        let mut arguments = store.arguments();
        arguments.more.extend(more.iter().cloned());
        Self::start_from(arguments, shape).await
    }

    /// The same behind a balancer, which is the one broker that clients are told of. Processes
    /// that come later are not behind it.
    ///
    /// # Errors
    /// One does not become ready.
    pub async fn start_single(
        store: &TestStore,
        shape: ClusterShape,
        more: &[String],
    ) -> anyhow::Result<Self> {
        let front = SocketAddr::from(([127, 0, 0, 1], lasting_port()?));
        let mut all = more.to_vec();
        let told = front.to_string();
        all.extend(["--clients-see", "single", "--advertise", &told].map(str::to_owned));
        let mut cluster = Self::start_with(store, shape, &all).await?;
        cluster.balancer = Some(Balancer::start(front, cluster.kafka()).await?);
        Ok(cluster)
    }

    /// The same; every process is started with `arguments` and those of its role.
    ///
    /// # Errors
    /// One does not become ready.
    pub async fn start_from(
        arguments: EskerArguments,
        shape: ClusterShape,
    ) -> anyhow::Result<Self> {
        let ports = (0..shape.metadata).map(|_| lasting_port());
        let ports = ports.collect::<anyhow::Result<Vec<u16>>>()?;
        let listens: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let mut cluster = Self {
            metadata: Vec::new(),
            ingest: Vec::new(),
            fetch: Vec::new(),
            store: arguments,
            addresses: listens.join(","),
            balancer: None,
        };
        for (at, listen) in listens.iter().enumerate() {
            let name = format!("metadata-{}", at + 1);
            let more = ["--role", "metadata", "--internal-listen", listen];
            let arguments = cluster.arguments(&name, &more)?;
            cluster
                .metadata
                .push(ClusterMember::start(name, arguments).await?);
        }
        for _ in 0..shape.ingest {
            cluster.add_ingest().await?;
        }
        for _ in 0..shape.fetch {
            let at = cluster.fetch.len();
            let name = format!("fetch-{}", at + 1);
            let member = cluster.member(name, "fetch", Self::FETCH_FROM + at).await?;
            cluster.fetch.push(member);
        }
        Ok(cluster)
    }

    /// One more ingest process.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn add_ingest(&mut self) -> anyhow::Result<()> {
        let node_id = self.ingest.len() + 1;
        let name = format!("ingest-{node_id}");
        let member = self.member(name, "ingest", node_id).await?;
        self.ingest.push(member);
        Ok(())
    }

    async fn member(
        &self,
        name: String,
        role: &str,
        node_id: usize,
    ) -> anyhow::Result<ClusterMember> {
        let node_id = node_id.to_string();
        let addresses = self.addresses.clone();
        let internal = format!("127.0.0.1:{}", lasting_port()?);
        let more = [
            "--role",
            role,
            "--metadata",
            &addresses,
            "--node-id",
            &node_id,
            "--internal-listen",
            &internal,
        ];
        let arguments = self.arguments(&name, &more)?;
        ClusterMember::start(name, arguments).await
    }

    fn arguments(&self, name: &str, more: &[&str]) -> anyhow::Result<EskerArguments> {
        let mut arguments = EskerArguments {
            directory: self.store.directory.join(name),
            kafka_port: Some(lasting_port()?),
            http_port: Some(lasting_port()?),
            ..self.store.clone()
        };
        arguments
            .more
            .extend(more.iter().map(|word| (*word).to_owned()));
        Ok(arguments)
    }

    /// Where clients of any kind may begin: the balancer, else a fetch process, so that nothing
    /// depends on the first one asked being the right one.
    #[must_use]
    pub fn bootstrap(&self) -> Option<SocketAddr> {
        if let Some(balancer) = &self.balancer {
            return Some(balancer.address);
        }
        let first = self.fetch.first().or(self.ingest.first());
        first.map(|member| member.process.kafka)
    }

    /// Where clients may connect: the balancer, else every process that takes them.
    #[must_use]
    pub fn entrances(&self) -> Vec<SocketAddr> {
        match &self.balancer {
            Some(balancer) => vec![balancer.address],
            None => self.kafka(),
        }
    }

    /// Every address that takes Kafka clients, ingest first.
    #[must_use]
    pub fn kafka(&self) -> Vec<SocketAddr> {
        let all = self.ingest.iter().chain(&self.fetch);
        all.map(|member| member.process.kafka).collect()
    }
}
