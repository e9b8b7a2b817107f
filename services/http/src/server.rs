//! The router, its limits, and serving it until asked to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use esker_env::{Env, Shutdown};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::limits::{BODIES_BYTES_MAX, BODY_BYTES_MAX, REQUESTS_MAX};
use crate::parts::HttpParts;
use crate::problem::{Problem, ProblemKind};
use crate::{append, health, read, topics};

/// Settings of the HTTP front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Address and port to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Requests in progress, at most [`REQUESTS_MAX`] of them make sense.
    pub requests_max: usize,
    /// When stopping, wait this long for requests in progress.
    pub drain_timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            requests_max: REQUESTS_MAX,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {address}: is it in use? choose another with --http-listen")]
pub struct HttpListenError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// A bound HTTP front.
#[derive(Debug)]
pub struct HttpServer {
    socket: TcpListener,
    address: SocketAddr,
    config: HttpConfig,
    parts: HttpParts,
    env: Env,
}

/// All paths.
pub(crate) fn router(parts: HttpParts, requests_max: usize) -> Router {
    let places = Arc::new(Places {
        requests: Semaphore::new(requests_max),
        body_bytes: Semaphore::new(BODIES_BYTES_MAX),
    });
    let api = Router::new()
        .route("/topics", get(topics::list).post(topics::create))
        .route(
            "/topics/{name}",
            get(topics::describe).delete(topics::delete),
        )
        .route("/topics/{name}/records", post(append::append))
        .route(
            "/topics/{name}/partitions/{partition}/records",
            get(read::read),
        )
        .layer(from_fn_with_state(places, one_place));
    Router::new()
        .nest("/api/v1", api)
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(|| async { Problem::new(ProblemKind::NotFound, "see /api/v1/topics") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(plain_refusals))
        .with_state(parts)
}

/// Room for requests and for their bodies.
#[derive(Debug)]
struct Places {
    requests: Semaphore,
    body_bytes: Semaphore,
}

/// Bytes that the body may take: what it says, or all that is allowed when it does not say.
fn body_bytes(request: &Request) -> u32 {
    let most = u32::try_from(BODY_BYTES_MAX).unwrap_or(u32::MAX);
    if matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::DELETE
    ) {
        return 0;
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u32>().ok());
    length.map_or(most, |length| length.min(most))
}

/// Health is answered always; the rest only while there is a place.
async fn one_place(State(places): State<Arc<Places>>, request: Request, next: Next) -> Response {
    let body = places.body_bytes.try_acquire_many(body_bytes(&request));
    match (places.requests.try_acquire(), body) {
        (Ok(_place), Ok(_body)) => next.run(request).await,
        _ => Problem::new(ProblemKind::Overloaded, "come back a little later").into_response(),
    }
}

/// What axum itself refuses becomes a problem document too.
async fn plain_refusals(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let is_document = response
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    let kind = match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::TooLarge,
        StatusCode::METHOD_NOT_ALLOWED => ProblemKind::MethodNotAllowed,
        StatusCode::BAD_REQUEST => ProblemKind::BadRequest,
        _ => return response,
    };
    if is_document {
        return response;
    }
    let detail = match kind {
        ProblemKind::TooLarge => format!("a body has at most {BODY_BYTES_MAX} bytes"),
        _ => format!("{path} was not understood"),
    };
    Problem::new(kind, detail).into_response()
}

impl HttpServer {
    /// Binds the address. Nothing is answered until [`Self::run`].
    ///
    /// # Errors
    /// [`HttpListenError`].
    pub async fn bind(
        config: HttpConfig,
        parts: HttpParts,
        env: Env,
    ) -> Result<Self, HttpListenError> {
        let address = config.listen;
        let listening = async {
            let socket = TcpListener::bind(address).await?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let bound: Result<_, std::io::Error> = listening.await;
        let (socket, address) = bound.map_err(|source| HttpListenError { address, source })?;
        Ok(Self {
            socket,
            address,
            config,
            parts,
            env,
        })
    }

    /// The address listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until asked to stop, then waits for requests in progress, within bounds.
    pub async fn run(self, shutdown: Shutdown) {
        let router = router(self.parts, self.config.requests_max);
        let stop = shutdown.clone();
        let serving = axum::serve(self.socket, router)
            .with_graceful_shutdown(async move { stop.requested().await });
        let clock = Arc::clone(&self.env.clock);
        let limit = self.config.drain_timeout;
        let drained = async {
            shutdown.requested().await;
            clock.sleep(limit).await;
        };
        tokio::select! {
            served = serving.into_future() => {
                if let Err(error) = served {
                    tracing::error!(%error, "http front ended");
                }
            }
            () = drained => tracing::warn!("http requests cut at the drain limit"),
        }
    }
}
