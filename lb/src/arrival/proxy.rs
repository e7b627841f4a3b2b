//! PROXY headers, versions 1 and 2, read and written: the first bytes of a connection say for whom it comes.
//!
//! Specification: `proxy-protocol.txt` of HAProxy. Pure: bytes in, verdict out; who is believed is decided by whoever
//! reads them.

use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};

use crate::table::options::ProxyHeader;

/// What every header of version 1 begins with.
const TEXT: &[u8] = b"PROXY ";
/// Longest header of version 1, its line end included.
const MOST_TEXT: usize = 107;
/// Fixed part of version 2; its last two bytes are the length of the rest.
const FIXED: usize = 16;
/// Longest rest of version 2 that is read. Addresses take 36 bytes, what else there may be is small.
const MOST_REST: usize = 4096;
/// Longest header of either version.
pub(crate) const MOST: usize = FIXED + MOST_REST;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// No header, whatever follows.
    Plain,
    /// Too few to tell.
    Undecided,
    /// A header that goes on.
    Begun,
    /// A whole header.
    Header {
        /// Its length; what follows is the client's.
        length: usize,
        /// Whom it names. `None`: the peer speaks for itself (`LOCAL`, `UNKNOWN`), or for no IP address.
        client: Option<SocketAddr>,
    },
    /// A header that is none.
    Broken,
}

/// Looks at the first bytes of a connection.
pub(crate) fn look(bytes: &[u8]) -> Look {
    if bytes.starts_with(TEXT) {
        return text(bytes);
    }
    if bytes.starts_with(v2::PROTOCOL_PREFIX) {
        return binary(bytes);
    }
    if TEXT.starts_with(bytes) || v2::PROTOCOL_PREFIX.starts_with(bytes) {
        return Look::Undecided;
    }
    Look::Plain
}

fn text(bytes: &[u8]) -> Look {
    let line = &bytes[..bytes.len().min(MOST_TEXT)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < MOST_TEXT {
            Look::Begun
        } else {
            Look::Broken
        };
    };
    let Ok(header) = v1::Header::try_from(&bytes[..=end]) else {
        return Look::Broken;
    };
    let client = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(it) => Some(SocketAddr::new(it.source_address.into(), it.source_port)),
        v1::Addresses::Tcp6(it) => Some(SocketAddr::new(it.source_address.into(), it.source_port)),
    };
    Look::Header {
        length: end + 1,
        client,
    }
}

fn binary(bytes: &[u8]) -> Look {
    let Some(length) = bytes.get(FIXED - 2..FIXED) else {
        return Look::Begun;
    };
    let length = FIXED + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length > MOST {
        return Look::Broken;
    }
    if bytes.len() < length {
        return Look::Begun;
    }
    let Ok(header) = v2::Header::try_from(&bytes[..length]) else {
        return Look::Broken;
    };
    let client = match (header.command, header.addresses) {
        (v2::Command::Local, _) => None,
        (_, v2::Addresses::IPv4(it)) => Some(SocketAddr::new(it.source_address.into(), it.source_port)),
        (_, v2::Addresses::IPv6(it)) => Some(SocketAddr::new(it.source_address.into(), it.source_port)),
        _ => None,
    };
    Look::Header { length, client }
}

/// A header that names `client`, who came to `local`.
pub(crate) fn header(version: ProxyHeader, client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let (client, local) = one_family(client, local);
    match version {
        ProxyHeader::V1 => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (client.ip(), local.ip());
            format!(
                "PROXY {family} {from} {to} {} {}\r\n",
                client.port(),
                local.port()
            )
            .into_bytes()
        }
        ProxyHeader::V2 => binary_header(client, local),
    }
}

fn binary_header(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    const VERSION_AND_PROXY: u8 = 0x21;
    const STREAM: u8 = 0x01;
    let (family, addresses) = match (client.ip(), local.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x10, [from.octets(), to.octets()].concat()),
        (from, to) => (0x20, [wide(from), wide(to)].concat()),
    };
    let ports = [client.port().to_be_bytes(), local.port().to_be_bytes()].concat();
    // 12 or 36.
    let length = u8::try_from(addresses.len() + ports.len()).unwrap_or(u8::MAX);
    let fixed = [VERSION_AND_PROXY, family | STREAM, 0, length];
    [v2::PROTOCOL_PREFIX, &fixed, &addresses, &ports].concat()
}

/// A header has one family for both addresses. IPv4 met through an IPv6 socket is IPv4; of two that differ (the client
/// was named by a header of its own) both become IPv6, as HAProxy does it.
fn one_family(client: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    let as_met = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let (client, local) = (as_met(client), as_met(local));
    if client.is_ipv4() == local.is_ipv4() {
        return (client, local);
    }
    let mapped = |addr: SocketAddr| SocketAddr::new(IpAddr::from(wide(addr.ip())), addr.port());
    (mapped(client), mapped(local))
}

fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::{collection, proptest};

    use super::*;

    const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_header_is_told_from_what_is_none_as_soon_as_it_differs() {
        for end in 0..6 {
            assert_eq!(look(&V1[..end]), Look::Undecided, "{end} bytes");
        }
        for end in 6..V1.len() {
            assert_eq!(look(&V1[..end]), Look::Begun, "{end} bytes");
        }
        let whole = Look::Header {
            length: V1.len(),
            client: Some(addr("192.0.2.7:4711")),
        };
        assert_eq!(look(V1), whole);
        assert_eq!(look(&[V1, b"GET / HTTP/1.1\r\n"].concat()), whole);
        for plain in [
            "G",
            "PUT / HTTP/1.1\r\n",
            "PROPFIND /",
            "\r\nGET /",
            "\u{16}\u{3}\u{1}",
            "PROXYX",
        ] {
            assert_eq!(look(plain.as_bytes()), Look::Plain, "{plain:?}");
        }
        assert_eq!(look(b"\r\n\r\n\0\r\n"), Look::Undecided);
    }

    #[test]
    fn what_begins_as_a_header_and_is_none_is_broken() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 100]].concat();
        let huge = [v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0xff, 0xff]].concat();
        let short = [v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat();
        let version = [v2::PROTOCOL_PREFIX, &[0x31, 0x11, 0, 0]].concat();
        let broken: [&[u8]; 7] = [
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n",
            &long,
            &huge,
            &short,
            &version,
        ];
        for bytes in broken {
            assert_eq!(look(bytes), Look::Broken, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_header_that_names_nobody_leaves_the_peer() {
        let nobody = |length| Look::Header { length, client: None };
        assert_eq!(look(b"PROXY UNKNOWN\r\n"), nobody(15));
        assert_eq!(look(b"PROXY UNKNOWN ::1 ::1 1 2\r\nhi"), nobody(27));
        let local = [v2::PROTOCOL_PREFIX, &[0x20, 0, 0, 0]].concat();
        assert_eq!(look(&local), nobody(16));
        let mut local_with_addresses = header(ProxyHeader::V2, addr("1.2.3.4:5"), addr("6.7.8.9:10"));
        local_with_addresses[12] = 0x20;
        assert_eq!(look(&local_with_addresses), nobody(28));
        let unix = [v2::PROTOCOL_PREFIX, &[0x21, 0x31, 0, 216], &[b'/'; 216]].concat();
        assert_eq!(look(&unix), nobody(232));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let pairs = [
            ("192.0.2.7:4711", "198.51.100.1:443", "192.0.2.7:4711"),
            ("[2001:db8::7]:4711", "[2001:db8::1]:443", "[2001:db8::7]:4711"),
            (
                "[::ffff:192.0.2.7]:4711",
                "[::ffff:198.51.100.1]:443",
                "192.0.2.7:4711",
            ),
            ("192.0.2.7:1", "[2001:db8::1]:443", "[::ffff:192.0.2.7]:1"),
        ];
        for (client, local, read) in pairs {
            for version in [ProxyHeader::V1, ProxyHeader::V2] {
                let written = header(version, addr(client), addr(local));
                let expected = Look::Header {
                    length: written.len(),
                    client: Some(addr(read)),
                };
                assert_eq!(look(&written), expected, "{}", written.escape_ascii());
            }
        }
        let written = header(ProxyHeader::V1, addr("192.0.2.7:4711"), addr("198.51.100.1:443"));
        assert_eq!(written, V1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(
            begin in 0..3_usize,
            rest in collection::vec(any::<u8>(), 0..300),
        ) {
            let begins: [&[u8]; 3] = [b"", TEXT, v2::PROTOCOL_PREFIX];
            let bytes = [begins[begin], &rest].concat();
            if let Look::Header { length, .. } = look(&bytes) {
                assert!(length <= bytes.len());
            }
        }

        #[test]
        fn any_pair_of_addresses_survives(from: SocketAddr, to: SocketAddr) {
            for version in [ProxyHeader::V1, ProxyHeader::V2] {
                let written = header(version, from, to);
                let Look::Header { length, client: Some(client) } = look(&written) else {
                    panic!("{}", written.escape_ascii());
                };
                assert_eq!(length, written.len());
                assert_eq!(client.ip().to_canonical(), from.ip().to_canonical());
                assert_eq!(client.port(), from.port());
            }
        }
    }
}
