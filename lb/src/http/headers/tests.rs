//! Headers in, headers out.

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn peer(addr: &str, trusted: bool) -> Peer {
    Peer::new(addr.parse().unwrap(), "10.0.0.9:9999".parse().unwrap(), trusted)
}

fn said<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect()
}

#[test]
fn a_stranger_cannot_say_where_a_request_came_from() {
    let mut headers = map(&[
        ("host", "a.com:8080"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-real-ip", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "for=evil"),
    ]);
    forward(&mut headers, &peer("10.1.2.3:5", false), "a.com:8080");
    assert_eq!(said(&headers, "x-forwarded-for"), ["10.1.2.3"]);
    assert_eq!(said(&headers, "x-real-ip"), ["10.1.2.3"]);
    assert_eq!(said(&headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(said(&headers, "x-forwarded-host"), ["a.com:8080"]);
    assert_eq!(said(&headers, "x-forwarded-port"), ["8080"]);
    assert_eq!(said(&headers, "x-forwarded-prefix"), [""; 0]);
    assert_eq!(
        said(&headers, "forwarded"),
        ["for=10.1.2.3; proto=http; by=10.0.0.9"]
    );
}

#[test]
fn a_trusted_peer_is_believed_and_appended() {
    let mut headers = map(&[
        ("host", "a.com"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2, 3.3.3.3"),
        ("x-real-ip", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1;proto=https"),
        ("x-forwarded-prefix", "/outer"),
    ]);
    forward(&mut headers, &peer("[::1]:5", true), "a.com");
    assert_eq!(
        said(&headers, "x-forwarded-for"),
        ["1.1.1.1, 2.2.2.2, 3.3.3.3, ::1"]
    );
    assert_eq!(said(&headers, "x-real-ip"), ["1.1.1.1"]);
    assert_eq!(said(&headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(said(&headers, "x-forwarded-host"), ["a.com"]);
    assert_eq!(said(&headers, "x-forwarded-port"), ["80"]);
    assert_eq!(said(&headers, "x-forwarded-prefix"), ["/outer"]);
    let forwarded = "for=1.1.1.1;proto=https, for=\"[::1]\"; proto=http; by=10.0.0.9";
    assert_eq!(said(&headers, "forwarded"), [forwarded]);
}

#[test]
fn a_length_beside_chunks_goes_with_them() {
    let mut headers = map(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
    drop_hop_by_hop(&mut headers);
    assert!(headers.is_empty(), "{headers:?}");
}

#[test]
fn the_connection_list_removes_what_it_names_but_never_what_we_vouch_for() {
    let mut headers = map(&[
        (
            "connection",
            "close, X-Mine, x-forwarded-for, Host, content-length",
        ),
        ("connection", "x-also"),
        ("x-mine", "1"),
        ("x-also", "1"),
        ("x-kept", "1"),
        ("x-forwarded-for", "1.1.1.1"),
        ("host", "a"),
        ("content-length", "3"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "x"),
        ("proxy-authorization", "x"),
        ("te", "gzip, trailers"),
        ("trailer", "x-sum"),
        ("upgrade", "websocket"),
    ]);
    assert_eq!(
        drop_hop_by_hop(&mut headers),
        None,
        "Upgrade counts only with Connection: upgrade"
    );
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(
        left,
        [
            "content-length",
            "host",
            "te",
            "trailer",
            "x-forwarded-for",
            "x-kept"
        ]
    );
    assert_eq!(said(&headers, "te"), ["trailers"]);
}

#[test]
fn an_upgrade_is_taken_off_and_can_be_asked_for_again() {
    let mut headers = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
    let protocol = drop_hop_by_hop(&mut headers).unwrap();
    assert!(headers.is_empty());
    set_upgrade(&mut headers, protocol);
    assert_eq!(
        (said(&headers, "connection"), said(&headers, "upgrade")),
        (vec!["upgrade"], vec!["websocket"])
    );
}
