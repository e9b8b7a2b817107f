//! Flags, variables and files with mistakes: exit code 2, the setting, its origin, what is wanted.

use anyhow::ensure;
use esker_e2e::{esker, proved};
use tempfile::TempDir;

use crate::refusals::{Refusal, serve};

#[tokio::test]
async fn a_wrong_flag_or_file_is_refused_by_name() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text)?;
        anyhow::Ok(path.display().to_string())
    };
    let unknown = file("unknown.toml", "linger = 5\n")?;
    let broken = file("broken.toml", "linger-ms =\n")?;
    let missing = directory.path().join("missing.toml").display().to_string();

    let flag = Refusal::of(serve(&["--no-such-flag"])?).await?;
    let unknown_key = Refusal::of(serve(&["--config", &unknown])?).await?;
    let no_toml = Refusal::of(serve(&["--config", &broken])?).await?;
    let no_file = Refusal::of(serve(&["--config", &missing])?).await?;
    let command = Refusal::of(esker()?.args(["serv"])).await?;

    flag.corrects(&["--no-such-flag", "--help"])?;
    unknown_key.corrects(&["linger", "unknown.toml", "esker serve --help"])?;
    no_toml.corrects(&["broken.toml", "TOML", "line 1"])?;
    no_file.corrects(&["missing.toml", "No such file"])?;
    command.corrects(&["serv", "serve"])?;
    proved("unknown flag, command and setting, broken and missing file: exit 2, told by name");
    Ok(())
}

#[tokio::test]
async fn every_wrong_value_is_told_at_once_with_its_origin() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path().join("esker.toml");
    std::fs::write(&path, "linger-ms = \"soon\"\nsegments-in-flight = 65\n")?;
    let path = path.display().to_string();
    let words = [
        "--config",
        &path,
        "--kafka-listen",
        "nowhere",
        "--store",
        "ftp://x",
    ];
    let program = serve(&words)?.variable("ESKER_SEGMENT_BYTES", "12");

    let refusal = Refusal::of(program).await?;
    let program = esker()?.args(["config", "show", "--config", &path, "--node-id", "7"]);
    let told = program
        .variable("ESKER_CACHE_BYTES", "33554432")
        .run()
        .await?;

    refusal.corrects(&[
        "kafka-listen = \"nowhere\" (from flag)",
        "store = \"ftp://x\" (from flag)",
        "linger-ms = \"soon\" (from file ",
        "segments-in-flight = \"65\" (from file ",
        "segment-bytes = \"12\" (from environment variable ESKER_SEGMENT_BYTES)",
        "such as 127.0.0.1:9092",
        "1 to 64",
        "65536 to 8388608",
    ])?;
    let (out, err) = (told.out(), told.err());
    let row = |words: &[&str]| {
        out.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    };
    ensure!(told.status.code() == Some(2), "{}", told.tell());
    ensure!(row(&["node-id", "7", "flag"]), "{}", told.tell());
    ensure!(
        row(&["cache-bytes", "33554432", "ESKER_CACHE_BYTES"]),
        "{}",
        told.tell()
    );
    ensure!(
        row(&["http-listen", "127.0.0.1:8080", "default"]),
        "{}",
        told.tell()
    );
    ensure!(err.contains("linger-ms"), "{}", told.tell());
    proved("five wrong values in flags, a variable and a file are told at once, with origins");
    Ok(())
}
