//! `esker verify`: is everything in the bucket that must be, and is it what was written?

use clap::Args;
use esker_audit::{Depth, audit};
use esker_env::Env;

use super::bar::Bar;
use super::report::VerifyReport;
use super::{Look, open, unreadable};
use crate::cli::exit::{Cause, Failure};
use crate::cli::show::show;
use crate::config::ServeConfig;
use crate::store::Access;

// No doc comment: clap would make it the help of the command.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    look: Look,
    /// Read the footers of segments only: damaged records are not found
    #[arg(long, conflicts_with = "deep")]
    quick: bool,
    /// Read every byte of every object (the default)
    #[arg(long)]
    deep: bool,
}

impl VerifyArguments {
    pub(crate) fn look(&self) -> &Look {
        &self.look
    }
}

/// Audits the bucket and shows what was found.
///
/// # Errors
/// It is damaged, or could not be read.
pub(crate) async fn run(
    arguments: VerifyArguments,
    config: &ServeConfig,
    env: Env,
) -> Result<(), Failure> {
    let tried = "audit the bucket";
    let depth = match arguments.quick {
        true => Depth::Quick,
        false => Depth::Deep,
    };
    let started = env.clock.now();
    let opened = open(config, Access::Read, &env).await;
    let opened = opened.map_err(|error| unreadable(tried, &error))?;
    let look = arguments.look;
    let bar = Bar::start(look.plainness);
    let report = Box::pin(audit(&opened.parts, depth, &bar)).await;
    bar.clear();
    let report = report.map_err(|error| unreadable(tried, &error.into()))?;
    let seconds = env.clock.now().since(started).as_secs_f64();
    let shown = VerifyReport::of(&report, &opened.bucket.meter, seconds);
    show(look.output, look.plainness, &shown)?;
    match shown.damage {
        0 => Ok(()),
        damage => {
            let what = format!("findings that mean damage: {damage}");
            let failure = Failure::new("call this bucket sound", Cause::Findings { what });
            Err(failure.advise("each says above what to do"))
        }
    }
}
