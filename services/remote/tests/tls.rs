//! TLS of the internal API: who is let in, and certificates that change while a server runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

#[path = "stage/mod.rs"]
mod stage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use esker_env::{Clock, Env, Shutdown, SystemClock, TaskGroup};
use esker_metadata_api::{Admin as _, MetadataError};
use esker_remote::limits::{CERTIFICATES_AGE_MAX, PEM_BYTES_MAX};
use esker_remote::{
    BindError, BlockAnswer, BlockAsk, BlockError, ClientTls, ConnectError, Identity, PeerCondition,
    PeerName, RemoteServer, ServerConfig, ServerParts, ServerTls, TlsError,
};
use esker_types::{MonotonicTime, ProducerId, Timestamp};
use futures::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use stage::blocks::{BlocksClient, ScriptedBlocks, question};
use stage::running::{Client, Serving, config, parts, server_config};
use stage::scripted::{CLUSTER, Scripted};

/// Who signs, and where its files are.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
    file: PathBuf,
}

impl Authority {
    fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let file = directory.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        Self {
            issuer,
            directory: directory.to_owned(),
            file,
        }
    }

    /// Signs for a host; the files of `name` are new or are replaced.
    fn sign(&self, name: &str, host: &str) -> Identity {
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity {
            certificate: self.directory.join(format!("{name}.crt")),
            key: self.directory.join(format!("{name}.key")),
        };
        std::fs::write(&identity.certificate, certificate.pem()).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }
}

fn id() -> ProducerId {
    ProducerId::from_wire(1).unwrap()
}

fn service() -> Arc<Scripted> {
    let service = Arc::new(Scripted::default());
    service.script().producer_id.extend([Ok(id()); 9]);
    service
}

fn secured(identity: Identity, ca: Option<&Authority>) -> ServerConfig {
    let mut server_config = server_config(CLUSTER);
    server_config.tls = Some(ServerTls {
        identity,
        ca: ca.map(|ca| ca.file.clone()),
    });
    server_config
}

fn client(serving: &Serving, tls: Option<ClientTls>) -> Client {
    let mut client_config = config(&[serving.address], CLUSTER);
    client_config.tls = tls;
    Client::start(client_config)
}

fn trusting(ca: &Authority, identity: Option<Identity>) -> ClientTls {
    ClientTls {
        ca: ca.file.clone(),
        identity,
        server_name: None,
    }
}

/// What the client gets, and how it stands with the server.
async fn ask(client: Client) -> (Result<ProducerId, MetadataError>, PeerCondition) {
    let answer = client.remote.producer_id().await;
    let condition = client.remote.peers().remove(0).condition;
    client.stop().await;
    (answer, condition)
}

fn is_tls(condition: &PeerCondition) -> bool {
    matches!(condition, PeerCondition::Failed(why)
        if matches!(**why, ConnectError::Tls(_) | ConnectError::Http(_) | ConnectError::NoGreeting))
}

#[tokio::test]
async fn with_a_ca_only_clients_with_its_certificate_are_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Authority::new(directory.path(), "ca");
    let stranger = Authority::new(directory.path(), "stranger");
    let server = ca.sign("server", "127.0.0.1");
    let own = ca.sign("client", "pod");
    let foreign = stranger.sign("foreign", "pod");
    let service = service();
    let serving = Serving::start(secured(server, Some(&ca)), parts(&service)).await;

    let (good, _) = ask(client(&serving, Some(trusting(&ca, Some(own.clone()))))).await;
    let (bare, bare_why) = ask(client(&serving, Some(trusting(&ca, None)))).await;
    let (other, other_why) = ask(client(&serving, Some(trusting(&ca, Some(foreign))))).await;
    let (plain, _) = ask(client(&serving, None)).await;
    let (fooled, fooled_why) = ask(client(&serving, Some(trusting(&stranger, Some(own))))).await;

    assert_eq!(good, Ok(id()));
    let refused = Err(MetadataError::Unavailable);
    assert_eq!([bare, other, plain, fooled], [refused; 4]);
    assert!(is_tls(&bare_why), "{bare_why:?}");
    assert!(is_tls(&other_why), "{other_why:?}");
    assert!(is_tls(&fooled_why), "{fooled_why:?}");
    assert_eq!(service.asked().len(), 1);
    serving.stop().await;
}

#[tokio::test]
async fn blocks_are_for_processes_with_a_certificate_only() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Authority::new(directory.path(), "ca");
    let server = ca.sign("server", "127.0.0.1");
    let own = ca.sign("client", "pod");
    let blocks = ScriptedBlocks::new([BlockAnswer::NotHere, BlockAnswer::NotHere]);
    let parts = ServerParts::of_blocks(CLUSTER, blocks.clone());
    let serving = Serving::start(secured(server, Some(&ca)), parts).await;
    let asked = |tls: Option<ClientTls>| {
        let client = BlocksClient::start(|config| config.tls = tls);
        async move {
            let told = client
                .ask(serving.address, question(0, BlockAsk::Hot))
                .await;
            client.stop().await;
            told
        }
    };

    let good = asked(Some(trusting(&ca, Some(own)))).await;
    let bare = asked(Some(trusting(&ca, None))).await;
    let plain = asked(None).await;

    assert_eq!(good, Ok(BlockAnswer::NotHere));
    assert_eq!(
        (bare, plain),
        (Err(BlockError::NotConnected), Err(BlockError::NotConnected))
    );
    assert_eq!(blocks.asked(), 1);
    serving.stop().await;
}

/// One certificate for all, and processes that are reached by addresses which no certificate knows.
#[tokio::test]
async fn a_name_set_beside_the_address_is_the_one_that_certificates_must_have() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Authority::new(directory.path(), "ca");
    let shared = ca.sign("shared", "*.metadata.esker.svc");
    let blocks = ScriptedBlocks::new([BlockAnswer::NotHere]);
    let parts = ServerParts::of_blocks(CLUSTER, blocks.clone());
    let serving = Serving::start(secured(shared.clone(), Some(&ca)), parts).await;
    let asked = |name: Option<&str>| {
        let mut tls = trusting(&ca, Some(shared.clone()));
        tls.server_name = name.map(|name| PeerName::parse(name).unwrap());
        let client = BlocksClient::start(|config| config.tls = Some(tls));
        async move {
            let told = client
                .ask(serving.address, question(0, BlockAsk::Hot))
                .await;
            client.stop().await;
            told
        }
    };

    let held = asked(Some("pod-0.metadata.esker.svc")).await;
    let other = asked(Some("pod-0.metadata.other.svc")).await;
    let by_address = asked(None).await;

    assert_eq!(held, Ok(BlockAnswer::NotHere));
    assert_eq!(other, Err(BlockError::NotConnected));
    assert_eq!(by_address, Err(BlockError::NotConnected));
    assert_eq!(blocks.asked(), 1);
    serving.stop().await;
}

#[test]
fn a_name_is_of_dns_or_an_address() {
    for good in [
        "a",
        "pod-0.metadata.esker.svc.cluster.local",
        "10.1.2.3",
        "::1",
    ] {
        assert!(PeerName::parse(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "*.metadata.esker",
        "a b",
        "pod:9094",
        "[::1]",
        &"a".repeat(254),
    ] {
        assert!(PeerName::parse(bad).is_none(), "{bad}");
    }
}

#[tokio::test]
async fn without_a_ca_clients_need_no_certificate_and_check_the_servers_name() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Authority::new(directory.path(), "ca");
    let server = ca.sign("server", "metadata.esker");
    let service = service();
    let serving = Serving::start(secured(server, None), parts(&service)).await;
    let named = ClientTls {
        server_name: PeerName::parse("metadata.esker"),
        ..trusting(&ca, None)
    };

    let (good, _) = ask(client(&serving, Some(named))).await;
    let (misnamed, why) = ask(client(&serving, Some(trusting(&ca, None)))).await;

    assert_eq!(good, Ok(id()));
    assert_eq!(misnamed, Err(MetadataError::Unavailable));
    assert!(is_tls(&why), "{why:?}");
    serving.stop().await;
}

/// The system's clock, set forward by hand.
#[derive(Debug)]
struct AheadClock {
    clock: SystemClock,
    seconds: AtomicU64,
}

impl Clock for AheadClock {
    fn now(&self) -> MonotonicTime {
        let ahead = Duration::from_secs(self.seconds.load(Ordering::Relaxed));
        self.clock.now().after(ahead)
    }

    fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }
}

#[tokio::test]
async fn renewed_certificates_are_taken_up_and_broken_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let old = Authority::new(directory.path(), "old");
    let new = Authority::new(directory.path(), "new");
    let clock = Arc::new(AheadClock {
        clock: SystemClock::new(),
        seconds: AtomicU64::new(0),
    });
    let env = Env {
        clock: clock.clone(),
        ..Env::system()
    };
    let service = service();
    let server_config = secured(old.sign("server", "127.0.0.1"), None);
    let server = RemoteServer::bind(server_config, parts(&service), env);
    let server = server.await.unwrap();
    let address = server.address();
    let (stop, shutdown) = Shutdown::new();
    let mut tasks = TaskGroup::new("server of a test");
    tasks.spawn(server.run(shutdown));
    let trusted_by = |ca: &Authority| {
        let mut client_config = config(&[address], CLUSTER);
        client_config.tls = Some(trusting(ca, None));
        Client::start(client_config)
    };
    let age = CERTIFICATES_AGE_MAX.as_secs();

    let (before, _) = ask(trusted_by(&old)).await;
    new.sign("server", "127.0.0.1");
    let (early, _) = ask(trusted_by(&new)).await;
    clock.seconds.fetch_add(age + 1, Ordering::Relaxed);
    let (renewed, _) = ask(trusted_by(&new)).await;
    std::fs::write(directory.path().join("server.crt"), "no certificate").unwrap();
    clock.seconds.fetch_add(age + 1, Ordering::Relaxed);
    let (broken, _) = ask(trusted_by(&new)).await;

    assert_eq!(before, Ok(id()));
    assert_eq!(
        early,
        Err(MetadataError::Unavailable),
        "the old ones are in force still"
    );
    assert_eq!(renewed, Ok(id()));
    assert_eq!(broken, Ok(id()), "what was read before stays in force");
    stop.request();
    tasks.join_all().await.unwrap();
}

async fn bind(server_config: ServerConfig) -> Result<RemoteServer, BindError> {
    RemoteServer::bind(server_config, parts(&service()), Env::system()).await
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_told_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Authority::new(directory.path(), "ca");
    let one = ca.sign("one", "127.0.0.1");
    let other = ca.sign("other", "127.0.0.1");
    let missing = Identity {
        key: directory.path().join("nowhere"),
        ..one.clone()
    };
    let long = Identity {
        key: directory.path().join("long"),
        ..one.clone()
    };
    std::fs::write(&long.key, vec![b'x'; PEM_BYTES_MAX + 1]).unwrap();
    let empty = Identity {
        certificate: one.key.clone(),
        ..one.clone()
    };
    let mixed = Identity {
        key: other.key,
        ..one.clone()
    };

    let missing = bind(secured(missing, None)).await.unwrap_err();
    let long = bind(secured(long, None)).await.unwrap_err();
    let empty = bind(secured(empty, None)).await.unwrap_err();
    let mixed = bind(secured(mixed, None)).await.unwrap_err();

    assert!(
        matches!(missing, BindError::Tls(TlsError::Read { .. })),
        "{missing:?}"
    );
    assert!(
        matches!(long, BindError::Tls(TlsError::TooLong { .. })),
        "{long:?}"
    );
    assert!(
        matches!(empty, BindError::Tls(TlsError::NoPem { .. })),
        "{empty:?}"
    );
    assert!(
        matches!(mixed, BindError::Tls(TlsError::Unusable { .. })),
        "{mixed:?}"
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_at_the_start() {
    let serving = Serving::of(&service(), CLUSTER).await;

    let taken = bind(ServerConfig::new(serving.address, CLUSTER))
        .await
        .unwrap_err();

    assert!(matches!(taken, BindError::Listen { .. }), "{taken:?}");
    serving.stop().await;
}

#[tokio::test]
async fn a_client_whose_own_certificates_cannot_be_read_says_so() {
    let serving = Serving::of(&service(), CLUSTER).await;
    let nowhere = ClientTls {
        ca: PathBuf::from("nowhere.pem"),
        identity: None,
        server_name: None,
    };

    let (answer, condition) = ask(client(&serving, Some(nowhere))).await;

    assert_eq!(answer, Err(MetadataError::Unavailable));
    assert!(
        matches!(&condition, PeerCondition::Failed(why)
            if matches!(**why, ConnectError::Certificates(TlsError::Read { .. }))),
        "{condition:?}"
    );
    serving.stop().await;
}
