//! Claims about the client commands that need no broker.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
#[command(name = "esker")]
struct Cli {
    #[command(subcommand)]
    command: ClientCommand,
}

fn parse(line: &str) -> Result<ClientCommand, clap::Error> {
    let words = std::iter::once("esker").chain(line.split(' '));
    Cli::try_parse_from(words).map(|cli| cli.command)
}

#[test]
fn every_form_of_the_commands_is_read() {
    <Cli as clap::CommandFactory>::command().debug_assert();
    for line in [
        "topic create orders --partitions 3 --config retention.ms=60000 --config a=b",
        "topic list -o json --bootstrap 127.0.0.1:9093",
        "topic --bootstrap 127.0.0.1:9093 describe orders",
        "topic delete orders",
        "produce orders --key-separator : --compression zstd --acks all --from lines.txt",
        "produce orders --key k --partition 3 --header a=1 --header b=2 --acks 0",
        "produce orders --acks 1",
        "consume orders --from -10 --partition 2 --count 5 --exit",
        "consume orders --from=@2026-01-31T12:00:00Z -o json --group readers",
        "consume orders --format %k=%v\\n",
        "group list",
        "group describe readers -o json",
        "group reset readers --to earliest --topic orders --dry-run",
        "group reset readers --to -5",
    ] {
        let parsed = parse(line);
        assert!(parsed.is_ok(), "{line}: {parsed:?}");
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for line in [
        "topic create orders --partitions 0",
        "topic create orders --config retention.ms",
        "produce orders --key k --key-separator :",
        "produce orders --acks 2",
        "produce orders --partition -1",
        "consume orders --from soon",
        "consume orders --format %q",
        "consume orders --format %v -o json",
        "group reset readers",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(
            error.exit_code(),
            i32::from(exit::Exit::Usage.code()),
            "{line}"
        );
    }
}
