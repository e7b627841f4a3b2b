//! From what workers recorded to spans at a collector: OTLP over HTTP, in batches, on a task of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::http::{HeaderName, HeaderValue, Uri};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::{Lost, Traced};
use crate::access_log::{Record, Upstreamed};
use crate::authority;
use crate::config;

/// Requests in one export, about.
const BATCH: usize = 512;
/// Longest that a request waits for others to go with.
const GATHER: Duration = Duration::from_millis(500);
/// Longest that an export may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same when we are about to end.
const GOODBYE: Duration = Duration::from_secs(1);
/// Pauses after exports that failed: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Why traces cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum BadTraces {
    /// The collector's address is none.
    #[error("tracing.otlp.endpoint: {0:?} is no URL: it is for example http://localhost:4318/v1/traces")]
    Endpoint(String),
    /// The header cannot be one.
    #[error("tracing.otlp.header: {0:?} is no header: it is 'Name: value'")]
    Header(String),
    /// The exporter refuses for a reason of its own.
    #[error("tracing.otlp.endpoint: {0}")]
    Exporter(String),
}

/// The way to a collector.
#[derive(Debug)]
pub(crate) struct Exporter {
    exporter: SpanExporter,
    scope: InstrumentationScope,
}

impl Exporter {
    /// `None`: nothing is to be exported. Connects with the first export.
    pub(crate) fn of(traces: &config::Traces) -> Result<Option<Self>, BadTraces> {
        let Some(endpoint) = &traces.endpoint else {
            return Ok(None);
        };
        let other = |error: &dyn std::error::Error| BadTraces::Exporter(error.to_string());
        let mut builder = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new().map_err(|error| other(&error))?)
            .with_endpoint(url(endpoint)?)
            .with_timeout(PATIENCE)
            // Between two tries the exporter would put the whole thread to sleep; ours are further apart, below.
            .with_retry_policy(RetryPolicy::disabled());
        if let Some((name, value)) = &traces.header {
            let fine = HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value.reveal()).is_ok();
            if !fine {
                return Err(BadTraces::Header(name.clone()));
            }
            let header = (name.clone(), value.reveal().to_owned());
            builder = builder.with_headers([header].into());
        }
        let mut exporter = builder.build().map_err(|error| other(&error))?;
        let resource = Resource::builder_empty().with_service_name(traces.service.clone());
        exporter.set_resource(&resource.build());
        Ok(Some(Self {
            exporter,
            scope: InstrumentationScope::builder("lictor")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }))
    }

    /// Exports until `stop`, and then what is left.
    pub(crate) async fn run(
        self,
        mut recorded: mpsc::Receiver<Vec<Traced>>,
        lost: Arc<Lost>,
        stop: CancellationToken,
    ) {
        let mut pause = PAUSES.0;
        let mut failing = false;
        while let Some(batch) = gather(&mut recorded, &stop).await {
            let patience = if stop.is_cancelled() { GOODBYE } else { PATIENCE };
            let spans: Vec<SpanData> = batch
                .iter()
                .flat_map(|traced| traced.to_spans(&self.scope))
                .collect();
            let count = spans.len() as u64;
            let error = match timeout(patience, self.exporter.export(spans)).await {
                Ok(Ok(())) => {
                    (pause, failing) = (PAUSES.0, false);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it took too long".to_owned(),
            };
            lost.exports.fetch_add(1, Relaxed);
            lost.spans.fetch_add(count, Relaxed);
            // Once, not with each batch.
            if !std::mem::replace(&mut failing, true) {
                tracing::warn!(error, "spans are lost: the collector does not take them");
            }
            // Meanwhile the queue fills, and what finds no room is dropped.
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// What is there, after a moment for others to come. `None`: stopped, and nothing is left.
async fn gather(recorded: &mut mpsc::Receiver<Vec<Traced>>, stop: &CancellationToken) -> Option<Vec<Traced>> {
    let mut batch = tokio::select! {
        first = recorded.recv() => first?,
        () = stop.cancelled() => recorded.try_recv().ok()?,
    };
    let more = async {
        while batch.len() < BATCH {
            match recorded.recv().await {
                Some(more) => batch.extend(more),
                None => return,
            }
        }
    };
    tokio::select! {
        _ = timeout(GATHER, more) => {}
        () = stop.cancelled() => {}
    }
    while batch.len() < BATCH
        && let Ok(more) = recorded.try_recv()
    {
        batch.extend(more);
    }
    Some(batch)
}

/// A collector that is given without a path is asked where OTLP has its traces.
fn url(endpoint: &str) -> Result<String, BadTraces> {
    let bad = || BadTraces::Endpoint(endpoint.to_owned());
    let url: Uri = endpoint.parse().map_err(|_| bad())?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err(bad());
    }
    if url.path() == "/" && url.query().is_none() {
        return Ok(format!("{}/v1/traces", endpoint.trim_end_matches('/')));
    }
    Ok(endpoint.to_owned())
}

impl Traced {
    /// Spans that it makes.
    pub(super) fn spans(&self) -> usize {
        1 + usize::from(self.active.sent.is_some())
    }

    fn to_spans(&self, scope: &InstrumentationScope) -> Vec<SpanData> {
        let mut spans = vec![self.server(scope)];
        spans.extend(self.client(scope));
        spans
    }

    /// The request as we served it.
    fn server(&self, scope: &InstrumentationScope) -> SpanData {
        let Self { active, ending } = self;
        let Record {
            scheme, host, uri, ..
        } = &ending.record;
        let mut attributes = vec![
            KeyValue::new("url.scheme", *scheme),
            KeyValue::new("url.path", uri.path().to_owned()),
            KeyValue::new("server.address", host.clone()),
            KeyValue::new("client.address", ending.record.remote.ip().to_string()),
            KeyValue::new("client.port", i64::from(ending.record.remote.port())),
            KeyValue::new("network.protocol.version", version(ending.record.version)),
            // fabio's names.
            KeyValue::new("http.method", ending.record.method.as_str().to_owned()),
            KeyValue::new("http.url", format!("{scheme}://{host}{}", path_and_query(uri))),
            KeyValue::new("http.status_code", i64::from(ending.record.status)),
        ];
        if let Some(query) = uri.query() {
            attributes.push(KeyValue::new("url.query", query.to_owned()));
        }
        if !active.route.is_empty() {
            attributes.push(KeyValue::new("http.route", active.route.clone()));
        }
        let mut span = self.span(scope, (SpanKind::Server, active.server), attributes);
        span.parent_span_id = id(active.parent.unwrap_or(0));
        span.parent_span_is_remote = active.parent.is_some();
        if ending.record.status >= 500 || ending.broken {
            span.status = self.error();
        }
        span
    }

    /// The request as we asked a target.
    fn client(&self, scope: &InstrumentationScope) -> Option<SpanData> {
        let Self { active, ending } = self;
        let (sent, target) = active.sent.zip(ending.record.upstream.as_ref())?;
        let Upstreamed {
            scheme,
            authority,
            uri,
            ..
        } = target;
        let (_, port) = authority::split(authority);
        let mut attributes = vec![
            KeyValue::new(
                "url.full",
                format!("{scheme}://{authority}{}", path_and_query(uri)),
            ),
            KeyValue::new("server.address", authority::name(authority).to_owned()),
            KeyValue::new("peer.service", target.service.to_string()),
        ];
        if let Some(port) = port.and_then(|port| port.parse::<i64>().ok()) {
            attributes.push(KeyValue::new("server.port", port));
        }
        if active.attempts > 1 {
            let again = i64::from(active.attempts - 1);
            attributes.push(KeyValue::new("http.request.resend_count", again));
        }
        let mut span = self.span(scope, (SpanKind::Client, active.client), attributes);
        span.parent_span_id = id(active.server);
        span.start_time = sent;
        if ending.record.status >= 400 || ending.broken {
            span.status = self.error();
        }
        Some(span)
    }

    /// What both have in common.
    fn span(
        &self,
        scope: &InstrumentationScope,
        (kind, span): (SpanKind, u64),
        mut attributes: Vec<KeyValue>,
    ) -> SpanData {
        let Self { active, ending } = self;
        let Record {
            method, ended, took, ..
        } = &ending.record;
        let name = match &*active.route {
            "" => method.to_string(),
            route => format!("{method} {route}"),
        };
        attributes.push(KeyValue::new("http.request.method", method.to_string()));
        attributes.push(KeyValue::new(
            "http.response.status_code",
            i64::from(ending.record.status),
        ));
        if let Some(status) = ending.grpc {
            attributes.push(KeyValue::new("rpc.grpc.status_code", i64::from(status)));
        }
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(active.trace.to_be_bytes()),
                id(span),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: kind,
            name: name.into(),
            start_time: ended.checked_sub(*took).unwrap_or(*ended),
            end_time: *ended,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope.clone(),
        }
    }

    fn error(&self) -> Status {
        Status::error(if self.ending.broken {
            "the target broke off".to_owned()
        } else {
            format!("status {}", self.ending.record.status)
        })
    }
}

fn id(span: u64) -> SpanId {
    SpanId::from_bytes(span.to_be_bytes())
}

fn version(version: hyper::Version) -> &'static str {
    match version {
        hyper::Version::HTTP_2 => "2",
        hyper::Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |both| both.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_without_a_path_is_asked_where_otlp_has_its_traces() {
        for (endpoint, asked) in [
            ("http://c:4318", Some("http://c:4318/v1/traces")),
            ("https://c:4318/", Some("https://c:4318/v1/traces")),
            ("http://c/x?y", Some("http://c/x?y")),
            ("c:4318", None),
            ("grpc://c:4317", None),
            ("", None),
        ] {
            assert_eq!(url(endpoint).ok().as_deref(), asked, "{endpoint}");
        }
    }
}
