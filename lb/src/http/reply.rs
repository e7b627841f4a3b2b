//! What a client reads: servers' answers on their way, and ours.

use bytes::Bytes;
use hyper::Response;
use hyper::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::body::AnswerBody;
use super::error::Refusal;
use super::exchange::{End, Exchange};
use super::headers::{self, Sight};
use super::{Answered, Client, grpc};
use crate::policy::gzip::{self, Wish};
use crate::policy::{page, rewrite};
use crate::upstream::{Answer, Lease};

/// For clients that meet a service without a healthy instance, or a want of ours.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

impl Client {
    /// A server's answer, as it goes to the client.
    pub(super) fn relay(&self, answer: Answer, lease: Lease, wish: Wish, mut exchange: Exchange) -> Answered {
        exchange.answered(answer.status());
        let answer = match answer {
            Answer::Read(answer) => answer,
            Answer::Plain(plain, body) => {
                return Answered {
                    plain: Some(plain),
                    ..Answered::of(Response::new(AnswerBody::relay(body, lease, exchange)))
                };
            }
        };
        let (mut parts, body) = answer.into_parts();
        exchange.said(&parts.headers);
        let sight = Sight::of(&parts.headers);
        headers::drop_hop_by_hop(&mut parts.headers, sight, &[]);
        if sight.trailer {
            headers::trailers::announce_answer(&mut parts.headers);
        }
        self.stamp(&mut parts.headers);
        if let Some(options) = exchange.options() {
            rewrite::apply(&mut parts.headers, &options.response_headers);
        }
        let config = self.worker.config();
        let types = config.gzip.types.as_ref();
        let compress =
            types.is_some_and(|types| gzip::prepare(types, wish, parts.status, &mut parts.headers));
        let body = AnswerBody::relay(body, lease, exchange);
        let body = if compress { body.compressed() } else { body };
        Answered::of(Response::from_parts(parts, body))
    }

    /// Shown to an ACME authority, which then vouches for the host (RFC 8555, 8.3).
    pub(super) fn prove(&self, proof: &str, exchange: Exchange) -> Response<AnswerBody> {
        text(StatusCode::OK, (PLAIN, proof.to_owned().into()), exchange)
    }

    pub(super) fn redirect(
        &self,
        status: StatusCode,
        location: HeaderValue,
        exchange: Exchange,
    ) -> Response<AnswerBody> {
        self.worker.counters.redirected(status.as_u16());
        let link = exchange
            .is_read()
            .then(|| page::redirect(status, location.to_str().unwrap_or_default()));
        let page = (page::HTML, link.unwrap_or_default().into());
        let mut answer = text(status, page, exchange);
        let headers = answer.headers_mut();
        headers.insert(header::LOCATION, location);
        self.stamp(headers);
        answer
    }

    pub(super) fn refuse(&self, refusal: &Refusal, exchange: Exchange) -> Response<AnswerBody> {
        let worker = &self.worker;
        let status = refusal.status(worker.config().no_route_status);
        match refusal {
            Refusal::NoRoute => exchange.unrouted(),
            Refusal::Loop => worker.counters.loops.add(1),
            Refusal::Unavailable => worker.counters.unavailable.add(1),
            Refusal::Denied(denial) => denial.count(&worker.counters),
            Refusal::Upstream(_) | Refusal::Rewrite(_) => {}
            _ => worker.counters.bad_requests.add(1),
        }
        tracing::debug!(peer = %self.addr, %status, why = %refusal, "request refused");
        if exchange.is_call() {
            return refuse_call(refusal, status, exchange);
        }
        let mut answer = match refusal {
            Refusal::NoRoute => self.no_route(status, exchange),
            refusal => text(status, (PLAIN, refusal.text()), exchange),
        };
        let headers = answer.headers_mut();
        match refusal {
            passing if passing.is_passing() => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            Refusal::Denied(denial) => denial.head(headers),
            _ => {}
        }
        self.stamp(headers);
        answer
    }

    /// hyper could not read a request and has answered so, in a status without words. Nobody else has seen it.
    pub(super) fn unread(&self, error: &hyper::Error) {
        self.worker.counters.bad_requests.add(1);
        let mut exchange = Exchange::unread(self.worker.clone(), self.addr, self.tally.clone());
        if self.arrival.tls.is_some() {
            exchange.over_tls();
        }
        exchange.answered(if error.is_parse_too_large() {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        });
        exchange.finish(0, End::Complete);
    }

    /// The operator's page, or a line of text.
    fn no_route(&self, status: StatusCode, exchange: Exchange) -> Response<AnswerBody> {
        let page = self.worker.no_route();
        if page.is_empty() {
            return text(status, (PLAIN, Refusal::NoRoute.text()), exchange);
        }
        let page = (page::HTML, Bytes::copy_from_slice(page.as_bytes()));
        text(status, page, exchange)
    }

    /// What every answer says, ours and others'.
    fn stamp(&self, headers: &mut HeaderMap) {
        self.worker
            .gate()
            .policy
            .stamp
            .answer(headers, self.arrival.tls.is_some());
    }
}

/// In log and metrics it has the status that it would have had without gRPC.
fn refuse_call(refusal: &Refusal, status: StatusCode, mut exchange: Exchange) -> Response<AnswerBody> {
    exchange.answered(status);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, grpc::APPLICATION);
    headers.insert(grpc::STATUS, u16::from(grpc::code(refusal, status)).into());
    headers.insert(grpc::MESSAGE, grpc::message(refusal));
    exchange.said(&headers);
    let mut answer = Response::new(AnswerBody::text(Bytes::new(), exchange));
    *answer.headers_mut() = headers;
    answer
}

/// Statuses that operators choose may be such that have no body, and so neither type nor length. That an answer of 205 is
/// over, which HTTP/1.1 has to be told, is said by hyper.
fn text(
    status: StatusCode,
    (kind, text): (HeaderValue, Bytes),
    mut exchange: Exchange,
) -> Response<AnswerBody> {
    use StatusCode as S;
    exchange.answered(status);
    let length = text.len();
    let has_body = !matches!(status, S::NO_CONTENT | S::RESET_CONTENT | S::NOT_MODIFIED);
    // hyper would never ask for a body that HEAD has no use for, which looks like a client that left.
    let text = if exchange.is_head() || !has_body {
        Bytes::new()
    } else {
        text
    };
    let mut answer = Response::new(AnswerBody::text(text, exchange));
    *answer.status_mut() = status;
    if has_body {
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    answer
}
