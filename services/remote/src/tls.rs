//! TLS of both sides from PEM files: rustls over aws-lc-rs, as everywhere here.
//!
//! Files that change are taken up for new connections, a server's within
//! [`CERTIFICATES_AGE_MAX`](crate::limits::CERTIFICATES_AGE_MAX), a client's at its next dial; old
//! connections go on. Files that cannot be read leave what was read before in force.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use esker_env::Clock;
use esker_types::MonotonicTime;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::limits::{CERTIFICATES_AGE_MAX, PEM_BYTES_MAX};

const ALPN: &[u8] = b"h2";

/// A certificate with its chain, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM file of the certificate, those that signed it behind it.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// TLS of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Who the server is.
    pub identity: Identity,
    /// PEM file of who signs clients' certificates: then each client must show one.
    pub ca: Option<PathBuf>,
}

/// What a certificate must be for: a DNS name without wildcards, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerName(ServerName<'static>);

impl PeerName {
    /// `None`: it is neither, and no certificate can be for it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ServerName::try_from(text.to_owned()).ok().map(Self)
    }
}

/// TLS of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM file of who signs servers' certificates.
    pub ca: PathBuf,
    /// Who the client is, for servers that ask.
    pub identity: Option<Identity>,
    /// The name that servers' certificates must have; `None`: the host of the address dialled.
    pub server_name: Option<PeerName>,
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file is too long to be a certificate or a key.
    #[error("{} has more than {PEM_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file without what should be in it.
    #[error("{} holds no certificate or key in PEM form", path.display())]
    NoPem {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("set up TLS from {}", path.display())]
    Unusable {
        /// File of the certificate.
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
}

/// What stands in the files of one side.
#[derive(Debug, PartialEq, Eq)]
struct Pems {
    identity: Option<(Vec<u8>, Vec<u8>)>,
    ca: Option<Vec<u8>>,
}

impl Pems {
    async fn read(identity: Option<&Identity>, ca: Option<&Path>) -> Result<Self, TlsError> {
        let identity = match identity {
            Some(identity) => {
                let certificate = read(&identity.certificate).await?;
                Some((certificate, read(&identity.key).await?))
            }
            None => None,
        };
        let ca = match ca {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        Ok(Self { identity, ca })
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    let bound = u64::try_from(PEM_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bounded = file.take(bound.saturating_add(1));
    bounded.read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() > PEM_BYTES_MAX {
        return Err(TlsError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn certificates(bytes: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.unwrap_or_default();
    if found.is_empty() {
        return Err(TlsError::NoPem {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn private_key(bytes: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| TlsError::NoPem {
        path: path.to_owned(),
    })
}

fn roots(bytes: &[u8], path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bytes, path)? {
        let added = roots.add(certificate);
        added.map_err(|source| TlsError::Unusable {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(roots)
}

fn acceptor(tls: &ServerTls, pems: &Pems) -> Result<TlsAcceptor, TlsError> {
    let identity = &tls.identity;
    let unusable = |source| TlsError::Unusable {
        path: identity.certificate.clone(),
        source,
    };
    let empty = (Vec::new(), Vec::new());
    let (certificate, key) = pems.identity.as_ref().unwrap_or(&empty);
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match (&tls.ca, &pems.ca) {
        (Some(path), Some(bytes)) => {
            let roots = Arc::new(roots(bytes, path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            // It fails without any root only, and there is one.
            builder.with_client_cert_verifier(
                verifier.map_err(|_| TlsError::NoPem { path: path.clone() })?,
            )
        }
        _ => builder.with_no_client_auth(),
    };
    let chain = certificates(certificate, &identity.certificate)?;
    let key = private_key(key, &identity.key)?;
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A server's TLS, as its files are now.
#[derive(Debug)]
pub(crate) struct Acceptor {
    tls: ServerTls,
    clock: Arc<dyn Clock>,
    current: Mutex<Current>,
}

struct Current {
    pems: Pems,
    acceptor: TlsAcceptor,
    read_at: MonotonicTime,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl Acceptor {
    pub(crate) async fn open(tls: ServerTls, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let pems = Pems::read(Some(&tls.identity), tls.ca.as_deref()).await?;
        let current = Current {
            acceptor: acceptor(&tls, &pems)?,
            pems,
            read_at: clock.now(),
        };
        Ok(Self {
            tls,
            clock,
            current: Mutex::new(current),
        })
    }

    /// Makes a connection of `stream`.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<server::TlsStream<TcpStream>> {
        self.look_again().await;
        let acceptor = self.lock().acceptor.clone();
        acceptor.accept(stream).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_again(&self) {
        let now = self.clock.now();
        {
            let mut current = self.lock();
            if now.since(current.read_at) < CERTIFICATES_AGE_MAX {
                return;
            }
            // One reader at a time is enough; the others use what there is.
            current.read_at = now;
        }
        let read = Pems::read(Some(&self.tls.identity), self.tls.ca.as_deref()).await;
        let renewed = read.and_then(|pems| {
            if pems == self.lock().pems {
                return Ok(None);
            }
            Ok(Some((acceptor(&self.tls, &pems)?, pems)))
        });
        match renewed {
            Ok(None) => {}
            Ok(Some((acceptor, pems))) => {
                let mut current = self.lock();
                current.acceptor = acceptor;
                current.pems = pems;
                tracing::info!("certificates of the internal api were renewed");
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "certificates of the internal api stay as they were");
            }
        }
    }
}

/// A client's TLS, read from its files now.
pub(crate) async fn connector(tls: &ClientTls) -> Result<TlsConnector, TlsError> {
    let pems = Pems::read(tls.identity.as_ref(), Some(&tls.ca)).await?;
    let roots = roots(pems.ca.as_deref().unwrap_or_default(), &tls.ca)?;
    let unusable = |path: &Path| {
        let path = path.to_owned();
        |source| TlsError::Unusable { path, source }
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable(&tls.ca))?
        .with_root_certificates(roots);
    let mut config = match (&tls.identity, &pems.identity) {
        (Some(identity), Some((certificate, key))) => {
            let chain = certificates(certificate, &identity.certificate)?;
            let key = private_key(key, &identity.key)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(unusable(&identity.certificate))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Makes a connection to `address`, over `stream`.
pub(crate) async fn connect(
    connector: &TlsConnector,
    tls: &ClientTls,
    address: &str,
    stream: TcpStream,
) -> io::Result<client::TlsStream<TcpStream>> {
    let name = match &tls.server_name {
        Some(PeerName(name)) => name.clone(),
        None => ServerName::try_from(host(address).to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
    };
    connector.connect(name, stream).await
}

fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
