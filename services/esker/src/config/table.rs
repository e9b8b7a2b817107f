//! Every setting of `esker serve`, once: its flag, its variables, its key in the file, its default.

/// One setting. `name` is the flag and the key in the file; `ESKER_<NAME>` is its variable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value_name: &'static str,
    /// Variables of other programs that are heard too, behind our own.
    pub(crate) also: &'static [&'static str],
    pub(crate) default: Option<&'static str>,
    /// Never printed.
    pub(crate) is_secret: bool,
    pub(crate) help: &'static str,
}

impl Setting {
    const fn new(
        name: &'static str,
        value_name: &'static str,
        default: Option<&'static str>,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            value_name,
            also: &[],
            default,
            is_secret: false,
            help,
        }
    }

    const fn also(mut self, variables: &'static [&'static str]) -> Self {
        self.also = variables;
        self
    }

    const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// `ESKER_` and the name in capitals.
    pub(crate) fn variable(&self) -> String {
        format!("ESKER_{}", self.name.to_uppercase().replace('-', "_"))
    }
}

pub(crate) const STORE: &str = "store";
pub(crate) const ROLE: &str = "role";
pub(crate) const METADATA: &str = "metadata";
pub(crate) const ZONE: &str = "zone";
pub(crate) const ZONE_MAP: &str = "zone-map";
pub(crate) const CLIENTS_SEE: &str = "clients-see";
pub(crate) const INTERNAL_LISTEN: &str = "internal-listen";
pub(crate) const INTERNAL_ADVERTISE: &str = "internal-advertise";
pub(crate) const INTERNAL_TLS_CERT: &str = "internal-tls-cert";
pub(crate) const INTERNAL_TLS_KEY: &str = "internal-tls-key";
pub(crate) const INTERNAL_TLS_CA: &str = "internal-tls-ca";
pub(crate) const INTERNAL_TLS_NAME: &str = "internal-tls-name";
pub(crate) const CLUSTER_ID: &str = "cluster-id";
pub(crate) const NODE_ID: &str = "node-id";
pub(crate) const KAFKA_LISTEN: &str = "kafka-listen";
pub(crate) const HTTP_LISTEN: &str = "http-listen";
pub(crate) const ADVERTISE: &str = "advertise";
pub(crate) const HTTP_ADVERTISE: &str = "http-advertise";
pub(crate) const S3_ENDPOINT: &str = "s3-endpoint";
pub(crate) const S3_REGION: &str = "s3-region";
pub(crate) const S3_PATH_STYLE: &str = "s3-path-style";
pub(crate) const S3_ACCESS_KEY_ID: &str = "s3-access-key-id";
pub(crate) const S3_SECRET_ACCESS_KEY: &str = "s3-secret-access-key";
pub(crate) const S3_SESSION_TOKEN: &str = "s3-session-token";
pub(crate) const S3_CHECKSUM: &str = "s3-checksum";
pub(crate) const LINGER_MS: &str = "linger-ms";
pub(crate) const SEGMENT_BYTES: &str = "segment-bytes";
pub(crate) const SEGMENTS_IN_FLIGHT: &str = "segments-in-flight";
pub(crate) const PRODUCE_BUFFER_BYTES: &str = "produce-buffer-bytes";
pub(crate) const CACHE_BYTES: &str = "cache-bytes";
pub(crate) const KAFKA_CONNECTIONS: &str = "kafka-connections";
pub(crate) const KAFKA_CONNECTIONS_PER_ADDRESS: &str = "kafka-connections-per-address";
pub(crate) const KAFKA_IDLE_TIMEOUT_MS: &str = "kafka-idle-timeout-ms";
pub(crate) const AUTO_CREATE_TOPICS: &str = "auto-create-topics";
pub(crate) const DEFAULT_PARTITIONS: &str = "default-partitions";
pub(crate) const GROUP_DELAY_MS: &str = "group-initial-rebalance-delay-ms";
pub(crate) const CHECKPOINT_INTERVAL_MS: &str = "checkpoint-interval-ms";
pub(crate) const STALL_DEADLINE_MS: &str = "stall-deadline-ms";
pub(crate) const DRAIN_TIMEOUT_MS: &str = "drain-timeout-ms";
pub(crate) const EXIT_DELAY_MS: &str = "exit-delay-ms";
pub(crate) const LOG_FORMAT: &str = "log-format";
pub(crate) const LOG_LEVEL: &str = "log-level";

/// All settings, in the order in which help prints them.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting::new(
        STORE,
        "URL",
        Some("file://./esker-data"),
        "The bucket: file:///dir (a local directory), s3://bucket/prefix, or memory:",
    ),
    Setting::new(
        ROLE,
        "LIST",
        Some("all"),
        "Roles of this process: all, or some of ingest,fetch,metadata",
    ),
    Setting::new(
        METADATA,
        "LIST",
        None,
        "Where processes with the role metadata are reached: HOST:PORT,…; needed without that role",
    ),
    Setting::new(
        ZONE,
        "NAME",
        None,
        "The zone this process runs in, which Kafka clients see as its rack",
    ),
    Setting::new(
        ZONE_MAP,
        "LIST",
        None,
        "Zones of Kafka clients that name none, by their network: 10.0.1.0/24=eu-1a,… The smallest \
         network counts",
    ),
    Setting::new(
        CLIENTS_SEE,
        "WHOM",
        Some("all"),
        "Which processes Kafka clients of this one are told of: all, those that share a role with \
         it, which lead and serve among themselves, or single: one broker, node 0, that any \
         process may answer for, behind a balancer at --advertise",
    ),
    Setting::new(
        INTERNAL_LISTEN,
        "ADDRESS",
        None,
        "Where other processes connect; needed with the role metadata but not all roles",
    ),
    Setting::new(
        INTERNAL_ADVERTISE,
        "HOST:PORT",
        None,
        "The address that other processes are told [default: internal-listen]",
    ),
    Setting::new(
        INTERNAL_TLS_CERT,
        "FILE",
        None,
        "PEM certificates that this process shows to others; with it they talk TLS",
    ),
    Setting::new(
        INTERNAL_TLS_KEY,
        "FILE",
        None,
        "PEM key of internal-tls-cert",
    ),
    Setting::new(
        INTERNAL_TLS_CA,
        "FILE",
        None,
        "PEM certificates of who may sign those of other processes: each must show one",
    ),
    Setting::new(
        INTERNAL_TLS_NAME,
        "NAME",
        None,
        "The name that certificates of others must have [default: the host of their address]",
    ),
    Setting::new(
        KAFKA_LISTEN,
        "ADDRESS",
        Some("127.0.0.1:9092"),
        "Where Kafka clients connect",
    ),
    Setting::new(
        HTTP_LISTEN,
        "ADDRESS",
        Some("127.0.0.1:8080"),
        "Where HTTP clients connect",
    ),
    Setting::new(
        ADVERTISE,
        "HOST:PORT",
        None,
        "The address that Kafka clients are told [default: the one they connected to]",
    ),
    Setting::new(
        HTTP_ADVERTISE,
        "HOST:PORT",
        None,
        "Where other processes can ask this one whether it lives [default: http-listen]",
    ),
    Setting::new(
        CLUSTER_ID,
        "HEX",
        None,
        "Refuse to start unless the bucket prefix belongs to this cluster (32 hex digits)",
    ),
    Setting::new(
        NODE_ID,
        "NUMBER",
        None,
        "This process's Kafka node id [default: 1 with all roles, else drawn]",
    ),
    Setting::new(
        S3_ENDPOINT,
        "URL",
        None,
        "For stores other than AWS, such as http://127.0.0.1:9000",
    )
    .also(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
    Setting::new(
        S3_REGION,
        "NAME",
        None,
        "The bucket's region [default: AWS's own search]",
    )
    .also(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
    Setting::new(
        S3_PATH_STYLE,
        "BOOL",
        None,
        "Bucket in the path, not the host name [default: true with an endpoint]",
    ),
    Setting::new(
        S3_ACCESS_KEY_ID,
        "ID",
        None,
        "Fixed credentials [default: AWS's own search: variables, profile, SSO, IRSA, IMDS]",
    ),
    Setting::new(S3_SECRET_ACCESS_KEY, "KEY", None, "See s3-access-key-id").secret(),
    Setting::new(
        S3_SESSION_TOKEN,
        "TOKEN",
        None,
        "Of temporary fixed credentials",
    )
    .secret(),
    Setting::new(
        S3_CHECKSUM,
        "NAME",
        Some("crc64nvme"),
        "What uploads are checked by: crc64nvme, or sha256 where the store knows no other",
    ),
    Setting::new(
        LINGER_MS,
        "MS",
        Some("100"),
        "A busy process writes a segment at least this often; an idle one writes at once",
    ),
    Setting::new(
        SEGMENT_BYTES,
        "BYTES",
        Some("8388608"),
        "A segment with so many bytes is written without waiting; at most 8 MiB",
    ),
    Setting::new(
        SEGMENTS_IN_FLIGHT,
        "COUNT",
        Some("8"),
        "Segments that may be on their way to the store at once, 1 to 64",
    ),
    Setting::new(
        PRODUCE_BUFFER_BYTES,
        "BYTES",
        Some("268435456"),
        "Produced bytes held in memory; when used up, sockets are not read",
    ),
    Setting::new(
        CACHE_BYTES,
        "BYTES",
        Some("268435456"),
        "Memory for segment bytes that consumers read, all of it",
    ),
    Setting::new(
        KAFKA_CONNECTIONS,
        "COUNT",
        Some("10000"),
        "Kafka connections at a time; one more is closed at once. Open files may allow fewer",
    ),
    Setting::new(
        KAFKA_CONNECTIONS_PER_ADDRESS,
        "COUNT",
        Some("1000"),
        "Kafka connections of one client address at a time",
    ),
    Setting::new(
        KAFKA_IDLE_TIMEOUT_MS,
        "MS",
        Some("600000"),
        "A Kafka connection is closed that sends no request, or takes no byte of a reply, for \
         so long",
    ),
    Setting::new(
        AUTO_CREATE_TOPICS,
        "BOOL",
        Some("true"),
        "Create a topic that a client asks for by name",
    ),
    Setting::new(
        DEFAULT_PARTITIONS,
        "COUNT",
        Some("1"),
        "Partitions of a topic created without a count",
    ),
    Setting::new(
        GROUP_DELAY_MS,
        "MS",
        Some("500"),
        "How long a new consumer group waits for more members",
    ),
    Setting::new(
        CHECKPOINT_INTERVAL_MS,
        "MS",
        Some("10000"),
        "How old the oldest segment outside a checkpoint may get: bounds a cold start's reads",
    ),
    Setting::new(
        STALL_DEADLINE_MS,
        "MS",
        Some("5000"),
        "A segment undecided for longer is probed, then its session is sealed",
    ),
    Setting::new(
        DRAIN_TIMEOUT_MS,
        "MS",
        Some("25000"),
        "Bound of the graceful stop after SIGTERM",
    ),
    Setting::new(
        EXIT_DELAY_MS,
        "MS",
        Some("0"),
        "How long it refuses connections before it ends, once it has stopped: while clients are \
         still sent to an address that ends with the process",
    ),
    Setting::new(
        LOG_FORMAT,
        "FORMAT",
        Some("auto"),
        "text, json, or auto: text on a terminal, json elsewhere",
    ),
    Setting::new(
        LOG_LEVEL,
        "FILTER",
        Some("info"),
        "error, warn, info, debug, trace, or a tracing filter",
    )
    .also(&["RUST_LOG"]),
];

/// The setting of that name.
pub(crate) fn named(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
