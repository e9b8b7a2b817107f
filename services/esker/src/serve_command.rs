//! The command line: `esker serve` with its settings as flags, `config show` and `doctor` with the
//! same ones, completion, the client commands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches, Subcommand as _};
use clap_complete::Shell;
use esker_env::Env;

use crate::cli::exit::{Failure, report, with_causes};
use crate::cli::paint::Paint;
use crate::cli::{self, ClientCommand, Output};
use crate::config::{Layers, SETTINGS, ServeConfig, describe, read_file};
use crate::doctor::{self, DoctorArguments, Patient};
use crate::upkeep::{self, Look, RebuildArguments, VerifyArguments};
use crate::{serve, telemetry};

const CONFIG: &str = "config";
const SHELL: &str = "shell";
/// Wrong use of the command line or of a setting.
const USAGE: u8 = 2;

fn settings_of(command: Command) -> Command {
    with_settings(command, |_| true)
}

/// The settings that say where the bucket is and how it is reached.
fn store_settings_of(command: Command) -> Command {
    with_settings(command, |name| {
        name == "store" || name == "cluster-id" || name.starts_with("s3-")
    })
}

fn with_settings(command: Command, wants: fn(&str) -> bool) -> Command {
    let file = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .help("A TOML file with settings by name; flags and variables beat it [env: ESKER_CONFIG]");
    let settings = SETTINGS.iter().filter(|setting| wants(setting.name));
    settings.fold(command.arg(file), |command, setting| {
        let default = setting.default.map(|value| format!(" [default: {value}]"));
        let help = format!(
            "{}{} [env: {}]",
            setting.help,
            default.unwrap_or_default(),
            setting.variable()
        );
        let argument = Arg::new(setting.name)
            .long(setting.name)
            .value_name(setting.value_name)
            .help(help);
        command.arg(argument)
    })
}

fn command() -> Command {
    let serve = Command::new("serve").about("Run Esker: all roles on one bucket");
    let show = Command::new("show")
        .about("Print and check the settings that `esker serve` would use, with their origins");
    let doctor = DoctorArguments::augment_args(settings_of(Command::new("doctor"))).about(
        "Examine store, ports, settings and a running server; say what to do about what is wrong",
    );
    let verify = VerifyArguments::augment_args(store_settings_of(Command::new("verify")))
        .about("Check that everything in the bucket is there and whole; writes nothing");
    let rebuild = RebuildArguments::augment_args(store_settings_of(Command::new("rebuild")))
        .about("Make a new journal from the segments when the old one is lost or damaged");
    let shell = Arg::new(SHELL)
        .required(true)
        .value_parser(clap::value_parser!(Shell))
        .help("For which shell");
    let completion = Command::new("completion")
        .about("Print a script that completes commands and flags in a shell")
        .after_help("bash: source <(esker completion bash)")
        .arg(shell);
    let root = Command::new("esker")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Kafka-compatible log whose only state is a bucket")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(settings_of(serve))
        .subcommand(doctor)
        .subcommand(verify)
        .subcommand(rebuild)
        .subcommand(completion);
    let root = ClientCommand::augment_subcommands(root);
    root.mut_subcommand("config", |config| config.subcommand(settings_of(show)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the environment is read"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    // Not every command has every setting.
    let given = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let row = |name: &'static str| Some((name.to_owned(), given(name)?));
    SETTINGS
        .iter()
        .filter_map(|setting| row(setting.name))
        .collect()
}

fn chosen(
    matches: &ArgMatches,
) -> Result<BTreeMap<&'static str, crate::config::Chosen>, crate::config::FileError> {
    let file = matches.get_one::<String>(CONFIG).cloned();
    let file = file.or_else(|| variable("ESKER_CONFIG").filter(|path| !path.is_empty()));
    let file = file.map(PathBuf::from).map(|path| {
        let values = read_file(&path)?;
        Ok((path, values))
    });
    let layers = Layers {
        flags: flags(matches),
        variable: &variable,
        file: file.transpose()?,
    };
    Ok(layers.choose())
}

fn complain(error: &dyn std::fmt::Display) {
    use std::io::Write as _;
    // Nothing can be done when stderr is closed.
    let _ = writeln!(std::io::stderr(), "esker: {error}");
}

fn print_settings(matches: &ArgMatches) -> Result<(), u8> {
    use std::io::Write as _;
    let usage = |error: &dyn std::fmt::Display| {
        complain(error);
        USAGE
    };
    let chosen = chosen(matches).map_err(|error| usage(&with_causes(&error)))?;
    let rows = describe(&chosen);
    let mut out = std::io::stdout().lock();
    match matches.get_one::<Output>("output") {
        Some(Output::Json) => {
            let rows = rows.into_iter().map(|(name, value, origin)| {
                serde_json::json!({ "setting": name, "value": value, "origin": origin })
            });
            let rows = serde_json::Value::Array(rows.collect());
            writeln!(out, "{rows:#}").map_err(|error| usage(&error))?;
        }
        Some(Output::Table) | None => {
            for (name, value, origin) in rows {
                let written = writeln!(out, "{name:<34} {value:<32} {origin}");
                written.map_err(|error| usage(&error))?;
            }
        }
    }
    ServeConfig::parse(&chosen).map_err(|error| usage(&error))?;
    Ok(())
}

fn complete(matches: &ArgMatches) -> ExitCode {
    use std::io::Write as _;
    let mut script = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>(SHELL) {
        clap_complete::generate(*shell, &mut command(), "esker", &mut script);
    }
    // A reader that has seen enough is no failure.
    let _ = std::io::stdout().lock().write_all(&script);
    ExitCode::SUCCESS
}

fn examine(matches: &ArgMatches) -> ExitCode {
    let parsed = DoctorArguments::from_arg_matches(matches);
    let arguments = parsed.unwrap_or_else(|error| error.exit());
    let origin = matches.value_source("bootstrap");
    let patient = Patient {
        is_server_given: origin.is_some_and(|origin| origin != ValueSource::DefaultValue),
        chosen: chosen(matches),
        arguments,
    };
    let paint = Paint::of_stderr(doctor::plainness(&patient));
    match runtime() {
        Ok(runtime) => report(runtime.block_on(doctor::run(patient, Env::system())), paint),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// What both commands on a bucket begin with: the settings of the store, and a runtime.
fn on_bucket<A, F>(matches: &ArgMatches, look: fn(&A) -> &Look, run: F) -> ExitCode
where
    A: FromArgMatches,
    F: AsyncFnOnce(A, &ServeConfig, Env) -> Result<(), Failure>,
{
    let parsed = A::from_arg_matches(matches);
    let arguments = parsed.unwrap_or_else(|error| error.exit());
    let paint = Paint::of_stderr(look(&arguments).plainness);
    let config = chosen(matches).map_err(|error| with_causes(&error));
    let config = config.and_then(|chosen| {
        let parsed = ServeConfig::parse(&chosen);
        parsed.map_err(|error| error.to_string())
    });
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            complain(&error);
            return ExitCode::from(USAGE);
        }
    };
    match runtime() {
        Ok(runtime) => report(
            runtime.block_on(run(arguments, &config, Env::system())),
            paint,
        ),
        Err(error) => {
            complain(&error);
            ExitCode::from(USAGE)
        }
    }
}

/// An error and everything behind it on one line: stores answer with XML of several.
fn one_line(error: &anyhow::Error) -> String {
    let text = with_causes(error.as_ref());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn serve_command(matches: &ArgMatches) -> Result<(), u8> {
    let usage = |error: String| {
        complain(&error);
        USAGE
    };
    let chosen = chosen(matches).map_err(|error| usage(with_causes(&error)))?;
    let config = ServeConfig::parse(&chosen).map_err(|error| usage(error.to_string()))?;
    telemetry::start(config.log_format, &config.log_level)
        .map_err(|error| usage(format!("{error:#}")))?;
    tracing::info!(greeting = serve::greeting(&config), "starting");
    for (name, value, origin) in describe(&chosen) {
        tracing::debug!(setting = name, value, origin, "configured");
    }
    let runtime = runtime().map_err(|error| {
        complain(&error);
        1
    })?;
    let outcome = runtime.block_on(serve::run(&config, Env::system()));
    // Dropping the runtime ends what a deposed process still does, at its next await.
    drop(runtime);
    outcome.map_err(|error| {
        let told = one_line(&error);
        tracing::error!(error = told, "esker cannot go on");
        complain(&told);
        1
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

fn client(matches: &ArgMatches) -> ExitCode {
    let parsed = ClientCommand::from_arg_matches(matches);
    let command = parsed.unwrap_or_else(|error| error.exit());
    match runtime() {
        Ok(runtime) => runtime.block_on(cli::run(command, Env::system())),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let matches = command().get_matches();
    let outcome = match matches.subcommand() {
        Some(("serve", given)) => serve_command(given),
        Some(("doctor", given)) => return examine(given),
        Some(("verify", given)) => {
            return on_bucket(given, VerifyArguments::look, upkeep::verify);
        }
        Some(("rebuild", given)) => {
            return on_bucket(given, RebuildArguments::look, upkeep::rebuild);
        }
        Some(("completion", given)) => return complete(given),
        Some(("config", given)) => match given.subcommand() {
            Some(("show", given)) => print_settings(given),
            _ => return client(&matches),
        },
        _ => return client(&matches),
    };
    outcome.map_or_else(ExitCode::from, |()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_names_every_setting() {
        command().debug_assert();
        let serve = command();
        let serve = serve.find_subcommand("serve").unwrap();

        for setting in SETTINGS {
            let argument = serve
                .get_arguments()
                .find(|row| row.get_id() == setting.name);
            assert!(argument.is_some(), "{}", setting.name);
        }
    }

    #[test]
    fn a_reason_is_one_line_and_tells_each_cause_once() {
        let answer = anyhow::anyhow!("403 Forbidden: <Error>\n  <Code>Denied</Code>");
        let request = format!("PUT failed: {answer}");
        let error = answer.context(request).context("open the store");

        let told = one_line(&error);

        let wanted = "open the store: PUT failed: 403 Forbidden: <Error> <Code>Denied</Code>";
        assert_eq!(told, wanted);
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        let parsed = command().try_get_matches_from(["esker", "serve", "--no-such-flag"]);

        assert!(parsed.is_err());
    }
}
