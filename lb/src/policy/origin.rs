//! Who sent a request, behind proxies that are trusted. Pure.

use std::net::{IpAddr, SocketAddr};

use hyper::http::header::{self, HeaderMap, HeaderName};

use crate::config::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This address.
    Known(IpAddr),
    /// A trusted proxy says somebody, but nothing that is an address.
    Unknown,
}

impl Origin {
    /// The client of a request that came from `peer`. Where that is trusted: the last address in `X-Forwarded-For`,
    /// else in `Forwarded`, that is not trusted itself, since all before it is only claimed by that one. All of them
    /// trusted, or none said: the first.
    pub(crate) fn of(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let peer = peer.to_canonical();
        if !is_trusted(peer) {
            return Self::Known(peer);
        }
        let mut first = peer;
        for hop in hops(headers).into_iter().rev() {
            match hop {
                None => return Self::Unknown,
                Some(address) if is_trusted(address) => first = address,
                Some(address) => return Self::Known(address),
            }
        }
        Self::Known(first)
    }

    /// The address that stands for it: its own, or the peer's.
    pub(crate) fn or(self, peer: IpAddr) -> IpAddr {
        match self {
            Self::Known(address) => address,
            Self::Unknown => peer,
        }
    }
}

/// Whom the headers say it was forwarded for, the client first; `None`: not an address.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = |name: &HeaderName| {
        let lines = headers.get_all(name).iter();
        lines.map(|line| line.to_str().unwrap_or("?").to_owned())
    };
    let plain: Vec<String> = lines(&FORWARDED_FOR).collect();
    if !plain.is_empty() {
        return plain
            .iter()
            .flat_map(|line| line.split(','))
            .filter(|hop| !hop.trim().is_empty())
            .map(address)
            .collect();
    }
    let rich: Vec<String> = lines(&header::FORWARDED).collect();
    let whom = rich.iter().flat_map(|line| forwarded(line, "for"));
    whom.map(|whom| whom.and_then(address)).collect()
}

/// What each element of a `Forwarded` (RFC 7239) says under a name, if anything.
pub(crate) fn forwarded<'a>(line: &'a str, name: &str) -> impl Iterator<Item = Option<&'a str>> {
    let elements = split(line, ',').into_iter();
    elements
        .filter(|element| !element.trim().is_empty())
        .map(move |element| {
            split(element, ';').into_iter().find_map(|pair| {
                let (said, value) = pair.split_once('=')?;
                said.trim()
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim().trim_matches('"'))
            })
        })
}

/// Parts between separators that are not in quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .collect()
}

/// `10.0.0.1`, `10.0.0.1:80`, `::1`, `[::1]`, `[::1]:80`, each also in quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::http::HeaderValue;
    use proptest::proptest;

    use super::*;

    fn origin(peer: &str, lines: &[(&str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let trusted = crate::config::parse_networks("10.0.0.0/8,::1").unwrap();
        match Origin::of(peer.parse().unwrap(), &trusted, &headers) {
            Origin::Known(address) => address.to_string(),
            Origin::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn the_last_address_that_is_not_trusted_is_the_client() {
        let said = "x-forwarded-for";
        for (peer, lines, client) in [
            ("1.2.3.4", &[(said, "6.6.6.6")][..], "1.2.3.4"),
            ("::ffff:1.2.3.4", &[], "1.2.3.4"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(said, "6.6.6.6")], "6.6.6.6"),
            ("10.0.0.1", &[(said, "6.6.6.6, 7.7.7.7, 10.0.0.2")], "7.7.7.7"),
            ("10.0.0.1", &[(said, "6.6.6.6"), (said, "7.7.7.7")], "7.7.7.7"),
            ("10.0.0.1", &[(said, "10.0.0.7, 10.0.0.2")], "10.0.0.7"),
            ("10.0.0.1", &[(said, "7.7.7.7:4711")], "7.7.7.7"),
            ("::1", &[(said, "[2001:db8::1]:80")], "2001:db8::1"),
            ("10.0.0.1", &[(said, "::ffff:7.7.7.7")], "7.7.7.7"),
            ("10.0.0.1", &[(said, "7.7.7.7, unknown")], "unknown"),
            ("10.0.0.1", &[(said, "7.7.7.7, unknown, 10.0.0.2")], "unknown"),
            ("10.0.0.1", &[(said, "unknown, 7.7.7.7")], "7.7.7.7"),
            (
                "10.0.0.1",
                &[("forwarded", "for=6.6.6.6, for=7.7.7.7;proto=http")],
                "7.7.7.7",
            ),
            (
                "10.0.0.1",
                &[("forwarded", "proto=http;For=\"[2001:db8::1]:80\"")],
                "2001:db8::1",
            ),
            ("10.0.0.1", &[("forwarded", "for=_hidden")], "unknown"),
            ("10.0.0.1", &[("forwarded", "proto=http")], "unknown"),
            (
                "10.0.0.1",
                &[("forwarded", "for=6.6.6.6"), (said, "7.7.7.7")],
                "7.7.7.7",
            ),
        ] {
            assert_eq!(origin(peer, lines), client, "{peer} {lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_names_somebody_or_nobody(line in "[ -~]{0,60}") {
            origin("10.0.0.1", &[("x-forwarded-for", &line)]);
            origin("10.0.0.1", &[("forwarded", &line)]);
        }
    }
}
