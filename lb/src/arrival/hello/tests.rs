//! ClientHellos as rustls writes them, cut, spread and broken.

use std::sync::Arc;

use proptest::prelude::any;
use proptest::{collection, proptest};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// As rustls writes it.
fn hello(name: &str, protocols: usize) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = (0..protocols)
        .map(|number| format!("{number:0>200}").into_bytes())
        .collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// The same message in records of at most `size` bytes.
fn spread(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_at_checked(RECORD_HEAD) {
        let (fragment, after) = after.split_at(usize::from(u16::from_be_bytes([head[3], head[4]])));
        message.extend_from_slice(fragment);
        rest = after;
    }
    let record = |fragment: &[u8]| {
        let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 3, 1], &length[..], fragment].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

/// A message with this body.
fn record(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    spread_one(&[&[CLIENT_HELLO], &length[1..], body].concat())
}

fn spread_one(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&[HANDSHAKE, 3, 1], &length[..], message].concat()
}

/// The body of a ClientHello with these extensions.
fn body(extensions: &[u8]) -> Vec<u8> {
    let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    [
        &[3, 3],
        &[7; 32][..],
        &[0, 0, 2, 0x13, 1, 1, 0],
        &length,
        extensions,
    ]
    .concat()
}

/// A server_name extension.
fn naming(name: &[u8]) -> Vec<u8> {
    let length = |plus: usize| u16::try_from(name.len() + plus).unwrap().to_be_bytes();
    [&[0, 0], &length(5)[..], &length(3), &[0], &length(0), name].concat()
}

fn named(name: &str) -> Hello {
    Hello::For(name.into())
}

#[test]
fn a_name_is_found_however_the_hello_is_cut_and_spread() {
    let whole = hello("Db.Example.Com", 0);
    assert_eq!(look(&whole), named("db.example.com"));
    for size in [1, 2, 3, 7, 100, RECORD] {
        let bytes = spread(&whole, size);
        assert_eq!(look(&bytes), named("db.example.com"), "records of {size}");
        for end in 0..bytes.len() {
            assert_eq!(look(&bytes[..end]), Hello::More, "{end} bytes, records of {size}");
        }
        let early = [&bytes[..], b"\x17\x03\x03\x00\x01x"].concat();
        assert_eq!(look(&early), named("db.example.com"), "early data follows");
    }
}

#[test]
fn a_long_hello_is_read_and_an_endless_one_is_refused() {
    let long = hello("a.b", 100);
    assert!(long.len() > RECORD);
    assert_eq!(look(&long), named("a.b"));
    assert_eq!(
        look(&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff]),
        Hello::Not("it is too long")
    );
    // A record for each byte: the message stays below what is allowed, the bytes do not.
    let slow = spread(&long, 1);
    assert_eq!(look(&slow[..MOST]), Hello::Not("it is too long"));
    assert_eq!(look(&slow[..MOST - 1]), Hello::More);
}

#[test]
fn a_hello_without_a_name_is_one_all_the_same() {
    assert_eq!(look(&hello("127.0.0.1", 0)), Hello::Nameless);
    assert_eq!(look(&record(&body(&[]))), Hello::Nameless);
    let before_extensions = body(&[]);
    let bare = &before_extensions[..before_extensions.len() - 2];
    assert_eq!(look(&record(bare)), Hello::Nameless);
}

#[test]
fn what_is_no_hello_is_refused_at_once() {
    for bytes in [
        b"G".as_slice(),
        b"SSH-2.0",
        b"\x16\x02",
        b"\x15\x03\x01",
        b"\x16\x03\x01\0\0",
    ] {
        assert_eq!(
            look(bytes),
            Hello::Not("it is not TLS"),
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(
        look(b"\x16\x03\x01\0\x04\x02"),
        Hello::Not("it is another message")
    );
}

#[test]
fn names_that_could_be_read_in_two_ways_are_refused() {
    assert_eq!(look(&record(&body(&naming(b"x.y.")))), named("x.y"));
    let twice = [naming(b"a"), naming(b"b")].concat();
    assert_eq!(look(&record(&body(&twice))), Hello::Not("it is malformed"));
    let two = b"\0\0\0\x0a\0\x08\0\0\x01a\0\0\x01b";
    assert_eq!(look(&record(&body(two))), Hello::Not("it is malformed"));
    for name in [
        b"".as_slice(),
        b".",
        b"a\0b",
        b"a b",
        b"a/b",
        b"a:443",
        b"*",
        b"\xc3\xa4",
        &[b'a'; 300],
    ] {
        let seen = look(&record(&body(&naming(name))));
        assert_eq!(seen, Hello::Not("its name is none"), "{}", name.escape_ascii());
    }
}

#[test]
fn lengths_that_lie_are_malformed() {
    let good = body(&naming(b"a.b"));
    for at in 34..good.len() - 3 {
        let mut bad = good.clone();
        bad[at] ^= 0x7f;
        // Whatever it is now, it is judged; what matters is that no length leads outside.
        look(&record(&bad));
    }
    assert_eq!(
        look(&record(&good[..good.len() - 1])),
        Hello::Not("it is malformed")
    );
    assert_eq!(
        look(&record(&[&good[..], b"x"].concat())),
        Hello::Not("it is malformed")
    );
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(rest in collection::vec(any::<u8>(), 0..600), begin in 0..4_usize) {
        let begins: [&[u8]; 4] = [b"", b"\x16\x03\x01", b"\x16\x03\x01\x01\x00\x01\x00\x00\xf0", b"\x16\x03\x01\x00\x01\x01"];
        look(&[begins[begin], &rest].concat());
        look(&record(&rest));
        look(&record(&body(&rest)));
    }

    #[test]
    fn a_hello_with_changed_bytes_is_judged_without_a_panic(changes in collection::vec((0..2000_usize, any::<u8>()), 1..8)) {
        let mut bytes = hello("db.example.com", 0);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        look(&bytes);
    }
}
