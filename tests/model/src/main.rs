//! `esker-model`: searches every small scenario, then shows every planted bug; `esker-model large`
//! searches larger ones, for minutes and with gigabytes. Exit code 1 when a rule is broken or a bug
//! stays hidden.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use esker_model::Bounds;

/// Searches the models of the commit protocol and of the journal.
#[derive(Debug, Parser)]
#[command(name = "esker-model")]
struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Larger bounds, without planted bugs.
    Large {
        /// Only the scenarios of these names.
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    let mut good = true;
    // A reader that goes away does not end the search.
    let mut tell = |row: &str| {
        let _ = writeln!(std::io::stdout(), "{row}");
    };
    match Arguments::parse().action {
        None => {
            good &= esker_model::search_clean(Bounds::Small, &[], &mut tell);
            good &= esker_model::search_planted(&mut tell);
        }
        Some(Action::Large { names }) => {
            good &= esker_model::search_clean(Bounds::Large, &names, &mut tell);
        }
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
