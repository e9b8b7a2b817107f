//! `esker-history check FILE...`: 0 without anomaly, 1 with one, 2 when a file is no history.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks histories of client operations.
#[derive(Debug, Parser)]
#[command(name = "esker-history")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what is wrong with histories. Exit code: 0 nothing, 1 an anomaly, 2 unreadable.
    Check {
        /// The histories, one JSON object a line.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// One JSON object a file instead of text.
        #[arg(long)]
        json: bool,
    },
    /// List the anomalies and what each one breaks.
    Kinds,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    let outcome = match arguments.action {
        Action::Check { files, json } => check(&files, json, &mut out),
        Action::Kinds => kinds(&mut out).map(|()| 0),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Standard output is gone: nobody would hear more.
            let _ = writeln!(std::io::stderr(), "esker-history: {error}");
            ExitCode::from(2)
        }
    }
}

fn kinds(out: &mut impl std::io::Write) -> std::io::Result<()> {
    for kind in esker_history::Kind::ALL {
        writeln!(out, "{kind}\t{}\t{}", kind.breaks(), kind.meaning())?;
    }
    Ok(())
}

fn check(files: &[PathBuf], json: bool, out: &mut impl std::io::Write) -> std::io::Result<u8> {
    let mut code = 0;
    for file in files {
        match esker_history::check_file(file) {
            Ok(report) => {
                code = code.max(u8::from(!report.clean));
                if json {
                    let report = serde_json::json!({ "file": file, "report": report });
                    writeln!(out, "{report}")?;
                } else {
                    write!(out, "{}: {report}", file.display())?;
                }
            }
            Err(error) => {
                code = 2;
                let cause = std::error::Error::source(&error);
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                if json {
                    let error = format!("{error}{cause}");
                    writeln!(
                        out,
                        "{}",
                        serde_json::json!({ "file": file, "error": error })
                    )?;
                } else {
                    writeln!(out, "{}: {error}{cause}", file.display())?;
                }
            }
        }
    }
    Ok(code)
}
