//! Commands and what they printed, with what differs from run to run masked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use esker_e2e::{Program, Ran, check_golden, esker};

const ID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

/// A session at a prompt.
#[derive(Debug)]
pub(crate) struct Transcript {
    kafka: String,
    text: String,
}

/// Where a kept text lies.
pub(crate) fn golden(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden");
    directory.join(name)
}

/// The binary, without colours or progress of the machine's environment.
pub(crate) fn plain_esker() -> anyhow::Result<Program> {
    Ok(esker()?.variable("NO_COLOR", "").variable("CI", ""))
}

impl Transcript {
    pub(crate) fn with(kafka: SocketAddr) -> Self {
        Self {
            kafka: kafka.to_string(),
            text: String::new(),
        }
    }

    /// Runs a line of words; what it printed is added, its exit code if it is not 0.
    pub(crate) async fn run(&mut self, line: &str) -> anyhow::Result<Ran> {
        self.feed(line, "").await
    }

    /// The same with an input.
    pub(crate) async fn feed(&mut self, line: &str, input: &str) -> anyhow::Result<Ran> {
        let program = plain_esker()?.variable("ESKER_BOOTSTRAP", &self.kafka);
        let ran = program.args(line.split(' ')).stdin(input).run().await?;
        self.text.push_str(&format!("$ esker {line}\n"));
        for printed in [ran.out(), ran.err()] {
            self.text.push_str(&self.masked(&printed));
        }
        if ran.status.code() != Some(0) {
            let code = ran.status.code();
            let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
            self.text.push_str(&format!("[exit {code}]\n"));
        }
        self.text.push('\n');
        Ok(ran)
    }

    fn masked(&self, printed: &str) -> String {
        let mut text = String::new();
        for line in printed.lines() {
            // How long it took is another thing every time.
            let is_timed = line.starts_with("acknowledged ");
            let line = match line.split_once(" in ") {
                Some((line, _)) if is_timed => line,
                Some(_) | None => line,
            };
            let line = line.replace(&self.kafka, "KAFKA");
            text.push_str(&without_times(&without_ids(&line)));
            text.push('\n');
        }
        text
    }

    /// Compares everything so far with the kept text of that name.
    pub(crate) fn is_as_kept(&self, name: &str) -> anyhow::Result<()> {
        check_golden(&golden(name), &self.text)
    }
}

/// Ids of topics, which stand as UUIDs, become one of the same length.
fn without_ids(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let head = rest.get(..ID.len());
        if head.is_some_and(is_id) {
            text.push_str(ID);
            rest = rest.get(ID.len()..).unwrap_or_default();
        } else {
            text.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    text
}

fn is_id(text: &str) -> bool {
    let mut letters = text.chars().zip(ID.chars());
    letters.all(|(letter, wanted)| match wanted {
        '-' => letter == '-',
        _ => letter.is_ascii_hexdigit(),
    })
}

/// Milliseconds of this decade become one number of as many digits.
fn without_times(line: &str) -> String {
    let mut text = String::new();
    let mut digits = String::new();
    for letter in line.chars().chain(['\n']) {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let is_time = digits.len() == 13 && digits.starts_with("17");
        text.push_str(if is_time { "1700000000000" } else { &digits });
        digits.clear();
        text.push(letter);
    }
    text.trim_end_matches('\n').to_owned()
}

#[test]
fn ids_and_times_are_masked_and_nothing_else() {
    let line = "t 01234567-89ab-cdef-0123-456789abcdef 1795699578243 123 é";

    let masked = without_times(&without_ids(line));

    assert_eq!(masked, format!("t {ID} 1700000000000 123 é"));
}
