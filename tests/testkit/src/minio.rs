//! MinIO as a child process: the real store of the end-to-end tests. Never linked, never shipped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use esker_env::Env;

use crate::{StoreKeys, create_bucket, free_port};

/// MinIO's own defaults.
pub const MINIO_KEYS: StoreKeys = StoreKeys {
    key_id: "minioadmin",
    secret: "minioadmin",
};
const READY_WITHIN: Duration = Duration::from_secs(30);

/// There is no MinIO binary: a test says so and is skipped.
#[derive(Debug)]
pub struct MinioMissing {
    /// Where it was looked for.
    pub path: PathBuf,
}

impl std::fmt::Display for MinioMissing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        write!(f, "no MinIO binary at {path}: set ESKER_MINIO, or build it")
    }
}

impl std::error::Error for MinioMissing {}

/// A running MinIO on a free loopback port; killed on drop.
#[derive(Debug)]
pub struct MinioServer {
    child: Child,
    endpoint: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told about binaries by the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn binary() -> Result<PathBuf, MinioMissing> {
    let path = variable("ESKER_MINIO").map_or_else(
        || {
            let home = variable("HOME").unwrap_or_default();
            Path::new(&home).join(".cache/esker/bin/minio")
        },
        PathBuf::from,
    );
    if path.is_file() {
        Ok(path)
    } else {
        Err(MinioMissing { path })
    }
}

impl MinioServer {
    /// Starts MinIO with its data in `directory` and waits until it answers.
    ///
    /// # Errors
    /// [`MinioMissing`] (downcast it, print it and skip the test), or it did not come up.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let binary = binary()?;
        let (port, console) = (free_port()?, free_port()?);
        let log = std::fs::File::create(directory.join("minio.log"))?;
        let data = directory.join("data");
        std::fs::create_dir_all(&data)?;
        let child = Command::new(binary)
            .args(["server", "--address", &format!("127.0.0.1:{port}")])
            .args(["--console-address", &format!("127.0.0.1:{console}")])
            .arg(&data)
            .env("MINIO_ROOT_USER", MINIO_KEYS.key_id)
            .env("MINIO_ROOT_PASSWORD", MINIO_KEYS.secret)
            .env("MINIO_BROWSER", "off")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start MinIO")?;
        let mut server = Self {
            child,
            endpoint: format!("http://127.0.0.1:{port}"),
        };
        server.wait_until_ready().await?;
        Ok(server)
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

    /// Creates a bucket; one that exists is fine.
    ///
    /// # Errors
    /// MinIO refuses.
    pub async fn create_bucket(&self, bucket: &str) -> anyhow::Result<()> {
        create_bucket(&self.endpoint, bucket, MINIO_KEYS).await
    }
}

impl Drop for MinioServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
