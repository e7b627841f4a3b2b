//! gRPC: how its calls are known, what they are routed by, and how a refusal is said in its words. Pure.
//!
//! A client of gRPC reads the status from trailers, so a refusal of ours is HTTP 200 with `grpc-status` beside it
//! and no body ("Trailers-Only" of gRPC's protocol over HTTP/2).

use std::fmt::Write;

use hyper::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::{StatusCode, Version};

use crate::http::error::Refusal;

/// Metadata of fabio's.
const DST_HOST: HeaderName = HeaderName::from_static("dsthost");
/// What the answer to a call says it is.
pub(crate) const APPLICATION: HeaderValue = HeaderValue::from_static("application/grpc");
pub(crate) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Is this request a call? gRPC-Web is not: it is HTTP to everybody on the way.
pub(crate) fn is_call(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_2
        && headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let rest = kind.as_bytes().strip_prefix(b"application/grpc");
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
        })
}

/// The host that a call is routed by instead of `:authority`, where its metadata names exactly one.
pub(crate) fn destination(request: &Parts) -> Option<&str> {
    if !is_call(request.version, &request.headers) {
        return None;
    }
    let mut named = request.headers.get_all(DST_HOST).iter();
    match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

/// Status of gRPC for a refusal that HTTP would give `status`.
pub(crate) fn code(refusal: &Refusal, status: StatusCode) -> u8 {
    if matches!(refusal, Refusal::NoRoute) {
        return 5;
    }
    match status {
        StatusCode::BAD_REQUEST => 3,
        StatusCode::GATEWAY_TIMEOUT => 4,
        StatusCode::NOT_FOUND => 5,
        StatusCode::FORBIDDEN => 7,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => 8,
        StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::LOOP_DETECTED => 13,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::UNAUTHORIZED => 16,
        _ => 2,
    }
}

/// Text of a refusal for `grpc-message`; fabio's where it has one.
pub(crate) fn message(refusal: &Refusal) -> HeaderValue {
    match refusal {
        Refusal::NoRoute => HeaderValue::from_static("no route found"),
        // Another server's page is nothing for a line of text.
        Refusal::Denied(denial) => percent_encoded(denial.to_string().as_bytes()),
        refusal => percent_encoded(&refusal.text()),
    }
}

fn percent_encoded(text: &[u8]) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.trim_ascii() {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => encoded.push(char::from(*byte)),
            _ => write!(encoded, "%{byte:02X}").expect("writing to a String never fails"),
        }
    }
    HeaderValue::from_str(&encoded).expect("made of visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_version_and_type() {
        for (version, kind, expected) in [
            (Version::HTTP_2, "application/grpc", true),
            (Version::HTTP_2, "application/grpc+proto", true),
            (Version::HTTP_2, "application/grpc; x=y", true),
            (Version::HTTP_2, "application/grpc-web", false),
            (Version::HTTP_2, "application/json", false),
            (Version::HTTP_11, "application/grpc", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(is_call(version, &headers), expected, "{version:?} {kind}");
        }
        assert!(!is_call(Version::HTTP_2, &HeaderMap::new()));
    }

    #[test]
    fn a_message_is_encoded_where_it_must_be() {
        assert_eq!(percent_encoded(b"100% of \xc3\xa9\n"), "100%25 of %C3%A9");
    }
}
