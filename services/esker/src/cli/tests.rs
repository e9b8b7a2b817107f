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
        "consume orders --from -10 --partition 2 --count 5",
        "consume orders --exit",
        "consume orders --from 5 --until @2026-01-31 -n 3",
        "consume orders --follow --key-format hex --value-format json --header-format base64",
        "produce orders --input json --value-format base64 --key-format hex",
        "consume orders --from=@2026-01-31T12:00:00Z -o json --group readers",
        "consume orders --format %k=%v\\n",
        "group list",
        "group describe readers -o json",
        "group delete readers",
        "offsets topic orders -p 1 --at 2026-01-31T12:00:00Z",
        "offsets group readers",
        "offsets reset readers --to earliest --topic orders --dry-run",
        "offsets reset readers --to -5",
        "offsets reset readers --shift-by -5",
        "offsets reset readers --to-datetime 2026-01-31 --topic orders -p 0",
        "offsets delete readers --topic orders --dry-run",
        "config describe topic orders --all",
        "config describe broker default -o json",
        "config alter topic orders --set a=b --delete c --append d=e --subtract f=g --dry-run",
        "config alter broker 1 --delete a",
        "bench end-to-end --rate 1000 --duration 5 --partitions 4 --producers 2",
        "bench produce --max --record-bytes 100",
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
        "consume orders --follow --until latest",
        "offsets reset readers",
        "offsets reset readers --to-earliest --shift-by 1",
        "offsets delete readers",
        "config alter topic orders",
        "config describe broker all",
        "bench produce --max --rate 5",
        "bench produce --rate 0",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(
            error.exit_code(),
            i32::from(exit::Exit::Usage.code()),
            "{line}"
        );
    }
}

#[test]
fn a_benchmark_past_its_limits_is_a_usage_error() {
    let past = [
        format!("--partitions {}", limits::BENCH_PARTITIONS_MAX + 1),
        format!("--producers {}", limits::BENCH_PRODUCERS_MAX + 1),
        format!("--in-flight {}", limits::BENCH_IN_FLIGHT_MAX + 1),
        format!("--rate {}", limits::BENCH_RATE_MAX + 1),
        format!("--record-bytes {}", limits::BENCH_RECORD_BYTES_MIN - 1),
        format!("--record-bytes {}", limits::BENCH_RECORD_BYTES_MAX + 1),
    ];
    for flags in past {
        assert!(parse(&format!("bench produce {flags}")).is_err(), "{flags}");
    }
    let most = format!(
        "bench produce --partitions {}",
        limits::BENCH_PARTITIONS_MAX
    );
    assert!(parse(&most).is_ok());
    assert_eq!(
        limits::BENCH_PARTITIONS_PER_CLIENT,
        esker_kafka::limits::CLIENT_IDLE_SOCKETS_MAX
    );
}
