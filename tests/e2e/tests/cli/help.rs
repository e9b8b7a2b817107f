//! Help of every command, and completion of shells.

use anyhow::{Context as _, ensure};
use esker_e2e::{Program, check_golden, proved};
use tempfile::TempDir;

use crate::transcript::{golden, plain_esker};

const COMMANDS: [&str; 30] = [
    "",
    "serve",
    "doctor",
    "verify",
    "rebuild",
    "completion",
    "topic",
    "topic create",
    "topic list",
    "topic describe",
    "topic delete",
    "produce",
    "consume",
    "group",
    "group list",
    "group describe",
    "group delete",
    "offsets",
    "offsets topic",
    "offsets group",
    "offsets reset",
    "offsets delete",
    "config",
    "config show",
    "config describe",
    "config describe topic",
    "config describe broker",
    "config alter",
    "config alter topic",
    "bench",
];

#[tokio::test]
async fn help_of_every_command_is_as_kept() -> anyhow::Result<()> {
    let mut differing = Vec::new();
    for command in COMMANDS {
        let words = command.split(' ').filter(|word| !word.is_empty());
        let ran = plain_esker()?
            .args(words)
            .args(["--help"])
            .succeed()
            .await?;
        ensure!(ran.err().is_empty(), "{}", ran.tell());
        let name = match command {
            "" => "esker".to_owned(),
            command => command.replace(' ', "-"),
        };
        let kept = check_golden(&golden(&format!("help/{name}.txt")), &ran.out());
        differing.extend(kept.err());
    }

    ensure!(differing.is_empty(), "{differing:?}");
    proved(&format!("help of {} commands is as kept", COMMANDS.len()));
    Ok(())
}

#[tokio::test]
async fn shells_complete_commands_and_flags() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let script = |shell: &'static str| async move {
        let ran = plain_esker()?.args(["completion", shell]).succeed().await?;
        anyhow::Ok(ran.out())
    };
    let path = directory.path().join("esker.bash");
    std::fs::write(&path, script("bash").await?)?;
    // What bash does when a person presses the tabulator behind these words.
    let ask = |words: &str, word: &str| {
        let place = words.split(' ').count();
        format!(
            "source {}; COMP_WORDS=({words} {word}); COMP_CWORD={place}; \
             _esker esker '{word}' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            path.display()
        )
    };
    let completed = async |words: &str, word: &str| {
        let ran = Program::new("bash")
            .args(["-c", &ask(words, word)])
            .succeed()
            .await?;
        anyhow::Ok(ran.out())
    };

    let commands = completed("esker", "").await?;
    let flags = completed("esker consume", "--f").await?;
    let (zsh, fish) = (script("zsh").await?, script("fish").await?);
    let unknown = plain_esker()?.args(["completion", "csh"]).run().await?;

    for command in [
        "topic", "produce", "consume", "group", "offsets", "doctor", "bench",
    ] {
        ensure!(commands.lines().any(|line| line == command), "{commands}");
    }
    for flag in ["--from", "--follow", "--format"] {
        ensure!(flags.lines().any(|line| line == flag), "{flags}");
    }
    ensure!(zsh.starts_with("#compdef esker"), "zsh");
    ensure!(fish.contains("complete -c esker"), "fish");
    let code = unknown.status.code().context("it was killed")?;
    ensure!(code == 2, "{}", unknown.tell());
    proved("bash completes commands and flags; zsh and fish get their scripts");
    Ok(())
}
