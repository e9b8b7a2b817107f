//! The stores that every claim is tested on: a local directory, and MinIO and SeaweedFS behind S3.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use esker_env::Env;
use esker_object::{Bucket, LocalBucket, S3Bucket, S3Config};
use esker_testkit::{
    EskerArguments, EskerProcess, MinioServer, Place, Rule, STORE_KEYS, SeaweedServer, Shaper,
    ShaperConfig, ShaperHandle, create_bucket,
};
use tempfile::TempDir;

const BUCKET: &str = TestStore::BUCKET;

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A local directory.
    Directory,
    /// MinIO, over S3.
    Minio,
    /// SeaweedFS, over S3.
    Seaweed,
}

#[derive(Debug)]
enum Server {
    Directory,
    Minio(MinioServer),
    Seaweed(SeaweedServer),
}

impl Server {
    fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Directory => None,
            Self::Minio(server) => Some(server.endpoint()),
            Self::Seaweed(server) => Some(server.endpoint()),
        }
    }
}

/// A store that lives as long as this does, with a directory for logs and scratch files.
#[derive(Debug)]
pub struct TestStore {
    server: Server,
    directory: TempDir,
}

impl TestStore {
    /// The bucket on an S3 store.
    pub const BUCKET: &str = "esker-e2e";

    /// An empty store.
    ///
    /// # Errors
    /// The store's program is missing or does not come up.
    pub async fn start(kind: StoreKind) -> anyhow::Result<Self> {
        let directory = TempDir::with_prefix("esker-e2e-")?;
        let server = match kind {
            StoreKind::Directory => Server::Directory,
            StoreKind::Minio => Server::Minio(MinioServer::start(directory.path()).await?),
            StoreKind::Seaweed => Server::Seaweed(SeaweedServer::start(directory.path()).await?),
        };
        Self::with_bucket(server, directory).await
    }

    /// An empty MinIO where `place` says.
    ///
    /// # Errors
    /// MinIO is missing or does not come up.
    pub async fn start_minio_at(place: Place) -> anyhow::Result<Self> {
        let directory = TempDir::with_prefix("esker-e2e-")?;
        let minio = MinioServer::start_at(directory.path(), place).await?;
        Self::with_bucket(Server::Minio(minio), directory).await
    }

    /// SeaweedFS that looks at no signature: for a shaper that changes signed headers.
    ///
    /// # Errors
    /// SeaweedFS is missing or does not come up.
    pub async fn start_open() -> anyhow::Result<Self> {
        let directory = TempDir::with_prefix("esker-e2e-")?;
        let seaweed = SeaweedServer::start_open(directory.path()).await?;
        Self::with_bucket(Server::Seaweed(seaweed), directory).await
    }

    async fn with_bucket(server: Server, directory: TempDir) -> anyhow::Result<Self> {
        if let Some(endpoint) = server.endpoint() {
            create_bucket(endpoint, BUCKET, STORE_KEYS).await?;
        }
        Ok(Self { server, directory })
    }

    /// For logs and scratch files.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The endpoint of the S3 store.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.server.endpoint()
    }

    /// The bucket as Esker sees it. A directory must not be in use, and is held until this is
    /// dropped.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn bucket(&self) -> anyhow::Result<Arc<dyn Bucket>> {
        if self.endpoint().is_none() {
            let path = self.path().join("bucket");
            return Ok(Arc::new(LocalBucket::open(path).await?));
        }
        Ok(Arc::new(self.s3_bucket("esker").await?))
    }

    /// A part of the S3 bucket that no Esker looks at.
    ///
    /// # Errors
    /// The store is a directory, or the client cannot be made.
    pub async fn scratch_bucket(&self) -> anyhow::Result<S3Bucket> {
        self.s3_bucket("scratch").await
    }

    async fn s3_bucket(&self, prefix: &str) -> anyhow::Result<S3Bucket> {
        let endpoint = self.endpoint().context("a directory has one owner")?;
        let config = S3Config {
            bucket: BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: Some(endpoint.to_owned()),
            access_key_id: Some(STORE_KEYS.key_id.to_owned()),
            secret_access_key: Some(STORE_KEYS.secret.to_owned()),
            ..S3Config::default()
        };
        Ok(S3Bucket::open(config, Env::system()).await?)
    }

    /// The store's process, where it is one that can be measured.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        match &self.server {
            Server::Minio(server) => Some(server.pid()),
            Server::Directory | Server::Seaweed(_) => None,
        }
    }

    /// MinIO itself, to kill and to restart.
    ///
    /// # Errors
    /// The store is another one.
    pub fn minio(&mut self) -> anyhow::Result<&mut MinioServer> {
        match &mut self.server {
            Server::Minio(server) => Ok(server),
            Server::Directory | Server::Seaweed(_) => anyhow::bail!("the store is not MinIO"),
        }
    }

    /// `--store`.
    #[must_use]
    pub fn url(&self) -> String {
        match self.endpoint() {
            Some(_) => format!("s3://{BUCKET}/esker"),
            None => format!("file://{}", self.path().join("bucket").display()),
        }
    }

    /// Further arguments of `esker serve`, for a store behind `endpoint`.
    #[must_use]
    pub fn s3_arguments(endpoint: &str) -> Vec<String> {
        let pairs = [
            ("--s3-endpoint", endpoint),
            ("--s3-region", "us-east-1"),
            ("--s3-access-key-id", STORE_KEYS.key_id),
            ("--s3-secret-access-key", STORE_KEYS.secret),
        ];
        let words = pairs.iter().flat_map(|(name, value)| [*name, *value]);
        words.map(str::to_owned).collect()
    }

    /// How to start Esker on this store.
    #[must_use]
    pub fn arguments(&self) -> EskerArguments {
        let mut arguments = EskerArguments::new(self.path(), &self.url());
        if let Some(endpoint) = self.endpoint() {
            arguments.more = Self::s3_arguments(endpoint);
        }
        arguments
    }

    /// How to start Esker on this store behind a shaper.
    #[must_use]
    pub fn arguments_through(&self, shaper: &ShaperHandle) -> EskerArguments {
        let mut arguments = EskerArguments::new(self.path(), &self.url());
        arguments.more = Self::s3_arguments(&shaper.endpoint());
        arguments
    }

    /// Starts Esker and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn esker(&self) -> anyhow::Result<EskerProcess> {
        EskerProcess::start(&self.arguments()).await
    }

    /// A shaper in front of the S3 store.
    ///
    /// # Errors
    /// The store is a directory.
    pub async fn shaper(&self, rules: Vec<Rule>) -> anyhow::Result<ShaperHandle> {
        self.seeded_shaper(1, rules).await
    }

    /// The same; its random decisions come from `seed`.
    ///
    /// # Errors
    /// The store is a directory.
    pub async fn seeded_shaper(&self, seed: u64, rules: Vec<Rule>) -> anyhow::Result<ShaperHandle> {
        let endpoint = self.endpoint().context("only S3 can be shaped")?;
        let address = endpoint.trim_start_matches("http://");
        let upstream: SocketAddr = address.parse().context("address of the store")?;
        let config = ShaperConfig {
            rules,
            seed,
            ..ShaperConfig::before(upstream)
        };
        Shaper::start(config).await
    }
}
