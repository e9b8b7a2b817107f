//! One request through the proxy: classify, count, strike or forward, shape, answer.
//!
//! An error from `handle` closes the client's connection without an answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use esker_env::{Env, Rng};
use esker_types::MonotonicTime;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, EXPECT, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;

use super::decisions::{Decision, DecisionLog, Decisions};
use super::listing;
use super::report::{Counts, FaultCount, Finished, StoreOperation, class_of};
use super::rules::{ActiveRule, Seen};
use super::serve::LateWork;
use super::upstream::{Body, Link, full};
use super::{Profile, Reply, Rule, ShapedFault, ShaperConfig, ShaperReport};

/// Bytes of a body that a fault needs as a whole.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Recent puts that are remembered for stale listings.
const RECENT_PUTS_MAX: usize = 100_000;
const CONTROL_PREFIX: &str = "/__shaper/";

/// What all connections share.
#[derive(Debug)]
pub(super) struct State {
    upstream: SocketAddr,
    profile: Profile,
    seed: u64,
    env: Env,
    latency_rng: Rng,
    fault_rng: Rng,
    late: mpsc::Sender<LateWork>,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    counts: Counts,
    rules: Vec<ActiveRule>,
    rules_since: MonotonicTime,
    recent_puts: BTreeMap<String, MonotonicTime>,
    decisions: Decisions,
}

/// A request, classified.
struct Asked {
    method: Method,
    operation: StoreOperation,
    key: String,
    body_bytes: u64,
    start: MonotonicTime,
}

impl Asked {
    fn of(request: &Request<Incoming>, start: MonotonicTime) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| {
            query
                .split('&')
                .any(|part| part.split('=').next() == Some(name))
        };
        let path = request.uri().path().trim_start_matches('/');
        let key = path.split_once('/').map_or("", |(_, key)| key);
        let operation = match *request.method() {
            Method::PUT if !key.is_empty() => StoreOperation::Put,
            Method::GET if has("list-type") => StoreOperation::List,
            Method::GET if !key.is_empty() => StoreOperation::Get,
            Method::HEAD => StoreOperation::Head,
            Method::DELETE => StoreOperation::Delete,
            _ => StoreOperation::Other,
        };
        let key = match operation {
            StoreOperation::List => list_prefix(query),
            _ => key.to_owned(),
        };
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            method: request.method().clone(),
            operation,
            key,
            body_bytes: length.unwrap_or(0),
            start,
        }
    }
}

fn list_prefix(query: &str) -> String {
    let value = query
        .split('&')
        .find_map(|part| part.strip_prefix("prefix="));
    value.unwrap_or_default().replace("%2F", "/")
}

impl State {
    pub(super) fn new(config: &ShaperConfig, env: Env, late: mpsc::Sender<LateWork>) -> Self {
        let state = Self {
            upstream: config.upstream,
            profile: config.profile,
            seed: config.seed,
            latency_rng: env.rng.stream("latency"),
            fault_rng: env.rng.stream("faults"),
            env,
            late,
            shared: Mutex::new(Shared {
                counts: Counts::default(),
                rules: Vec::new(),
                rules_since: MonotonicTime::default(),
                recent_puts: BTreeMap::new(),
                decisions: Decisions::default(),
            }),
        };
        state.set_rules(config.rules.clone());
        state
    }

    pub(super) fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_rules(&self, rules: Vec<Rule>) {
        let now = self.env.clock.now();
        let mut shared = self.lock();
        shared.rules = rules.into_iter().map(ActiveRule::new).collect();
        shared.rules_since = now;
    }

    pub(super) fn reset(&self) {
        let mut shared = self.lock();
        shared.counts = Counts::default();
        for active in &mut shared.rules {
            active.reset();
        }
    }

    pub(super) fn report(&self) -> ShaperReport {
        let shared = self.lock();
        let faults = shared.rules.iter().map(|active| FaultCount {
            name: active.rule.name.clone(),
            kind: active.rule.fault.label().to_owned(),
            matched: active.matched,
            struck: active.struck,
        });
        ShaperReport {
            seed: self.seed,
            profile: self.profile.to_string(),
            requests: shared.counts.requests(),
            latencies: shared.counts.latencies(),
            faults: faults.collect(),
        }
    }

    pub(super) fn decisions(&self) -> DecisionLog {
        self.lock().decisions.log(self.seed)
    }

    pub(super) async fn handle(
        &self,
        link: &Arc<Link>,
        request: Request<Incoming>,
    ) -> anyhow::Result<Response<Body>> {
        if request.uri().path().starts_with(CONTROL_PREFIX) {
            return self.control(request).await;
        }
        let asked = Asked::of(&request, self.env.clock.now());
        let fault = self.strike(&asked);
        let mut count = Uncounted {
            state: self,
            asked: &asked,
            answer: None,
        };
        let answer = self.answer(link, request, &asked, fault).await;
        if let Ok(response) = &answer {
            let length = response.headers().get(CONTENT_LENGTH);
            let length = length
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .unwrap_or(0);
            count.answer = Some((response.status().as_u16(), length));
        }
        answer
    }

    fn strike(&self, asked: &Asked) -> Option<ShapedFault> {
        let now = self.env.clock.now();
        let mut shared = self.lock();
        let age = now.since(shared.rules_since);
        let seen = Seen {
            method: asked.method.as_str(),
            operation: asked.operation,
            key: &asked.key,
        };
        let mut rules = shared.rules.iter_mut();
        let struck = rules.find_map(|active| {
            let fault = active.strike(seen, age, &self.fault_rng)?;
            Some((active.rule.name.clone(), fault))
        });
        let (rule, fault) = struck?;
        let (seed, key) = (self.seed, &asked.key);
        tracing::info!(kind = fault.label(), %key, method = %asked.method, seed, "fault");
        shared.decisions.push(Decision {
            millis: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            rule,
            kind: fault.label().to_owned(),
            method: asked.method.to_string(),
            key: asked.key.clone(),
        });
        Some(fault)
    }

    async fn answer(
        &self,
        link: &Arc<Link>,
        request: Request<Incoming>,
        asked: &Asked,
        fault: Option<ShapedFault>,
    ) -> anyhow::Result<Response<Body>> {
        let shaped = self
            .profile
            .draw(&self.latency_rng, asked.operation, asked.body_bytes);
        let response = match fault {
            None => self.forward(link, request).await?,
            Some(fault) => self.faulty(link, request, asked, fault).await?,
        };
        let length = response.body().size_hint_exact();
        let elapsed = self.env.clock.now().since(asked.start);
        let wait = (shaped + self.profile.body_time(length)).saturating_sub(elapsed);
        if !wait.is_zero() {
            self.env.clock.sleep(wait).await;
        }
        if asked.operation == StoreOperation::Put && response.status().is_success() {
            self.remember_put(asked);
        }
        Ok(response)
    }

    fn remember_put(&self, asked: &Asked) {
        let now = self.env.clock.now();
        let mut shared = self.lock();
        if shared.recent_puts.len() >= RECENT_PUTS_MAX {
            shared.recent_puts.clear();
        }
        shared.recent_puts.insert(asked.key.clone(), now);
    }

    async fn forward(
        &self,
        link: &Arc<Link>,
        request: Request<Incoming>,
    ) -> anyhow::Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(EXPECT);
        let body = body.map_err(anyhow::Error::from).boxed_unsync();
        let response = link.send(Request::from_parts(parts, body)).await?;
        Ok(response.map(|body| body.map_err(anyhow::Error::from).boxed_unsync()))
    }

    /// Every fault but none. The request's body is read first, so that the client can hear.
    async fn faulty(
        &self,
        link: &Arc<Link>,
        request: Request<Incoming>,
        asked: &Asked,
        fault: ShapedFault,
    ) -> anyhow::Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(EXPECT);
        let body = collect(body).await?;
        match fault {
            ShapedFault::Fb { reply } => reply_with(reply).await,
            ShapedFault::Fa { reply } => {
                drop(execute(link, parts, body).await?);
                reply_with(reply).await
            }
            ShapedFault::Hold { millis, reply } => {
                self.later(parts, body, millis).await?;
                reply_with(reply).await
            }
            ShapedFault::Dup { millis } => {
                self.later(parts.clone(), body.clone(), millis).await?;
                execute(link, parts, body).await
            }
            ShapedFault::Slow {
                latency_millis,
                bytes_per_second,
            } => {
                let latency = Duration::from_millis(latency_millis);
                self.slow(
                    link,
                    Request::from_parts(parts, body),
                    latency,
                    bytes_per_second,
                )
                .await
            }
            ShapedFault::Trunc if asked.operation == StoreOperation::Put => {
                let half = body.slice(..body.len() / 2);
                parts
                    .headers
                    .insert(CONTENT_LENGTH, HeaderValue::from(half.len()));
                execute(link, parts, half).await
            }
            ShapedFault::Trunc
            | ShapedFault::Short
            | ShapedFault::Flip
            | ShapedFault::UnordList
            | ShapedFault::StaleList { .. } => {
                self.damaged(execute(link, parts, body).await?, fault).await
            }
            ShapedFault::NoCond => {
                for name in ["if-match", "if-none-match"] {
                    parts.headers.remove(name);
                }
                execute(link, parts, body).await
            }
            ShapedFault::C409 { effect } => {
                if effect {
                    drop(execute(link, parts, body).await?);
                }
                Ok(error_reply(
                    StatusCode::CONFLICT,
                    "ConditionalRequestConflict",
                ))
            }
            ShapedFault::OkErr => Ok(success_with_error()),
            ShapedFault::Clock { seconds } => {
                self.at_another_time(execute(link, parts, body).await?, seconds)
            }
            ShapedFault::Cred { expired } => Ok(if expired {
                error_reply(StatusCode::BAD_REQUEST, "ExpiredToken")
            } else {
                error_reply(StatusCode::FORBIDDEN, "AccessDenied")
            }),
        }
    }

    /// The answer of a store whose clock is so many seconds ahead.
    fn at_another_time(
        &self,
        mut response: Response<Body>,
        seconds: i64,
    ) -> anyhow::Result<Response<Body>> {
        let now_ms = self.env.clock.wall().millis();
        let millis = now_ms.saturating_add(seconds.saturating_mul(1000));
        let since_1970 = Duration::from_millis(u64::try_from(millis)?);
        let date = httpdate::fmt_http_date(UNIX_EPOCH + since_1970);
        response
            .headers_mut()
            .insert(DATE, HeaderValue::try_from(date)?);
        Ok(response)
    }

    async fn slow(
        &self,
        link: &Link,
        request: Request<Bytes>,
        latency: Duration,
        bytes_per_second: Option<u64>,
    ) -> anyhow::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let sent = latency + thin(body.len(), bytes_per_second);
        self.env.clock.sleep(sent).await;
        let (parts, body) = received(execute(link, parts, body).await?).await?;
        let clock = &self.env.clock;
        clock.sleep(thin(body.len(), bytes_per_second)).await;
        Ok(Response::from_parts(parts, full(body)))
    }

    /// The store's answer, made worse on its way out.
    async fn damaged(
        &self,
        response: Response<Body>,
        fault: ShapedFault,
    ) -> anyhow::Result<Response<Body>> {
        let (mut parts, body) = received(response).await?;
        let body = match fault {
            ShapedFault::Trunc => cut_short(body.slice(..body.len() / 2)),
            ShapedFault::Short => resized(&mut parts, body.slice(..body.len() / 2)),
            ShapedFault::UnordList => {
                let page = String::from_utf8_lossy(&body);
                resized(&mut parts, listing::shuffle(&page, &self.fault_rng))
            }
            ShapedFault::StaleList { millis } => {
                let page = self.stale(&String::from_utf8_lossy(&body), millis);
                resized(&mut parts, page)
            }
            _ => full(flipped(&body)),
        };
        Ok(Response::from_parts(parts, body))
    }

    fn stale(&self, page: &str, millis: u64) -> String {
        let now = self.env.clock.now();
        let window = Duration::from_millis(millis);
        let shared = self.lock();
        let is_new = |key: &str| {
            shared
                .recent_puts
                .get(key)
                .is_some_and(|at| now.since(*at) < window)
        };
        listing::hide(page, is_new)
    }

    /// Hands the request to the task that delivers late.
    async fn later(&self, parts: Parts, body: Bytes, millis: u64) -> anyhow::Result<()> {
        let wait = self.env.clock.sleep(Duration::from_millis(millis));
        let link = Link::new(self.upstream);
        let work = async move {
            wait.await;
            match execute(&link, parts, body).await {
                Ok(response) => tracing::info!(status = %response.status(), "delivered late"),
                Err(error) => tracing::warn!(error = ?error, "late delivery failed"),
            }
        };
        match self.late.send(Box::pin(work)).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("the proxy is stopping"),
        }
    }

    async fn control(&self, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
        let path = request.uri().path().to_owned();
        let json = |value: String| {
            let mut response = Response::new(full(value));
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        };
        match (request.method().as_str(), path.as_str()) {
            ("GET", "/__shaper/report") => Ok(json(serde_json::to_string(&self.report())?)),
            ("GET", "/__shaper/decisions") => Ok(json(serde_json::to_string(&self.decisions())?)),
            ("POST", "/__shaper/reset") => {
                self.reset();
                Ok(json("{}".to_owned()))
            }
            ("POST", "/__shaper/rules") => {
                let body = collect(request.into_body()).await?;
                match serde_json::from_slice(&body) {
                    Ok(rules) => {
                        self.set_rules(rules);
                        Ok(json("{}".to_owned()))
                    }
                    Err(error) => {
                        let text = serde_json::json!({ "error": error.to_string() }).to_string();
                        let mut response = json(text);
                        *response.status_mut() = StatusCode::BAD_REQUEST;
                        Ok(response)
                    }
                }
            }
            _ => Ok(error_reply(StatusCode::NOT_FOUND, "NoSuchControl")),
        }
    }
}

/// Counts the request when it ends, also when the client gives up on it.
struct Uncounted<'a> {
    state: &'a State,
    asked: &'a Asked,
    /// Status and length of the answer.
    answer: Option<(u16, u64)>,
}

impl Drop for Uncounted<'_> {
    fn drop(&mut self) {
        let asked = self.asked;
        let bytes = self
            .answer
            .map_or(0, |(_, length)| length)
            .max(asked.body_bytes);
        let elapsed = self.state.env.clock.now().since(asked.start);
        self.state.lock().counts.record(Finished {
            operation: asked.operation,
            class: class_of(&asked.key),
            status: self.answer.map(|(status, _)| status),
            bytes,
            elapsed,
        });
    }
}

trait ExactSize {
    fn size_hint_exact(&self) -> u64;
}

impl ExactSize for Body {
    fn size_hint_exact(&self) -> u64 {
        hyper::body::Body::size_hint(self).exact().unwrap_or(0)
    }
}

async fn collect(body: Incoming) -> anyhow::Result<Bytes> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) => bail!("body could not be read whole: {error}"),
    }
}

async fn execute(link: &Link, parts: Parts, body: Bytes) -> anyhow::Result<Response<Body>> {
    let response = link.send(Request::from_parts(parts, full(body))).await?;
    Ok(response.map(|body| body.map_err(anyhow::Error::from).boxed_unsync()))
}

async fn received(
    response: Response<Body>,
) -> anyhow::Result<(hyper::http::response::Parts, Bytes)> {
    let (parts, body) = response.into_parts();
    Ok((parts, body.collect().await?.to_bytes()))
}

fn thin(body_bytes: usize, bytes_per_second: Option<u64>) -> Duration {
    let body_bytes = u64::try_from(body_bytes).unwrap_or(u64::MAX);
    match bytes_per_second {
        Some(speed) if speed > 0 => Duration::from_millis(body_bytes.saturating_mul(1000) / speed),
        Some(_) | None => Duration::ZERO,
    }
}

fn flipped(body: &Bytes) -> Vec<u8> {
    let mut bytes = body.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes
}

/// A body and the header that tells its length.
fn resized(parts: &mut hyper::http::response::Parts, body: impl Into<Bytes>) -> Body {
    let body = body.into();
    let length = HeaderValue::from(body.len());
    parts.headers.insert(CONTENT_LENGTH, length);
    full(body)
}

/// A body that breaks off: the connection ends before the promised length.
fn cut_short(bytes: Bytes) -> Body {
    let frames = futures::stream::iter([Ok(Frame::data(bytes))]);
    let broken = futures::stream::once(async { Err(anyhow::anyhow!("cut on purpose")) });
    StreamBody::new(frames.chain(broken)).boxed_unsync()
}

async fn reply_with(reply: Reply) -> anyhow::Result<Response<Body>> {
    match reply {
        Reply::Code(code) => {
            let status = StatusCode::from_u16(code).context("a rule asks for an odd status")?;
            let name = match code {
                403 => "AccessDenied",
                404 => "NoSuchKey",
                412 => "PreconditionFailed",
                503 => "SlowDown",
                _ => "InternalError",
            };
            Ok(error_reply(status, name))
        }
        Reply::Rst => bail!("closed on purpose"),
        Reply::Hang => std::future::pending().await,
    }
}

fn success_with_error() -> Response<Body> {
    let mut reply = error_reply(StatusCode::OK, "InternalError");
    let tag = HeaderValue::from_static("\"0\"");
    reply.headers_mut().insert(ETAG, tag);
    reply
}

fn error_reply(status: StatusCode, code: &str) -> Response<Body> {
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
