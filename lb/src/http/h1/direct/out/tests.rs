//! What goes over the wire, however little of it the socket takes at once.

use std::rc::Rc;
use std::task::Waker;

use bytes::Bytes;
use hyper::Response;
use hyper::http::HeaderValue;

use super::*;
use crate::http::tally::{Share, Tally};

/// Takes so many bytes of each write, and none of every second.
struct Narrow {
    taken: Vec<u8>,
    width: usize,
    rests: bool,
}

impl AsyncWrite for Narrow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.rests = !self.rests;
        if self.rests {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = buf.len().min(self.width);
        self.taken.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
        self.poll_write(cx, &all)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// An answer with this head and these pieces of body, as written to a client that takes `width` bytes at once, and
/// whether it is whole.
fn written(parts: &Parts, exact: Option<u64>, pieces: &[usize], width: usize) -> (String, bool) {
    let tally = Rc::new(Tally::default());
    let share = Share::of(tally.clone(), None);
    let mut client = Narrow {
        taken: Vec::new(),
        width,
        rests: false,
    };
    let (mut cx, count) = (Context::from_waker(Waker::noop()), Cell::new(0));
    let mut out = Out::of(parts, exact, false, false);
    let mut flush = |out: &mut Out| while out.poll_flush(&mut client, &mut cx, &count).is_pending() {};
    for length in pieces {
        out.piece(share.piece(Bytes::from("x".repeat(*length))));
        if out.is_full() {
            flush(&mut out);
        }
    }
    let is_whole = out.ends();
    flush(&mut out);
    drop(share);
    assert!(!tally.is_waiting());
    assert_eq!(count.get(), client.taken.len() as u64);
    (String::from_utf8(client.taken).unwrap(), is_whole)
}

fn head(status: u16, headers: &[(&'static str, &'static str)]) -> Parts {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        parts.headers.append(*name, HeaderValue::from_static(value));
    }
    parts
}

#[test]
fn bodies_are_framed_by_what_is_known_of_them_however_slowly_they_go() {
    let (small, large) = (5, SMALL + 1);
    let parts = head(200, &[("date", "today"), ("x", "1"), ("X", "2")]);
    let start = "HTTP/1.1 200 OK\r\ndate: today\r\nx: 1\r\nx: 2\r\n";
    for width in [1, 2, 3, 7, 100, 100_000] {
        for pieces in [
            &[small][..],
            &[large],
            &[small, large, small, 0, large],
            &[large, small, small],
            &[],
        ] {
            let body: String = pieces.iter().map(|length| "x".repeat(*length)).collect();
            let length = body.len() as u64;
            let expected = format!("{start}content-length: {length}\r\n\r\n{body}");
            assert_eq!(written(&parts, Some(length), pieces, width), (expected, true));

            let some = pieces.iter().filter(|length| **length > 0);
            let chunks: String = some
                .map(|length| format!("{length:X}\r\n{}\r\n", "x".repeat(*length)))
                .collect();
            let expected = format!("{start}transfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
            assert_eq!(written(&parts, None, pieces, width), (expected, true));
        }
    }
    assert!(!written(&parts, Some(9), &[small], 100).1, "it is too short");
}

#[test]
fn heads_say_what_http_asks_of_them_and_nothing_twice() {
    let bare = |status, headers: &[_], is_head, is_last| {
        let out = Out::of(&head(status, headers), Some(0), is_head, is_last);
        String::from_utf8(out.lead).unwrap()
    };
    let date = ("date", "today");
    assert_eq!(
        bare(204, &[date, ("content-length", "0")], false, false),
        "HTTP/1.1 204 No Content\r\ndate: today\r\n\r\n"
    );
    assert_eq!(
        bare(304, &[date, ("etag", "x")], false, true),
        "HTTP/1.1 304 Not Modified\r\ndate: today\r\netag: x\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(
        bare(205, &[date], false, false),
        "HTTP/1.1 205 Reset Content\r\ndate: today\r\ncontent-length: 0\r\n\r\n"
    );
    let length = ("content-length", "7");
    assert_eq!(
        bare(200, &[length, date, length], true, false),
        "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ndate: today\r\n\r\n"
    );
    assert_eq!(
        bare(299, &[date], true, false),
        "HTTP/1.1 299 <none>\r\ndate: today\r\n\r\n"
    );
    let dated = bare(200, &[], false, false);
    let said = dated
        .split_once("date: ")
        .unwrap()
        .1
        .split("\r\n")
        .next()
        .unwrap();
    let age = SystemTime::now().duration_since(httpdate::parse_http_date(said).unwrap());
    assert!(age.unwrap() < Duration::from_secs(60), "{said}");
}
