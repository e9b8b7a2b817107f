//! Colours and progress: on a terminal only, and pipes stay clean.

use anyhow::ensure;
use esker_e2e::{Program, StoreKind, TestStore, proved};

use crate::transcript::plain_esker;

/// Runs a shell line with a terminal of its own; what the terminal got.
async fn on_terminal(line: &str, no_color: &str) -> anyhow::Result<String> {
    let program = Program::new("script").args(["-qec", line, "/dev/null"]);
    let program = program.variable("NO_COLOR", no_color).variable("CI", "");
    Ok(program.variable("TERM", "xterm").succeed().await?.out())
}

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let binary = esker_testkit::esker_binary()?;
    let line = format!(
        "{} topic list --bootstrap {}",
        binary.display(),
        esker.kafka
    );
    let words = line.split(' ').skip(1);

    let coloured = on_terminal(&line, "").await?;
    let without = on_terminal(&line, "1").await?;
    let flag = on_terminal(&format!("{line} --no-color"), "").await?;
    let piped = plain_esker()?.args(words).succeed().await?;
    let failing = format!("{line} --bootstrap 127.0.0.1:1; true");
    let error = on_terminal(
        &failing.replacen(&format!("--bootstrap {}", esker.kafka), "", 1),
        "",
    )
    .await?;

    ensure!(coloured.contains("\u{1b}[1mNAME"), "{coloured:?}");
    ensure!(!without.contains('\u{1b}'), "{without:?}");
    ensure!(!flag.contains('\u{1b}'), "{flag:?}");
    ensure!(!piped.out().contains('\u{1b}'), "{}", piped.tell());
    ensure!(error.contains("\u{1b}[31mesker: cannot"), "{error:?}");
    proved("headings and errors are coloured on a terminal, not in a pipe, not with NO_COLOR");
    Ok(())
}

#[tokio::test]
async fn progress_is_for_terminals_and_pipes_stay_clean() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let binary = esker_testkit::esker_binary()?;
    let arguments = "bench produce --rate 200 --duration 2 --warmup 0 -o json";
    let line = format!(
        "{} {arguments} --bootstrap {}",
        binary.display(),
        esker.kafka
    );
    let words = line.split(' ').skip(1);

    let bar = on_terminal(&format!("{line} > /dev/null"), "").await?;
    let no_bar = on_terminal(&format!("{line} --no-progress > /dev/null"), "").await?;
    let no_color = on_terminal(&format!("{line} > /dev/null"), "1").await?;
    let piped = plain_esker()?.args(words).succeed().await?;

    ensure!(bar.contains("/s") && bar.contains("left"), "{bar:?}");
    ensure!(no_bar.is_empty(), "{no_bar:?}");
    ensure!(no_color.is_empty(), "{no_color:?}");
    ensure!(piped.err().is_empty(), "{}", piped.tell());
    serde_json::from_slice::<serde_json::Value>(&piped.stdout)?;
    proved("a bar with rate and remaining time on a terminal; in a pipe JSON and nothing else");
    Ok(())
}
