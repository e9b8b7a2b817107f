//! Configuration of `esker serve`: layered by origin, parsed whole, all mistakes told at once.
//!
//! Nobody else reads the environment. Each crate owns its own settings struct; here they are made.

mod layers;
mod table;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use esker_cluster::{ClientsSee, ZoneMap};
use esker_ingest::limits::LINGER_MAX;
use esker_metadata_api::limits::POD_TEXT_BYTES_MAX;
use esker_metadata_api::{Endpoint, Roles};
use esker_object::UploadChecksum;
use esker_remote::PeerName;
use esker_types::ClusterId;

pub(crate) use layers::{Chosen, FileError, Layers, Origin, read_file};
pub(crate) use table::SETTINGS;

use table as name;

/// Addresses of the metadata service that one process is told.
const METADATA_ADDRESSES_MAX: usize = 16;

/// Where the bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    Directory(PathBuf),
    S3 { bucket: String, prefix: String },
    Memory,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
    Auto,
}

/// How this process and others of the cluster reach each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InternalSettings {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) advertise: Option<Endpoint>,
    /// Where processes with the role metadata are reached.
    pub(crate) metadata: Vec<Endpoint>,
    pub(crate) tls: Option<TlsFiles>,
}

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificates: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
    /// What certificates of others must be for; `None`: the host of their address.
    pub(crate) name: Option<PeerName>,
}

/// Access to S3; what is `None` comes from AWS's usual places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct S3Settings {
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) path_style: Option<bool>,
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<Secret>,
    pub(crate) session_token: Option<Secret>,
    pub(crate) checksum: UploadChecksum,
}

/// How many Kafka connections there may be, and for how long without use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KafkaLimits {
    pub(crate) connections: usize,
    pub(crate) connections_per_address: usize,
    pub(crate) idle_timeout: Duration,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServeConfig {
    pub(crate) store: StoreUrl,
    pub(crate) s3: S3Settings,
    pub(crate) cluster_id: Option<ClusterId>,
    pub(crate) roles: Roles,
    pub(crate) zone: Option<String>,
    pub(crate) zone_map: Arc<ZoneMap>,
    pub(crate) clients_see: ClientsSee,
    pub(crate) internal: InternalSettings,
    /// Set, or 1 with all roles; else it is drawn.
    pub(crate) node_id: Option<i32>,
    pub(crate) kafka_listen: SocketAddr,
    pub(crate) http_listen: SocketAddr,
    pub(crate) advertise: Option<Endpoint>,
    pub(crate) http_advertise: Option<Endpoint>,
    pub(crate) linger: Duration,
    pub(crate) segment_bytes: u32,
    pub(crate) segments_in_flight: usize,
    pub(crate) produce_buffer_bytes: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) kafka: KafkaLimits,
    pub(crate) auto_create_topics: bool,
    pub(crate) default_partitions: u32,
    pub(crate) group_delay: Duration,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) stall_deadline: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) exit_delay: Duration,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
}

/// One value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} = {value:?} (from {origin}): {wanted}")]
pub(crate) struct Mistake {
    pub(crate) setting: &'static str,
    pub(crate) value: String,
    pub(crate) origin: Origin,
    /// What would be right.
    pub(crate) wanted: Cow<'static, str>,
}

/// All mistakes of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("configuration cannot be used")?;
        for mistake in &self.0 {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}

/// Reads typed values and gathers what is wrong.
struct Reader<'a> {
    chosen: &'a BTreeMap<&'static str, Chosen>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn optional<T>(
        &mut self,
        setting: &'static str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let chosen = self.chosen.get(setting)?;
        let parsed = parse(&chosen.value);
        if parsed.is_none() {
            let is_secret = table::named(setting).is_some_and(|setting| setting.is_secret);
            let value = chosen.value.clone();
            self.mistakes.push(Mistake {
                setting,
                value: if is_secret { "(secret)".into() } else { value },
                origin: chosen.origin.clone(),
                wanted: wanted.into(),
            });
        }
        parsed
    }

    /// A setting that others make necessary, or whose mistake is told in words of its own.
    fn missing(&mut self, setting: &'static str, wanted: impl Into<Cow<'static, str>>) {
        let chosen = self.chosen.get(setting);
        self.mistakes.push(Mistake {
            setting,
            value: chosen
                .map(|chosen| chosen.value.clone())
                .unwrap_or_default(),
            origin: chosen.map_or(Origin::Default, |chosen| chosen.origin.clone()),
            wanted: wanted.into(),
        });
    }

    fn text(&mut self, setting: &'static str) -> Option<String> {
        self.optional(setting, "a text", |text| Some(text.to_owned()))
    }

    fn number<T: FromStr + PartialOrd>(
        &mut self,
        setting: &'static str,
        wanted: &'static str,
        bounds: std::ops::RangeInclusive<T>,
        otherwise: T,
    ) -> T {
        let parse = |text: &str| text.parse().ok().filter(|value| bounds.contains(value));
        self.optional(setting, wanted, parse).unwrap_or(otherwise)
    }

    fn millis(&mut self, setting: &'static str) -> Duration {
        let day = 24 * 60 * 60 * 1000;
        let wanted = "milliseconds from 0 to a day are wanted";
        Duration::from_millis(self.number(setting, wanted, 0..=day, 0))
    }

    fn address(&mut self, setting: &'static str) -> SocketAddr {
        let wanted = "an IP address and a port are wanted, such as 127.0.0.1:9092 or [::]:9092";
        self.optional(setting, wanted, |text| text.parse().ok())
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn switch(&mut self, setting: &'static str) -> Option<bool> {
        self.optional(setting, "true or false is wanted", |text| text.parse().ok())
    }
}

fn parse_store(text: &str) -> Option<StoreUrl> {
    if text == "memory:" || text == "memory" {
        return Some(StoreUrl::Memory);
    }
    if let Some(path) = text.strip_prefix("file://") {
        return (!path.is_empty()).then(|| StoreUrl::Directory(PathBuf::from(path)));
    }
    let rest = text.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    (!bucket.is_empty()).then(|| StoreUrl::S3 {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
    })
}

fn parse_advertised(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty()).then(|| Endpoint {
        host: host.to_owned(),
        port,
    })
}

fn parse_log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        "auto" => Some(LogFormat::Auto),
        _ => None,
    }
}

fn parse_checksum(text: &str) -> Option<UploadChecksum> {
    match text {
        "crc64nvme" => Some(UploadChecksum::Crc64Nvme),
        "sha256" => Some(UploadChecksum::Sha256),
        _ => None,
    }
}

fn parse_roles(text: &str) -> Option<Roles> {
    let role = |name: &str| match name.trim() {
        "all" => Some(Roles::ALL),
        "ingest" => Some(Roles::INGEST),
        "fetch" => Some(Roles::FETCH),
        "metadata" => Some(Roles::METADATA),
        _ => None,
    };
    let roles = text.split(',').map(role);
    roles.reduce(|all, one| Some(all?.and(one?)))?
}

fn read_roles(reader: &mut Reader<'_>) -> Roles {
    let wanted = "all is wanted, or a list of ingest, fetch, metadata";
    let roles = reader.optional(name::ROLE, wanted, parse_roles);
    roles.unwrap_or(Roles::ALL)
}

/// Set, or 1 with all roles.
fn read_node_id(reader: &mut Reader<'_>, roles: Roles) -> Option<i32> {
    let parse = |text: &str| text.parse().ok().filter(|id| *id >= 0);
    let set = reader.optional(name::NODE_ID, "0 to 2147483647 is wanted", parse);
    set.or((roles == Roles::ALL).then_some(1))
}

fn parse_advertised_list(text: &str) -> Option<Vec<Endpoint>> {
    let list: Option<Vec<_>> = text
        .split(',')
        .map(str::trim)
        .map(parse_advertised)
        .collect();
    list.filter(|list| list.len() <= METADATA_ADDRESSES_MAX)
}

fn parse_zone(text: &str) -> Option<String> {
    let is_sound = !text.is_empty() && text.len() <= POD_TEXT_BYTES_MAX && !text.contains(',');
    is_sound.then(|| text.to_owned())
}

/// Which entry is wrong, and why, is told.
fn read_zone_map(reader: &mut Reader<'_>) -> Arc<ZoneMap> {
    let parsed = reader
        .text(name::ZONE_MAP)
        .map(|text| text.parse::<ZoneMap>());
    let map = parsed.unwrap_or_else(|| Ok(ZoneMap::default()));
    Arc::new(map.unwrap_or_else(|error| {
        reader.missing(name::ZONE_MAP, error.to_string());
        ZoneMap::default()
    }))
}

fn read_tls(reader: &mut Reader<'_>) -> Option<TlsFiles> {
    let all = [
        name::INTERNAL_TLS_CERT,
        name::INTERNAL_TLS_KEY,
        name::INTERNAL_TLS_CA,
    ];
    let wanted = "a DNS name without wildcards, or an IP address";
    let name = reader.optional(name::INTERNAL_TLS_NAME, wanted, PeerName::parse);
    let [certificates, key, ca] = all.map(|setting| reader.text(setting).map(PathBuf::from));
    let (setting, why) = match (certificates, key, ca) {
        (Some(certificates), Some(key), Some(ca)) => {
            return Some(TlsFiles {
                certificates,
                key,
                ca,
                name,
            });
        }
        (None, None, None) if name.is_none() => return None,
        (None, None, None) => (
            name::INTERNAL_TLS_NAME,
            "without internal-tls-cert, -key and -ca there are no certificates",
        ),
        (some, _, _) => (
            if some.is_some() { all[0] } else { all[1] },
            "all three of internal-tls-cert, -key and -ca are wanted, or none",
        ),
    };
    reader.missing(setting, why);
    None
}

fn read_internal(reader: &mut Reader<'_>, roles: Roles) -> InternalSettings {
    let listen = "an IP address and a port are wanted, such as 127.0.0.1:9094";
    let list = "host:port,host:port,… is wanted, 16 at most";
    let internal = InternalSettings {
        listen: reader.optional(name::INTERNAL_LISTEN, listen, |text| text.parse().ok()),
        advertise: read_advertised(reader, name::INTERNAL_ADVERTISE),
        metadata: reader
            .optional(name::METADATA, list, parse_advertised_list)
            .unwrap_or_default(),
        tls: read_tls(reader),
    };
    if !roles.has(Roles::METADATA) && internal.metadata.is_empty() {
        reader.missing(
            name::METADATA,
            "without the role metadata it says where that is: host:port,…",
        );
    }
    if roles.has(Roles::METADATA) && roles != Roles::ALL && internal.listen.is_none() {
        reader.missing(
            name::INTERNAL_LISTEN,
            "others must reach a process with the role metadata: address:port is wanted",
        );
    }
    internal
}

fn read_s3(reader: &mut Reader<'_>) -> S3Settings {
    S3Settings {
        endpoint: reader.optional(
            name::S3_ENDPOINT,
            "a URL is wanted, such as http://127.0.0.1:9000",
            |text| {
                (text.starts_with("http://") || text.starts_with("https://")).then(|| text.into())
            },
        ),
        region: reader.text(name::S3_REGION),
        path_style: reader.switch(name::S3_PATH_STYLE),
        access_key_id: reader.text(name::S3_ACCESS_KEY_ID),
        secret_access_key: reader.text(name::S3_SECRET_ACCESS_KEY).map(Secret),
        session_token: reader.text(name::S3_SESSION_TOKEN).map(Secret),
        checksum: reader
            .optional(
                name::S3_CHECKSUM,
                "crc64nvme or sha256 is wanted",
                parse_checksum,
            )
            .unwrap_or_default(),
    }
}

fn read_kafka_limits(reader: &mut Reader<'_>) -> KafkaLimits {
    let mut count = |setting| reader.number(setting, "1 to 1000000 is wanted", 1..=1_000_000, 1);
    let connections = count(name::KAFKA_CONNECTIONS);
    let connections_per_address = count(name::KAFKA_CONNECTIONS_PER_ADDRESS);
    let wanted = "milliseconds from a second to a day are wanted";
    let times = 1000..=24 * 60 * 60 * 1000;
    let idle_timeout = reader.number(name::KAFKA_IDLE_TIMEOUT_MS, wanted, times, 1000);
    KafkaLimits {
        connections,
        connections_per_address,
        idle_timeout: Duration::from_millis(idle_timeout),
    }
}

/// Told here: the produce path would refuse a longer one, but only when the store has been opened.
fn read_linger(reader: &mut Reader<'_>) -> Duration {
    let wanted = "milliseconds from 0 to 10000 are wanted";
    let parse = |text: &str| {
        let linger = text.parse().map(Duration::from_millis).ok();
        linger.filter(|linger| *linger <= LINGER_MAX)
    };
    let linger = reader.optional(name::LINGER_MS, wanted, parse);
    linger.unwrap_or_default()
}

fn read_store(reader: &mut Reader<'_>) -> StoreUrl {
    let wanted = "file:///dir, s3://bucket/prefix or memory: is wanted";
    let store = reader.optional(name::STORE, wanted, parse_store);
    store.unwrap_or(StoreUrl::Memory)
}

fn read_advertised(reader: &mut Reader<'_>, setting: &'static str) -> Option<Endpoint> {
    let wanted = "host:port is wanted, such as kafka.example.com:9092";
    reader.optional(setting, wanted, parse_advertised)
}

fn read_clients_see(reader: &mut Reader<'_>, roles: Roles) -> ClientsSee {
    let takes_clients = [Roles::INGEST, Roles::FETCH].into_iter();
    let taken = takes_clients.filter(|role| roles.has(*role));
    let taken = taken.fold(Roles::default(), Roles::and);
    let wanted = "all, role or single is wanted";
    let whom = reader.optional(name::CLIENTS_SEE, wanted, |text| match text {
        "all" => Some(ClientsSee::All),
        "role" => Some(ClientsSee::Within(taken)),
        "single" => Some(ClientsSee::Single),
        _ => None,
    });
    let whom = whom.unwrap_or_default();
    let has_clients = taken != Roles::default();
    if whom == ClientsSee::Single && has_clients && !reader.chosen.contains_key(name::ADVERTISE) {
        let wanted = "host:port of what stands in front of all is wanted: clients-see is single";
        reader.missing(name::ADVERTISE, wanted);
    }
    whom
}

fn read_log_format(reader: &mut Reader<'_>) -> LogFormat {
    let wanted = "text, json or auto is wanted";
    let format = reader.optional(name::LOG_FORMAT, wanted, parse_log_format);
    format.unwrap_or(LogFormat::Auto)
}

impl ServeConfig {
    /// Where other processes of the cluster can ask this one whether it lives.
    pub(crate) fn http_address(&self) -> String {
        let advertised = self.http_advertise.as_ref().map(Endpoint::to_string);
        advertised.unwrap_or_else(|| self.http_listen.to_string())
    }

    /// Checks all values together.
    ///
    /// # Errors
    /// Every value that cannot be used, with its origin and what is wanted.
    pub(crate) fn parse(chosen: &BTreeMap<&'static str, Chosen>) -> Result<Self, Mistakes> {
        let mut reader = Reader {
            chosen,
            mistakes: Vec::new(),
        };
        let reading = &mut reader;
        let roles = read_roles(reading);
        let zone = "1 to 255 bytes without a comma are wanted";
        let config = Self {
            store: read_store(reading),
            s3: read_s3(reading),
            cluster_id: reading.optional(name::CLUSTER_ID, "32 hex digits are wanted", |text| {
                ClusterId::from_hex(text).ok()
            }),
            roles,
            zone: reading.optional(name::ZONE, zone, parse_zone),
            zone_map: read_zone_map(reading),
            clients_see: read_clients_see(reading, roles),
            internal: read_internal(reading, roles),
            node_id: read_node_id(reading, roles),
            kafka_listen: reading.address(name::KAFKA_LISTEN),
            http_listen: reading.address(name::HTTP_LISTEN),
            advertise: read_advertised(reading, name::ADVERTISE),
            http_advertise: read_advertised(reading, name::HTTP_ADVERTISE),
            linger: read_linger(reading),
            segment_bytes: reading.number(
                name::SEGMENT_BYTES,
                "65536 to 8388608 bytes are wanted",
                65_536..=esker_types::limits::SEGMENT_BYTES_MAX,
                0,
            ),
            segments_in_flight: reading.number(
                name::SEGMENTS_IN_FLIGHT,
                "1 to 64 is wanted",
                1..=64,
                1,
            ),
            produce_buffer_bytes: reading.number(
                name::PRODUCE_BUFFER_BYTES,
                "16777216 to 4294967295 bytes are wanted: two full segments at least",
                16 * 1024 * 1024..=4_294_967_295,
                0,
            ),
            cache_bytes: reading.number(
                name::CACHE_BYTES,
                "33554432 bytes or more are wanted",
                32 * 1024 * 1024..=usize::MAX,
                0,
            ),
            kafka: read_kafka_limits(reading),
            auto_create_topics: reading.switch(name::AUTO_CREATE_TOPICS).unwrap_or(true),
            default_partitions: reading.number(
                name::DEFAULT_PARTITIONS,
                "1 to 10000 is wanted",
                1..=esker_types::limits::PARTITIONS_PER_TOPIC_MAX,
                1,
            ),
            group_delay: reading.millis(name::GROUP_DELAY_MS),
            checkpoint_interval: reading.millis(name::CHECKPOINT_INTERVAL_MS),
            stall_deadline: reading.millis(name::STALL_DEADLINE_MS),
            drain_timeout: reading.millis(name::DRAIN_TIMEOUT_MS),
            exit_delay: reading.millis(name::EXIT_DELAY_MS),
            log_format: read_log_format(reading),
            log_level: reading.text(name::LOG_LEVEL).unwrap_or_default(),
        };
        if reader.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(Mistakes(reader.mistakes))
        }
    }
}

/// One line per setting: name, value (secrets hidden), origin. For people and for the log.
pub(crate) fn describe(chosen: &BTreeMap<&'static str, Chosen>) -> Vec<(String, String, String)> {
    let row = |setting: &table::Setting| {
        let chosen = chosen.get(setting.name)?;
        let value = if setting.is_secret {
            "(secret)".to_owned()
        } else {
            chosen.value.clone()
        };
        Some((setting.name.to_owned(), value, chosen.origin.to_string()))
    };
    SETTINGS.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests;
