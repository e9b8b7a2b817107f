//! The HTTP client below `object_store`: turns every answer but a success into an error of ours.
//!
//! So the status is never lost or re-read by the library, and a 200 with an error in its body
//! (which S3 may send) is no success.

use std::future::Future;
use std::pin::Pin;

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

/// Makes the clients.
#[derive(Debug, Default)]
pub(super) struct CheckedConnector {
    inner: ReqwestConnector,
}

impl HttpConnector for CheckedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = self.inner.connect(options)?;
        Ok(HttpClient::new(CheckedTransport { inner }))
    }
}

#[derive(Debug)]
struct CheckedTransport {
    inner: HttpClient,
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
