//! One run of a gRPC check: a connection of its own, one call of `grpc.health.v1.Health/Check`.
//!
//! Question and answer have one field each, so the few bytes of them are written and read here.

use std::fmt;

use bytes::{Buf as _, Bytes};
use catalog::Status;
use catalog::check::GrpcProbe;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::Outcome;
use super::connect::{self, Fault, Stream, reason};
use super::tcp::patience;
use super::tls::Trust;

/// An answer is two bytes long; whoever sends more than this means something else.
const MOST_BODY: usize = 4096;
/// Before each message: whether it is compressed, and how long it is.
const FRAME_HEAD: usize = 5;
/// gRPC's code for a call that went well.
const OK: &str = "0";

pub(super) async fn run(probe: &GrpcProbe, trust: &Trust) -> Outcome {
    let patience = patience(probe.timeout);
    // As Consul's users know it: the service behind a slash.
    let target = match probe.service.as_str() {
        "" => probe.address.clone(),
        service => format!("{}/{service}", probe.address),
    };
    match timeout(patience, ask(probe, trust)).await {
        Ok(Ok(Serving::Yes)) => Outcome {
            status: Status::Passing,
            output: format!("gRPC check {target}: success"),
        },
        Ok(Ok(other)) => Outcome::critical(format!("gRPC check {target}: {other}")),
        Ok(Err(fault)) => Outcome::critical(format!("gRPC check {target}: {}", reason(fault.as_ref()))),
        Err(_) => Outcome::critical(format!("gRPC check {target}: no answer within {patience:?}")),
    }
}

/// `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serving {
    Yes,
    /// Any other number.
    No(u64),
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("SERVING"),
            Self::No(0) => f.write_str("UNKNOWN"),
            Self::No(2) => f.write_str("NOT_SERVING"),
            Self::No(3) => f.write_str("SERVICE_UNKNOWN"),
            Self::No(other) => write!(f, "serving status {other}"),
        }
    }
}

async fn ask(probe: &GrpcProbe, trust: &Trust) -> Result<Serving, Fault> {
    let tls = connect::Tls::wanted(probe.tls, probe.tls_skip_verify);
    let stream = connect::open(&probe.address, tls, trust).await?;
    let (response, _connection) = call(probe, stream).await?;
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("answered {}, which no gRPC server does", head.status).into());
    }
    // A refusal may come without a body: then the head is all.
    judge(&head.headers)?;
    let body = Limited::new(body, MOST_BODY).collect().await?;
    judge(body.trailers().ok_or("the answer has no status")?)?;
    status_in(message(&body.to_bytes())?)
}

async fn call(
    probe: &GrpcProbe,
    stream: Box<dyn Stream>,
) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), Fault> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "connection of a check ended");
        }
    });
    let scheme = if probe.tls { "https" } else { "http" };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!(
            "{scheme}://{}/grpc.health.v1.Health/Check",
            probe.address
        ))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "Consul Health Check")
        .body(Full::new(question(&probe.service)))?;
    let connection = AbortOnDropHandle::new(connection);
    Ok((sender.send_request(request).await?, connection))
}

/// `HealthCheckRequest { service }` in its frame; a field that is empty is not sent.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, of known length.
        message.push(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        message.push(length.to_le_bytes()[0]);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).expect("an environment variable is shorter than 4 GiB");
    [&[0], &length.to_be_bytes()[..], &message].concat().into()
}

/// What headers or trailers say of the call; fine where they say nothing.
fn judge(headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    let Some(code) = text("grpc-status").filter(|code| code != OK) else {
        return Ok(());
    };
    let meaning = match &*code {
        "5" => " (NOT_FOUND: the server does not know this service)",
        "12" => " (UNIMPLEMENTED: the server has no health service)",
        _ => "",
    };
    let said = text("grpc-message").unwrap_or_default();
    let said = percent_encoding::percent_decode_str(&said)
        .decode_utf8_lossy()
        .into_owned();
    let colon = if said.is_empty() { "" } else { ": " };
    Err(format!("status {code}{meaning}{colon}{said}").into())
}

/// The message in its frame.
fn message(body: &Bytes) -> Result<&[u8], Fault> {
    let (mut head, rest) = body
        .split_at_checked(FRAME_HEAD)
        .ok_or("the answer has no message")?;
    if head.get_u8() != 0 {
        return Err("the answer is compressed, which was not asked for".into());
    }
    let length = head.get_u32() as usize;
    rest.get(..length).ok_or_else(|| "the answer is cut short".into())
}

/// Field 1 of `HealthCheckResponse`, a number; others are passed over. One that is not there is 0.
fn status_in(mut message: &[u8]) -> Result<Serving, Fault> {
    let mut status = 0;
    while !message.is_empty() {
        let key = number(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = number(&mut message)?,
            (_, 0) => _ = number(&mut message)?,
            (_, 1) => skip(&mut message, 8)?,
            (_, 2) => {
                let length = number(&mut message)?;
                skip(&mut message, length)?;
            }
            (_, 5) => skip(&mut message, 4)?,
            _ => return Err("the answer cannot be read".into()),
        }
    }
    Ok(if status == 1 {
        Serving::Yes
    } else {
        Serving::No(status)
    })
}

/// A number in groups of seven bits, the lowest first.
fn number(message: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = message.try_get_u8().map_err(|_| "the answer is cut short")?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("the answer cannot be read".into())
}

fn skip(message: &mut &[u8], length: u64) -> Result<(), Fault> {
    let length = usize::try_from(length)?;
    *message = message.get(length..).ok_or("the answer is cut short")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_question_is_framed_as_the_protocol_says() {
        assert_eq!(question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(question("ab")[..], [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
        // 200 takes two groups of seven bits.
        assert_eq!(question(&"x".repeat(200))[..8], [0, 0, 0, 0, 203, 10, 0xc8, 1]);
    }

    #[test]
    fn an_answer_is_read_whatever_else_stands_in_it() {
        let read = |message: &[u8]| status_in(message).ok();
        assert_eq!(read(&[8, 1]), Some(Serving::Yes));
        assert_eq!(read(&[]), Some(Serving::No(0)));
        assert_eq!(read(&[8, 2]), Some(Serving::No(2)));
        // Field 2 a text, field 3 a number, field 4 of four bytes, then the status.
        assert_eq!(
            read(&[18, 2, 7, 7, 24, 5, 37, 1, 2, 3, 4, 8, 1]),
            Some(Serving::Yes)
        );
        for cut in [&[8][..], &[18, 9, 1], &[11], &[8, 0x80]] {
            assert_eq!(read(cut), None, "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_that_mean_harm_end_in_an_error_or_a_status(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let body = Bytes::from(body);
            if let Ok(message) = message(&body) {
                status_in(message).ok();
            }
        }
    }
}
