//! `make quickstart`: the script that a newcomer runs first.

use std::path::Path;

use anyhow::ensure;
use esker_e2e::{Program, proved};
use esker_testkit::{esker_binary, free_port};
use tempfile::TempDir;

struct Quickstart {
    directory: TempDir,
    kafka: String,
    http: String,
}

impl Quickstart {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            directory: TempDir::with_prefix("esker-quickstart-")?,
            kafka: format!("127.0.0.1:{}", free_port()?),
            http: format!("127.0.0.1:{}", free_port()?),
        })
    }

    fn program(&self) -> anyhow::Result<Program> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("quickstart.sh");
        let program = Program::new(script).args([esker_binary()?]);
        let program = program.directory(self.directory.path());
        let program = program.variable("ESKER_KAFKA_LISTEN", &self.kafka);
        let program = program.variable("ESKER_HTTP_LISTEN", &self.http);
        Ok(program.variable("ESKER_QUICKSTART_EXIT", "1"))
    }
}

#[tokio::test]
async fn the_script_shows_a_record_consumed_and_keeps_the_data() -> anyhow::Result<()> {
    let quickstart = Quickstart::new()?;

    let first = quickstart.program()?.succeed().await?;
    let again = quickstart.program()?.succeed().await?;

    for (offset, ran) in [(0, &first), (3, &again)] {
        for (place, record) in ["key en  value hello", "key fr  value bonjour"]
            .iter()
            .enumerate()
        {
            let line = format!("offset {}  {record}", offset + place);
            ensure!(
                ran.out().contains(&line),
                "{line:?} is missing:\n{}",
                ran.tell()
            );
        }
        for word in [
            &quickstart.kafka,
            &quickstart.http,
            "kcat",
            "curl",
            "Stopped",
        ] {
            ensure!(
                ran.out().contains(word),
                "{word:?} is missing:\n{}",
                ran.tell()
            );
        }
        let said = ran.err();
        let is_warned = ["WARN", "ERROR", "esker:"]
            .iter()
            .any(|word| said.contains(word));
        ensure!(
            !is_warned,
            "a healthy start warns:
{}",
            ran.tell()
        );
    }
    proved("quickstart.sh: serves, produces, consumes, says how to go on; a second run goes on");
    Ok(())
}

#[tokio::test]
async fn the_script_says_which_port_is_taken_and_what_to_do() -> anyhow::Result<()> {
    let quickstart = Quickstart::new()?;
    let _taken = std::net::TcpListener::bind(&quickstart.kafka)?;

    let ran = quickstart.program()?.run().await?;

    let wanted = format!("{} is taken", quickstart.kafka);
    ensure!(ran.status.code() == Some(1), "{}", ran.tell());
    ensure!(ran.err().contains(&wanted), "{}", ran.tell());
    ensure!(ran.err().contains("ESKER_KAFKA_LISTEN="), "{}", ran.tell());
    proved("quickstart.sh: a taken port is named, with the variable that chooses another");
    Ok(())
}
