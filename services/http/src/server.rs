//! The router, its limits, and serving it until asked to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use esker_env::{Env, Shutdown};
use tokio::net::TcpListener;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::connection::Connections;
use crate::front::{Front, Places};
use crate::limits::{CONNECTIONS_MAX, REQUESTS_MAX};
use crate::parts::HttpParts;
use crate::problem::{Problem, ProblemKind};
use crate::v3::V3Error;
use crate::{append, configs, groups, health, openapi, read, topics, v3};

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
pub(crate) fn router(front: Arc<Front>) -> Router {
    let limited = |front: &Arc<Front>| from_fn_with_state(Arc::clone(front), one_place);
    let native = OpenApiRouter::new()
        .routes(routes!(topics::list, topics::create))
        .routes(routes!(topics::describe, topics::delete))
        .routes(routes!(configs::list, configs::change, configs::replace))
        .routes(routes!(append::append))
        .routes(routes!(append::append_one, read::read))
        .routes(routes!(groups::list))
        .routes(routes!(groups::describe))
        .routes(routes!(groups::offsets, groups::set))
        .routes(routes!(groups::reset))
        .layer(limited(&front));
    let described = OpenApiRouter::with_openapi(openapi::Described::openapi())
        .nest("/api/v1", native)
        .nest("/v3", confluent().layer(limited(&front)));
    let (router, document) = described.split_for_parts();
    let document = openapi::finished(document);
    let text = document.to_pretty_json().unwrap_or_default();
    // The same under the path that Confluent's server has; described once.
    let (alias, _) = confluent().layer(limited(&front)).split_for_parts();
    let served = Router::new()
        .route("/openapi.json", get(openapi::serve))
        .with_state(openapi::Served(Arc::new(text)));
    router
        .nest("/kafka/v3", alias)
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(|| async { Problem::new(ProblemKind::NotFound, "see /openapi.json") })
        .layer(DefaultBodyLimit::disable())
        .with_state(front)
        .merge(served)
        .layer(from_fn(plain_refusals))
}

fn confluent() -> OpenApiRouter<Arc<Front>> {
    OpenApiRouter::new()
        .routes(routes!(v3::resources::clusters))
        .routes(routes!(v3::resources::cluster))
        .routes(routes!(v3::resources::topics, v3::resources::create_topic))
        .routes(routes!(v3::resources::topic, v3::resources::delete_topic))
        .routes(routes!(v3::resources::partitions))
        .routes(routes!(v3::resources::partition))
        .routes(routes!(v3::resources::configs))
        .routes(routes!(v3::resources::config))
        .routes(routes!(v3::records::produce))
}

/// Health is answered always; the rest only while there is a place.
async fn one_place(State(front): State<Arc<Front>>, mut request: Request, next: Next) -> Response {
    let is_v3 = is_confluent(request.uri().path());
    let place = match front.places.request() {
        Ok(place) => place,
        Err(problem) => return told(problem, is_v3),
    };
    request.extensions_mut().insert(place.clone());
    let response = next.run(request).await;
    drop(place);
    response
}

fn is_confluent(path: &str) -> bool {
    path.starts_with("/v3/") || path.starts_with("/kafka/v3/")
}

fn told(problem: Problem, is_v3: bool) -> Response {
    match is_v3 {
        true => V3Error::from(problem).into_response(),
        false => problem.into_response(),
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
        StatusCode::METHOD_NOT_ALLOWED => ProblemKind::MethodNotAllowed,
        StatusCode::BAD_REQUEST => ProblemKind::BadRequest,
        _ => return response,
    };
    if is_document {
        return response;
    }
    let allowed = response.headers().get(header::ALLOW).cloned();
    let problem = Problem::new(kind, format!("{path} was not understood"));
    let mut response = told(problem, is_confluent(&path));
    if let Some(allowed) = allowed {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
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
        let front = Arc::new(Front {
            parts: self.parts,
            env: self.env.clone(),
            shutdown: shutdown.clone(),
            places: Places::new(self.config.requests_max),
        });
        let connections = Connections {
            router: router(front),
            clock: Arc::clone(&self.env.clock),
            shutdown,
            connections_max: CONNECTIONS_MAX,
        };
        connections
            .serve(self.socket, self.config.drain_timeout)
            .await;
    }
}
