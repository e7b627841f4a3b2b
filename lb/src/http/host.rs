//! The one canonical host of a request: what routes are looked up by. Pure.
//!
//! Everything that could make us and a server behind us see different hosts is refused here, by name.

use std::borrow::Cow;

use hyper::http::request::Parts;
use hyper::http::{HeaderMap, HeaderValue, Version, header};

use crate::authority;

/// Longest host name that DNS allows.
const MAX_NAME: usize = 253;

/// Why a request has no usable host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHost {
    #[error("Host header missing")]
    Missing,
    #[error("more than one Host header")]
    Several,
    #[error("Host header and request target name different hosts")]
    Mismatch,
    #[error("host name of {0} bytes, at most 253 are allowed")]
    TooLong(usize),
    #[error("host name contains {0:?}")]
    Character(char),
    #[error("host has a port that is no number from 1 to 65535")]
    Port,
    #[error("host is no valid IPv6 address in brackets")]
    Address,
}

/// Host as sent with its port, lower-case, without trailing dot. Empty for HTTP/1.0 without one.
pub(crate) fn canonical(request: &Parts) -> Result<Cow<'_, str>, BadHost> {
    let sent = single(&request.headers)?;
    let target = request.uri.authority().map(hyper::http::uri::Authority::as_str);
    let host = match (sent, target) {
        (None, _) if request.version >= Version::HTTP_11 => return Err(BadHost::Missing),
        (None, None) => return Ok(Cow::Borrowed("")),
        (None, Some(target)) => target,
        (Some(sent), None) => text(sent)?,
        (Some(sent), Some(target)) => {
            let sent = text(sent)?;
            if !sent.eq_ignore_ascii_case(target) {
                return Err(BadHost::Mismatch);
            }
            sent
        }
    };
    checked(host)
}

fn single(headers: &HeaderMap) -> Result<Option<&HeaderValue>, BadHost> {
    let mut sent = headers.get_all(header::HOST).iter();
    match (sent.next(), sent.next()) {
        (first, None) => Ok(first),
        _ => Err(BadHost::Several),
    }
}

fn text(value: &HeaderValue) -> Result<&str, BadHost> {
    value.to_str().map_err(|_| {
        let odd = value
            .as_bytes()
            .iter()
            .find(|byte| !(b' '..=b'~').contains(*byte));
        BadHost::Character(odd.map_or('\u{fffd}', |byte| char::from(*byte)))
    })
}

/// `host` (with or without port) in its canonical form.
pub(crate) fn checked(host: &str) -> Result<Cow<'_, str>, BadHost> {
    if is_plain(host) {
        return Ok(Cow::Borrowed(host));
    }
    let (name, port) = authority::split(host);
    if let Some(port) = port {
        let valid = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if !valid || port.parse::<u16>().is_ok_and(|port| port == 0) || port.parse::<u16>().is_err() {
            return Err(BadHost::Port);
        }
    }
    if let Some(address) = name.strip_prefix('[') {
        let address = address.strip_suffix(']').ok_or(BadHost::Address)?;
        address
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_| BadHost::Address)?;
    } else {
        if name.len() > MAX_NAME {
            return Err(BadHost::TooLong(name.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if let Some(odd) = name.chars().find(|c| !allowed(*c)) {
            return Err(BadHost::Character(odd));
        }
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.len() == name.len() && !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Cow::Borrowed(host));
    }
    let mut canonical = bare.to_ascii_lowercase();
    if let Some(port) = port {
        canonical.push(':');
        canonical.push_str(port);
    }
    Ok(Cow::Owned(canonical))
}

/// Most are names of small letters without a port, which one look at each byte tells.
fn is_plain(host: &str) -> bool {
    let plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    host.len() <= MAX_NAME && !host.ends_with('.') && host.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(uri: &str, hosts: &[&str]) -> Result<String, BadHost> {
        let mut request = hyper::Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        canonical(&parts).map(Cow::into_owned)
    }

    #[test]
    fn a_host_is_lower_case_without_trailing_dot_and_keeps_its_port() {
        for (sent, canonical) in [
            ("example.com", "example.com"),
            ("Example.COM.", "example.com"),
            ("example.com.:8080", "example.com:8080"),
            ("nginx-80.web_1", "nginx-80.web_1"),
            ("10.0.0.1:9999", "10.0.0.1:9999"),
            ("[::1]:80", "[::1]:80"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(host_of("/", &[sent]).as_deref(), Ok(canonical), "{sent}");
        }
    }

    #[test]
    fn doubtful_hosts_are_refused_by_name() {
        let long = "a".repeat(254);
        for (sent, why) in [
            ("a@b", BadHost::Character('@')),
            ("a/b", BadHost::Character('/')),
            ("a b", BadHost::Character(' ')),
            ("a\u{e9}", BadHost::Character('\u{c3}')),
            ("a:b", BadHost::Port),
            ("a:", BadHost::Port),
            ("a:0", BadHost::Port),
            ("a:99999", BadHost::Port),
            ("a:1:2", BadHost::Character(':')),
            ("[::1", BadHost::Address),
            ("[x]", BadHost::Address),
            (long.as_str(), BadHost::TooLong(254)),
        ] {
            assert_eq!(host_of("/", &[sent]), Err(why), "{sent}");
        }
        assert_eq!(host_of("/", &[]), Err(BadHost::Missing));
        assert_eq!(host_of("/", &["a", "a"]), Err(BadHost::Several));
    }

    #[test]
    fn an_absolute_target_must_agree_with_the_host_header() {
        assert_eq!(host_of("http://a.com/x", &["A.com"]).as_deref(), Ok("a.com"));
        assert_eq!(host_of("http://a.com/x", &["b.com"]), Err(BadHost::Mismatch));
        assert_eq!(host_of("http://a.com/x", &[]), Err(BadHost::Missing));
    }
}
