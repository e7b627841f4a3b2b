//! Heads that are compressed, and bytes that come out again as they went in.

use std::convert::Infallible;
use std::io::Read;
use std::task::Waker;

use proptest::prelude::*;

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

#[test]
fn a_client_gets_gzip_only_where_it_says_so() {
    for (lines, takes) in [
        (&[("accept-encoding", "gzip")][..], true),
        (&[("accept-encoding", "br, GZIP;q=0.5")], true),
        (&[("accept-encoding", "x-gzip")], true),
        (
            &[("accept-encoding", "deflate"), ("accept-encoding", "gzip")],
            true,
        ),
        (&[("accept-encoding", "gzip;q=0")], false),
        (&[("accept-encoding", "gzip; q=0.000")], false),
        (&[("accept-encoding", "gzip;q=x")], false),
        (&[("accept-encoding", "*")], false),
        (&[("accept-encoding", "identity, gzip;q=0.5")], false),
        (&[("accept-encoding", "identity;q=0.5, gzip")], true),
        (&[("accept-encoding", "gzipped")], false),
        (&[], false),
        (
            &[
                ("accept-encoding", "gzip"),
                ("accept", "text/html, text/event-stream"),
            ],
            false,
        ),
    ] {
        assert_eq!(Wish::of(&Method::GET, &map(lines)).takes, takes, "{lines:?}");
    }
}

#[test]
fn only_whole_plain_answers_of_the_types_asked_for_are_compressed() {
    let types = regex::Regex::new("^(text/.*|application/json)(;.*)?$").unwrap();
    let wish = Wish::of(&Method::GET, &map(&[("accept-encoding", "gzip")]));
    let html = ("content-type", "text/html; charset=utf-8");
    for (status, lines, compressed) in [
        (200, &[html][..], true),
        (404, &[html, ("content-length", "256")], true),
        (200, &[html, ("content-length", "255")], false),
        (200, &[("content-type", "image/png")], false),
        (200, &[("content-type", "text/event-stream")], false),
        (200, &[], false),
        (200, &[html, ("content-encoding", "br")], false),
        (200, &[html, ("cache-control", "public, no-transform")], false),
        (200, &[html, ("content-digest", "sha-256=:x:")], false),
        (204, &[html], false),
        (206, &[html, ("content-range", "bytes 0-1/9")], false),
        (304, &[html], false),
    ] {
        let mut headers = map(lines);
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(
            prepare(&types, wish, status, &mut headers),
            compressed,
            "{status} {lines:?}"
        );
        assert_eq!(headers.contains_key("vary"), compressed, "{status} {lines:?}");
        assert_eq!(
            headers
                .get("content-encoding")
                .is_some_and(|coding| coding == "gzip"),
            compressed
        );
    }
}

#[test]
fn the_head_of_a_compressed_answer_promises_nothing_that_does_not_hold() {
    let types = regex::Regex::new("text").unwrap();
    let sent = [
        ("content-type", "text/css"),
        ("content-length", "9999"),
        ("accept-ranges", "bytes"),
        ("etag", "\"x\""),
        ("vary", "Cookie"),
    ];
    let mut headers = map(&sent);
    let wish = Wish::of(&Method::GET, &map(&[("accept-encoding", "gzip")]));
    assert!(prepare(&types, wish, StatusCode::OK, &mut headers));
    assert_eq!(headers["etag"], "W/\"x\"");
    let vary: Vec<_> = headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Cookie", "Accept-Encoding"]);
    assert!(!headers.contains_key("content-length") && !headers.contains_key("accept-ranges"));

    for wish in [
        Wish::of(&Method::HEAD, &map(&[("accept-encoding", "gzip")])),
        Wish::of(&Method::GET, &map(&[])),
    ] {
        let mut headers = map(&sent);
        assert!(!prepare(&types, wish, StatusCode::OK, &mut headers));
        assert_eq!(
            (&headers["content-length"], &headers["etag"]),
            (&"9999".parse().unwrap(), &"\"x\"".parse().unwrap())
        );
        assert_eq!(
            headers.get_all("vary").iter().count(),
            2,
            "caches must know all the same"
        );
    }
}

/// What a target says piece by piece, pausing where one is empty, and then trailers or not.
fn encoded(pieces: &[&[u8]], trailers: bool) -> (Vec<Vec<u8>>, bool) {
    let mut encoder = Encoder::new();
    let mut cx = Context::from_waker(Waker::noop());
    let (mut frames, mut trailed, mut at) = (Vec::new(), false, 0);
    let mut left = Some(Frame::trailers(HeaderMap::new())).filter(|_| trailers);
    while !encoder.is_done() {
        let polled = encoder.poll(&mut cx, |_| match pieces.get(at) {
            Some([]) => Poll::Pending,
            Some(piece) => {
                at += 1;
                Poll::Ready(Some(Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(
                    piece,
                )))))
            }
            None => Poll::Ready(left.take().map(Ok)),
        });
        match polled {
            // Nothing is held back, and the target goes on.
            Poll::Pending => at += 1,
            Poll::Ready(None) => break,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => frames.push(data.to_vec()),
                Err(_) => trailed = true,
            },
        }
    }
    (frames, trailed)
}

fn decoded(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&frames.concat()[..])
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

#[test]
fn what_was_said_before_a_pause_is_sent_before_it_ends() {
    let (frames, _) = encoded(&[b"first", b"", b"second"], false);
    let before_the_end = frames[..frames.len() - 1].concat();
    let mut reader = flate2::read::GzDecoder::new(&before_the_end[..]).take(5);
    let mut first = String::new();
    reader.read_to_string(&mut first).unwrap();
    assert_eq!(first, "first");
    assert_eq!(decoded(&frames), b"firstsecond");
}

#[test]
fn trailers_follow_the_last_byte_and_nothing_is_still_a_gzip_file() {
    let (frames, trailed) = encoded(&[b"x"], true);
    assert!(trailed);
    assert_eq!(decoded(&frames), b"x");
    assert_eq!(decoded(&encoded(&[], false).0), b"");
}

proptest! {
    #[test]
    fn what_comes_out_is_what_went_in(pieces in proptest::collection::vec(proptest::collection::vec(0..4u8, 0..2000), 0..20)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(decoded(&encoded(&pieces, false).0), pieces.concat());
    }
}
