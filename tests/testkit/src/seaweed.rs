//! SeaweedFS as a child process: a real S3 store whose conditional writes hold under races.
//!
//! Never linked, never shipped; `.ci/bootstrap` unpacks the pinned binary. Loopback only, and its
//! usage reports are off.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use esker_env::Env;

use crate::{STORE_KEYS, StoreKeys, bootstrapped, create_bucket, free_port};

/// An identity that may read and list, and nothing more.
pub const SEAWEED_READER_KEYS: StoreKeys = StoreKeys {
    key_id: "eskerreader",
    secret: "eskerreadersecret",
};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STARTS_MAX: u32 = 3;
/// Servers whose ports are chosen: name of the flag before `.port`.
const SERVERS: [&str; 5] = ["master", "volume", "filer", "s3", "admin"];

/// A running SeaweedFS; killed on drop.
#[derive(Debug)]
pub struct SeaweedServer {
    child: Child,
    endpoint: String,
}

impl SeaweedServer {
    /// Starts the store with its data in `directory` and waits until it answers.
    ///
    /// # Errors
    /// No binary, or it did not come up: see `seaweed.log` in the directory.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let identities = directory.join("s3.json");
        std::fs::write(&identities, identities_json())?;
        Self::run(directory, &[format!("-s3.config={}", identities.display())]).await
    }

    /// The same, but it looks at no signature: for proxies that change signed headers.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_open(directory: &Path) -> anyhow::Result<Self> {
        Self::run(directory, &[]).await
    }

    /// It takes ten ports, chosen a moment before: one that ends because another program was
    /// faster is started again on others.
    async fn run(directory: &Path, access: &[String]) -> anyhow::Result<Self> {
        for _ in 1..STARTS_MAX {
            let mut server = Self::spawn(directory, access)?;
            match server.wait_until_ready().await {
                Ok(()) => return Ok(server),
                Err(_) if server.child.try_wait()?.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        let mut server = Self::spawn(directory, access)?;
        server.wait_until_ready().await?;
        Ok(server)
    }

    fn spawn(directory: &Path, access: &[String]) -> anyhow::Result<Self> {
        let log = std::fs::File::create(directory.join("seaweed.log"))?;
        let data = directory.join("data");
        std::fs::create_dir_all(&data)?;
        let mut command = Command::new(bootstrapped("bin/weed", "seaweed")?);
        command.args(["mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        let mut endpoint = String::new();
        for server in SERVERS {
            let port = free_port()?;
            command.arg(format!("-{server}.port={port}"));
            command.arg(format!("-{server}.port.grpc={}", free_port()?));
            if server == "s3" {
                endpoint = format!("http://127.0.0.1:{port}");
            }
        }
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false"]);
        command.args(["-admin.ui=false", "-master.telemetry=false"]);
        let child = command
            .arg(format!("-dir={}", data.display()))
            .args(access)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start SeaweedFS")?;
        Ok(Self { child, endpoint })
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let env = Env::system();
        let deadline = env.clock.now().after(READY_WITHIN);
        let url = format!("{}/healthz", self.endpoint);
        while env.clock.now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("SeaweedFS ended at once ({status}): see seaweed.log");
            }
            if reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            env.clock.sleep(Duration::from_millis(50)).await;
        }
        bail!("SeaweedFS is not ready after {READY_WITHIN:?}: see seaweed.log")
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Creates a bucket; one that exists is fine.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn create_bucket(&self, bucket: &str) -> anyhow::Result<()> {
        create_bucket(&self.endpoint, bucket, STORE_KEYS).await
    }
}

fn identities_json() -> String {
    let identity = |name: &str, keys: StoreKeys, actions: &[&str]| {
        serde_json::json!({
            "name": name,
            "credentials": [{ "accessKey": keys.key_id, "secretKey": keys.secret }],
            "actions": actions,
        })
    };
    let all = ["Admin", "Read", "List", "Tagging", "Write"];
    let identities = [
        identity("esker", STORE_KEYS, &all),
        identity("reader", SEAWEED_READER_KEYS, &["Read", "List"]),
    ];
    serde_json::json!({ "identities": identities }).to_string()
}

impl Drop for SeaweedServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
