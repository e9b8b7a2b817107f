//! `s2 lite`, the open server of S2 on SlateDB: a peer whose only state is a bucket, over its own
//! API and with its own load (`s2 bench`). It listens on every address of the machine, so it is
//! started only where there is none but loopback: `make bench` runs in a network of its own.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use esker_e2e::{Program, TestStore};
use esker_testkit::{STORE_KEYS, bootstrapped, free_port};

/// The basin of every run; a basin holds streams as a cluster holds topics.
const BASIN: &str = "esker-bench";
/// On top of the seconds that are measured: it reads everything once more.
const SLACK: Duration = Duration::from_secs(120);

/// A running server; killed on drop.
#[derive(Debug)]
pub(crate) struct S2Lite {
    child: Child,
    endpoint: String,
    home: std::path::PathBuf,
}

/// What `s2 bench` told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) mib_per_s: f64,
    /// p50 and p99 in milliseconds, from submission.
    pub(crate) ack_ms: (f64, f64),
    pub(crate) received_ms: (f64, f64),
}

impl S2Lite {
    /// Starts it on the store's bucket without waiting for it.
    pub(crate) fn spawn(store: &TestStore) -> anyhow::Result<Self> {
        only_loopback(&std::fs::read_to_string("/proc/net/dev")?)?;
        let endpoint = store.endpoint().context("s2 lite wants an S3 store")?;
        let port = free_port()?;
        let log = std::fs::File::create(store.path().join("s2.log"))?;
        let child = Command::new(bootstrapped("bin/s2", "s2")?)
            .args(["lite", "--bucket", TestStore::BUCKET, "--path", "s2"])
            .args(["--port", &port.to_string(), "--no-dashboard"])
            .env("AWS_ENDPOINT_URL_S3", endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", STORE_KEYS.key_id)
            .env("AWS_SECRET_ACCESS_KEY", STORE_KEYS.secret)
            .env("AWS_ALLOW_HTTP", "true")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start s2 lite")?;
        Ok(Self {
            child,
            endpoint: format!("http://127.0.0.1:{port}"),
            home: store.path().to_owned(),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        let address = self.endpoint.trim_start_matches("http://");
        address.parse().context("its address")
    }

    fn client(&self) -> anyhow::Result<Program> {
        Ok(Program::new(bootstrapped("bin/s2", "s2")?)
            .variable("S2_ACCOUNT_ENDPOINT", &self.endpoint)
            .variable("S2_BASIN_ENDPOINT", &self.endpoint)
            .variable("S2_ACCESS_TOKEN", "ignored")
            .variable("HOME", &self.home)
            .variable("NO_COLOR", "1"))
    }

    /// Creates the basin and a stream and writes one record; fails while it is not up.
    pub(crate) async fn first_record(&self) -> anyhow::Result<()> {
        let basin = self.client()?.args(["create-basin", BASIN]);
        let made = basin.args(["--create-stream-on-append"]).run().await?;
        ensure!(
            made.status.success() || made.err().contains("already exists"),
            "{}",
            made.tell()
        );
        let stream = format!("s2://{BASIN}/first");
        let append = self.client()?.args(["append", &stream]).stdin("first\n");
        append.succeed().await?;
        Ok(())
    }

    /// Its own load: one stream, one writer, one live reader, then all is read again and compared.
    pub(crate) async fn bench(&self, mib_per_s: u64, seconds: u64) -> anyhow::Result<Told> {
        let limit = Duration::from_secs(seconds).saturating_add(SLACK);
        let basin = format!("s2://{BASIN}");
        let ran = self
            .client()?
            .args(["bench", &basin, "--record-size", "1024"])
            .args(["--target-mibps", &mib_per_s.to_string()])
            .args([
                "--duration",
                &format!("{seconds}s"),
                "--catchup-delay",
                "0s",
            ])
            .limit(limit)
            .succeed()
            .await?;
        read(&ran.err())
    }
}

impl Drop for S2Lite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `devices` as `/proc/net/dev` lists them.
fn only_loopback(devices: &str) -> anyhow::Result<()> {
    for line in devices.lines().skip(2) {
        let name = line.split(':').next().unwrap_or_default().trim();
        if name != "lo" && !name.is_empty() {
            bail!("s2 lite listens everywhere, and there is {name}: run `unshare --net` first");
        }
    }
    Ok(())
}

/// The figures in what it prints: a line `Write: 9.98 MiB/s, …`, then two tables side by side or
/// one below the other, of rows such as `p99    :    12.3ms`.
fn read(told: &str) -> anyhow::Result<Told> {
    let plain = without_colours(told);
    let write = plain
        .lines()
        .find_map(|line| line.trim().strip_prefix("Write: "))
        .context("no line `Write:`")?;
    let rate = write.split(" MiB/s").next().unwrap_or_default();
    let pair = |row: &str| -> anyhow::Result<(f64, f64)> {
        let mut found = quantiles(&plain, row);
        let ack = found.next().context("no latency of acknowledgements")?;
        let received = found.next().context("no latency of readers")?;
        Ok((milliseconds(ack)?, milliseconds(received)?))
    };
    let (p50, p99) = (pair("p50")?, pair("p99")?);
    Ok(Told {
        mib_per_s: rate.trim().parse()?,
        ack_ms: (p50.0, p99.0),
        received_ms: (p50.1, p99.1),
    })
}

fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut pieces = text.split("\u{1b}[");
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

/// The values of a row, in reading order.
fn quantiles<'a>(plain: &'a str, row: &'a str) -> impl Iterator<Item = &'a str> {
    let words: Vec<&str> = plain.split_whitespace().collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let next = |ahead: usize| words.get(at + ahead).copied();
        if *word == row && next(1) == Some(":") {
            found.extend(next(2));
        } else if word.strip_suffix(':') == Some(row) {
            found.extend(next(1));
        }
    }
    found.into_iter()
}

fn milliseconds(value: &str) -> anyhow::Result<f64> {
    for (unit, factor) in [("ns", 1e-6), ("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = value.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("{value} is no time")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "\u{1b}[1;34mWrite\u{1b}[0m: 9.98 MiB/s, 10219 records/s (1 bytes, 2 \
        records in 3.00s)\nRead: 9.98 MiB/s, 1 records/s (1 bytes, 2 records in 3.00s)\n\n\
        Ack Latency Statistics (n=5)      End-to-End Latency Statistics (n=5)\n\
        min    :    1.00ms    min    :    2.00ms\n\
        p50    :   52.20ms    p50    :   60.00ms\n\
        p99    :     1.20s    p99    :  900.0us\n";

    #[test]
    fn its_figures_are_read() {
        let told = read(TABLES).unwrap();

        assert!((told.mib_per_s - 9.98).abs() < 1e-9);
        assert_eq!(told.ack_ms.0.to_bits(), 52.2f64.to_bits());
        assert!((told.ack_ms.1 - 1200.0).abs() < 1e-6);
        assert!((told.received_ms.1 - 0.9).abs() < 1e-9);
        assert!(read("nothing").is_err());
    }

    #[test]
    fn it_is_not_started_beside_a_network() {
        let lo = "Inter-|\n face |\n    lo: 0 0\n";

        assert!(only_loopback(lo).is_ok());
        let error = only_loopback(&format!("{lo}  eth0: 0 0\n")).unwrap_err();
        assert!(error.to_string().contains("eth0"));
    }
}
