//! Ports, and a record there and back through the server that runs: over Kafka and over HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use esker_env::{Env, timeout};
use esker_kafka::client::{Client, ClientError, FetchOptions, NewTopic, Target};
use esker_kafka::messages::ApiVersionsRequest;
use esker_record::{BatchBuilder, Compression, NewRecord, ReadLimits, read_records};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Patient;
use super::finding::{Examined, Finding};
use crate::cli::exit::with_causes;
use crate::config::ServeConfig;

/// No answer takes longer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A round trip of many tries takes no longer.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(30);

/// Whether a server was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    Yes,
    No,
}

/// Where the server is, and whether somebody says that there is one.
struct Addresses {
    kafka: String,
    http: String,
    is_given: bool,
}

pub(super) async fn examine(
    examined: &mut Examined,
    patient: &Patient,
    config: &ServeConfig,
    env: &Env,
) -> Running {
    let arguments = &patient.arguments;
    let is_given = patient.is_server_given || arguments.http.is_some();
    let local = |listen: SocketAddr| reachable(listen).to_string();
    let addresses = Addresses {
        kafka: match patient.is_server_given {
            true => arguments.common.bootstrap.clone(),
            false => local(config.kafka_listen),
        },
        http: arguments
            .http
            .clone()
            .unwrap_or_else(|| local(config.http_listen)),
        is_given,
    };
    let is_alive = is_esker(&addresses.http, env).await;
    if !is_given {
        let kafka = ("port of Kafka", "--kafka-listen", config.kafka_listen);
        let http = ("port of HTTP", "--http-listen", config.http_listen);
        for (check, flag, address) in [kafka, http] {
            examined.add(port(check, flag, address, is_alive).await);
        }
    }
    if !is_given && !is_alive {
        let tried = format!("find a server at {}", addresses.http);
        let words = "none runs here: start esker serve, or name one with --bootstrap and --http";
        examined.add(Finding::skipped("server", tried, words));
        return Running::No;
    }
    let topic = format!("esker-doctor-{:016x}", env.rng.u64());
    if let Some(client) = kafka(examined, &addresses, &topic, env).await {
        http(examined, &addresses, &topic, env).await;
        if let Err(error) = client.delete_topic(&topic).await {
            examined.add(Finding::warning(
                "server",
                format!("delete topic {topic}"),
                with_causes(&error),
                format!("esker topic delete {topic}"),
            ));
        }
    }
    Running::Yes
}

/// The address at which a listener on `listen` is reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip().is_unspecified() {
        true => SocketAddr::from((IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port())),
        false => listen,
    }
}

/// Whether an Esker answers there.
async fn is_esker(http: &str, env: &Env) -> bool {
    let asked = reqwest::get(format!("http://{http}/livez"));
    let answer = async { asked.await.ok()?.json::<Value>().await.ok() };
    let answer = timeout(env.clock.as_ref(), ANSWER_MAX, answer).await;
    let answer = answer.ok().flatten();
    answer.is_some_and(|answer| answer.get("owner").is_some())
}

/// Whether `esker serve` could listen there; `is_alive`: an Esker does.
async fn port(check: &'static str, flag: &str, address: SocketAddr, is_alive: bool) -> Finding {
    let tried = format!("listen on {address}");
    let error = match TcpListener::bind(address).await {
        Ok(_) => return Finding::ok(check, tried, "it is free"),
        Err(error) => error,
    };
    let is_taken = error.kind() == std::io::ErrorKind::AddrInUse;
    if is_taken && is_alive {
        return Finding::ok(check, tried, "in use by the server that runs");
    }
    let to_do = match is_taken {
        true => format!("stop the program that uses it, or choose another port: {flag}"),
        false => format!("choose an address of this machine, and a port that is allowed: {flag}"),
    };
    Finding::failed(check, tried, error.to_string(), to_do)
}

/// A record there and back; the client, if there is a topic now.
async fn kafka(
    examined: &mut Examined,
    addresses: &Addresses,
    topic: &str,
    env: &Env,
) -> Option<Client> {
    let check = "Kafka";
    let address = &addresses.kafka;
    let tried = format!("connect to {address}");
    let client = match Client::connect(address, "esker-doctor", env.clone()).await {
        Ok(client) => client.with_request_timeout(ANSWER_MAX),
        Err(error) => {
            let to_do = match addresses.is_given {
                true => "name a Kafka listener without TLS with --bootstrap; is the server up?",
                false => "the server answers over HTTP: look at its log; is --kafka-listen right?",
            };
            examined.add(Finding::failed(check, tried, with_causes(&error), to_do));
            return None;
        }
    };
    advertised(examined, &client, address).await;
    let begun = env.clock.now();
    let tried = format!("create topic {topic}, append a record and read it back at {address}");
    let trip = kafka_round_trip(&client, topic, env);
    let outcome = timeout(env.clock.as_ref(), ROUND_TRIP_MAX, trip).await;
    let outcome = outcome.unwrap_or_else(|elapsed| Err(elapsed.to_string()));
    let took = env.clock.now().since(begun);
    examined.add(match outcome {
        Ok(()) => Finding::ok(check, tried, format!("it came back as it was, {took:.1?}")),
        Err(reason) => {
            let to_do = "look at the server's log and /readyz; is its store well?";
            Finding::failed(check, tried, reason, to_do)
        }
    });
    Some(client)
}

/// Clients go on to the addresses that the cluster names: each has to answer from here.
async fn advertised(examined: &mut Examined, client: &Client, asked: &str) {
    for broker in client.brokers() {
        let check = "advertised address";
        let tried = format!("reach broker {} at {}", broker.node, broker.address);
        let question = ApiVersionsRequest::default();
        let answer = client.request(Target::Node(broker.node), &question).await;
        examined.add(match answer {
            Ok(_) => Finding::ok(check, tried, "it answers from here"),
            Err(error) => Finding::failed(
                check,
                tried,
                format!("{}, though {asked} does", with_causes(&error)),
                "start the server with --advertise HOST:PORT as clients reach it",
            ),
        });
    }
}

async fn kafka_round_trip(client: &Client, topic: &str, env: &Env) -> Result<(), String> {
    let told = |error: ClientError| with_causes(&error);
    let new = NewTopic {
        name: topic,
        partitions: Some(1),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&new).await.map_err(told)?;
    let value = Bytes::from(format!("{:016x}", env.rng.u64()));
    let mut builder = BatchBuilder::new(Compression::None);
    let record = NewRecord {
        timestamp: env.clock.wall(),
        value: Some(value.clone()),
        ..NewRecord::default()
    };
    builder.push(&record).map_err(|error| error.to_string())?;
    let batch = builder.build().map_err(|error| error.to_string())?;
    let produced = client.produce(topic, 0, batch).await.map_err(told)?;
    let offset = produced.base_offset;
    let options = FetchOptions::default();
    let fetched = client
        .fetch(topic, 0, offset, options)
        .await
        .map_err(told)?;
    let mut records = read_records(&fetched.records, &ReadLimits::default())
        .map_err(|error| error.to_string())?;
    let first = records.next().and_then(Result::ok);
    match first {
        Some(read) if read.offset == offset && read.value == Some(value) => Ok(()),
        Some(_) => Err("another record came back".to_owned()),
        None => Err("no record came back".to_owned()),
    }
}

/// A record there and back over HTTP, in the topic that was made over Kafka.
async fn http(examined: &mut Examined, addresses: &Addresses, topic: &str, env: &Env) {
    let check = "HTTP";
    let address = &addresses.http;
    let begun = env.clock.now();
    let tried = format!("append a record to topic {topic} and read it back at http://{address}");
    let trip = http_round_trip(address, topic, env);
    let outcome = timeout(env.clock.as_ref(), ROUND_TRIP_MAX, trip).await;
    let outcome = outcome.unwrap_or_else(|elapsed| Err(elapsed.to_string()));
    let took = env.clock.now().since(begun);
    examined.add(match outcome {
        Ok(()) => Finding::ok(check, tried, format!("it came back as it was, {took:.1?}")),
        Err(reason) => {
            let to_do = "name the server's HTTP address with --http; look at its log and /readyz";
            Finding::failed(check, tried, reason, to_do)
        }
    });
}

async fn http_round_trip(address: &str, topic: &str, env: &Env) -> Result<(), String> {
    let value = format!("{:016x}", env.rng.u64());
    let base = format!("http://{address}/api/v1/topics/{topic}");
    let client = reqwest::Client::new();
    let body = json!({ "records": [{ "partition": 0, "value": value }] });
    let append = client.post(format!("{base}/records")).json(&body);
    let appended = answer(append).await?;
    let offset = appended
        .pointer("/records/0/offset")
        .and_then(Value::as_u64);
    let offset = offset.ok_or_else(|| format!("the answer names no offset: {appended}"))?;
    let place = format!("{base}/partitions/0/records?offset={offset}&limit=1&wait=5000");
    let read = answer(client.get(place)).await?;
    match read.pointer("/records/0/value").and_then(Value::as_str) {
        Some(found) if found == value => Ok(()),
        Some(_) => Err("another record came back".to_owned()),
        None => Err(format!("no record came back: {read}")),
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| with_causes(&error))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| with_causes(&error))?;
    match status.is_success() {
        true => serde_json::from_str(&text).map_err(|_| "the answer is no JSON".to_owned()),
        false => Err(format!("{status}: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        let all: SocketAddr = "0.0.0.0:9092".parse().unwrap();
        let one: SocketAddr = "10.0.0.7:9092".parse().unwrap();

        assert_eq!(reachable(all).to_string(), "127.0.0.1:9092");
        assert_eq!(reachable(one), one);
    }

    #[tokio::test]
    async fn a_port_is_free_ours_or_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();

        let ours = port("port of HTTP", "--http-listen", address, true).await;
        let others = port("port of HTTP", "--http-listen", address, false).await;
        let free = port("port", "--http-listen", ([127, 0, 0, 1], 0).into(), false).await;

        assert_eq!(ours.status, Status::Ok);
        assert_eq!(others.status, Status::Failed);
        assert!(others.to_do.unwrap().contains("--http-listen"));
        assert_eq!(free.status, Status::Ok);
    }
}
