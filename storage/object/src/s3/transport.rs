//! The HTTP client below `object_store`: turns every answer but a success into an error of ours.
//!
//! So the status is never lost or re-read by the library, and a 200 with an error in its body
//! (which S3 may send) is no success. On the way it notes what the store takes the time for.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use esker_env::Env;
use futures::StreamExt as _;
use http::{Method, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};

/// Bytes of an error's body that are looked at.
const ERROR_BODY_BYTES_MAX: usize = 16 * 1024;

/// The store answered with anything but success.
#[derive(Debug, thiserror::Error)]
#[error("store answered {status}: {body}")]
pub(super) struct StatusError {
    pub(super) status: StatusCode,
    /// S3's XML, cut at a limit.
    pub(super) body: String,
}

/// How far the store's clock is ahead of ours, by the `Date` of its last answer.
#[derive(Debug)]
pub(super) struct StoreClock {
    env: Env,
    ahead_ms: Mutex<Option<i64>>,
}

impl StoreClock {
    pub(super) fn new(env: Env) -> Self {
        Self {
            env,
            ahead_ms: Mutex::new(None),
        }
    }

    /// Milliseconds; a date has whole seconds, so half a second is nothing.
    pub(super) fn ahead_ms(&self) -> Option<i64> {
        *self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, response: &HttpResponse) {
        let date = response.headers().get(http::header::DATE);
        let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let since_1970 = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        let millis = since_1970.and_then(|since| i64::try_from(since.as_millis()).ok());
        if let Some(millis) = millis {
            let middle = millis.saturating_add(500);
            let ahead = middle.saturating_sub(self.env.clock.wall().millis());
            *self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        }
    }
}

/// Makes the clients.
#[derive(Debug)]
pub(super) struct CheckedConnector {
    inner: ReqwestConnector,
    clock: Arc<StoreClock>,
}

impl CheckedConnector {
    pub(super) fn new(clock: Arc<StoreClock>) -> Self {
        Self {
            inner: ReqwestConnector::default(),
            clock,
        }
    }
}

impl HttpConnector for CheckedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = self.inner.connect(options)?;
        let clock = Arc::clone(&self.clock);
        Ok(HttpClient::new(CheckedTransport { inner, clock }))
    }
}

#[derive(Debug)]
struct CheckedTransport {
    inner: HttpClient,
    clock: Arc<StoreClock>,
}

type Answered<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for CheckedTransport {
    fn call<'life0, 'async_trait>(&'life0 self, request: HttpRequest) -> Answered<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let is_put = *request.method() == Method::PUT;
            let response = self.inner.execute(request).await?;
            self.clock.note(&response);
            let status = response.status();
            if !status.is_success() {
                let body = error_body(response.into_body()).await;
                return Err(refused(status, body));
            }
            if !is_put {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let body = error_body(body).await;
            if body.contains("<Error>") {
                return Err(refused(StatusCode::INTERNAL_SERVER_ERROR, body));
            }
            Ok(HttpResponse::from_parts(parts, body.into()))
        })
    }
}

fn refused(status: StatusCode, body: String) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, StatusError { status, body })
}

/// What could be read of a short body. A broken one changes nothing: the status has come.
async fn error_body(body: HttpResponseBody) -> String {
    let mut bytes = Vec::new();
    let mut stream = body.bytes_stream();
    while let Some(Ok(chunk)) = stream.next().await {
        let room = ERROR_BODY_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() >= ERROR_BODY_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
