//! MinIO as a child process: the S3 store that most tests run on.
//!
//! AGPL: never linked, never shipped; `.ci/bootstrap` builds the pinned source. Loopback only, and
//! its update check is off.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use esker_env::Env;

use crate::{Place, STORE_KEYS, bootstrapped, create_bucket, free_port};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running MinIO; killed on drop.
#[derive(Debug)]
pub struct MinioServer {
    child: Child,
    endpoint: String,
    directory: PathBuf,
    place: Place,
}

impl MinioServer {
    /// Starts the store with its data in `directory` and waits until it answers.
    ///
    /// # Errors
    /// No binary, or it did not come up: see `minio.log` in the directory.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        Self::start_at(directory, Place::default()).await
    }

    /// The same where `place` says.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_at(directory: &Path, place: Place) -> anyhow::Result<Self> {
        let address = format!("{}:{}", place.address, free_port()?);
        let mut server = Self {
            child: Self::spawn(directory, &address, &place)?,
            endpoint: format!("http://{address}"),
            directory: directory.to_owned(),
            place,
        };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// `kill -9`, also in the middle of a write; [`Self::restart`] brings it back.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again on its data and its port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let address = self.endpoint.trim_start_matches("http://");
        self.child = Self::spawn(&self.directory, address, &self.place)?;
        self.wait_until_ready().await
    }

    fn spawn(directory: &Path, address: &str, place: &Place) -> anyhow::Result<Child> {
        let log = directory.join("minio.log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)?;
        let data = directory.join("minio");
        std::fs::create_dir_all(&data)?;
        let program = bootstrapped("bin/minio", "minio")?;
        let mut command = match place.wrapper.split_first() {
            None => Command::new(program),
            Some((wrapper, its)) => {
                let mut command = Command::new(wrapper);
                command.args(its).arg(program);
                command
            }
        };
        command
            .args(["server", "--address", address])
            .args(["--console-address", &format!("127.0.0.1:{}", free_port()?)])
            .arg(&data)
            .env("MINIO_ROOT_USER", STORE_KEYS.key_id)
            .env("MINIO_ROOT_PASSWORD", STORE_KEYS.secret)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            // Its data may lie on the disk of the system.
            .env("MINIO_CI_CD", "1")
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start MinIO")
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let env = Env::system();
        let deadline = env.clock.now().after(READY_WITHIN);
        let url = format!("{}/minio/health/ready", self.endpoint);
        while env.clock.now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("MinIO ended at once ({status}): see minio.log");
            }
            if reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            env.clock.sleep(Duration::from_millis(50)).await;
        }
        bail!("MinIO is not ready after {READY_WITHIN:?}: see minio.log")
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its process: what is measured when the cost of a store is.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Creates a bucket; one that exists is fine.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn create_bucket(&self, bucket: &str) -> anyhow::Result<()> {
        create_bucket(&self.endpoint, bucket, STORE_KEYS).await
    }
}

impl Drop for MinioServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
