//! Heads of answers that nobody here wants to change: they go on as they came, but for what concerned the connection
//! that they came on. Pure.
//!
//! Only what every reader reads alike is taken this way. Whatever is odd, or rare, is for `head.rs`.

use std::mem::MaybeUninit;

use bytes::{Buf as _, BytesMut};
use hyper::StatusCode;

use super::body::Framing;
use super::chunked::Chunked;
use crate::policy::gzip;

/// Most headers.
const MAX_HEADERS: usize = 64;
/// For what is said behind it: how a body ends, when it was made.
const ROOM: usize = 128;

/// See the module.
#[derive(Debug)]
pub(crate) struct Plain {
    pub status: StatusCode,
    /// The status line and the headers as they go to the client, names in lower case. What follows is an empty line, or
    /// more headers before that. A length is among them where there is one and it is not 0.
    pub lead: Vec<u8>,
    /// It says when it was made.
    pub is_dated: bool,
    /// It tells of events, so it has no end that it must reach.
    pub is_events: bool,
}

/// What follows from the headers seen so far.
#[derive(Default)]
struct Seen {
    length: Option<u64>,
    is_chunked: bool,
    is_last: bool,
    is_dated: bool,
    is_events: bool,
}

/// Whether a header goes on to the client.
enum Goes {
    On,
    /// It concerns one connection.
    Nowhere,
}

/// Takes the plain head of an answer with a body from `bytes`; with it come how the body ends, and whether the server
/// will close the connection after it. `None`: there is none, or it is not whole.
pub(super) fn read(bytes: &mut BytesMut) -> Option<(Plain, Framing, bool)> {
    if bytes.is_empty() {
        return None;
    }
    let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let Ok(httparse::Status::Complete(length)) =
        config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields)
    else {
        return None;
    };
    let read = understood(&bytes[..length], &parsed)?;
    bytes.advance(length);
    Some(read)
}

fn understood(head: &[u8], parsed: &httparse::Response<'_, '_>) -> Option<(Plain, Framing, bool)> {
    let status = StatusCode::from_u16(parsed.code?).ok()?;
    let is_bare = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    if parsed.version != Some(1) || status.is_informational() || is_bare || !head.ends_with(b"\r\n\r\n") {
        return None;
    }
    let mut lead = Vec::with_capacity(head.len() + ROOM);
    let reason = parsed.reason?.as_bytes();
    for part in [b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        lead.extend_from_slice(part);
    }
    let mut seen = Seen::default();
    for field in parsed.headers.iter() {
        // One that is longer is none to those who make maps of them.
        if !follows_crlf(head, field.name) || field.name.len() > usize::from(u16::MAX) {
            return None;
        }
        if let Goes::On = seen.sees(field)? {
            copy(head, field, &mut lead);
        }
    }
    let framing = match (seen.length, seen.is_chunked) {
        (Some(_), true) => return None,
        (None, true) => Framing::Chunked(Chunked::default()),
        (Some(0), false) => Framing::Ended,
        (Some(length), false) => Framing::Length(length),
        (None, false) => Framing::UntilClose,
    };
    let is_last = seen.is_last || matches!(framing, Framing::UntilClose);
    let plain = Plain {
        status,
        lead,
        is_dated: seen.is_dated,
        is_events: seen.is_events,
    };
    Some((plain, framing, is_last))
}

impl Seen {
    /// `None`: it is not for us to judge.
    fn sees(&mut self, field: &httparse::Header<'_>) -> Option<Goes> {
        let (name, value) = (field.name, field.value);
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        // By length, so that most names are compared with nothing.
        match name.len() {
            4 if is("date") => self.is_dated = true,
            12 if is("content-type") => self.is_events |= gzip::is_of_events(value),
            14 if is("content-length") => {
                let length = decimal(value)?;
                if self.length.replace(length).is_some() {
                    return None;
                }
                if length == 0 {
                    return Some(Goes::Nowhere);
                }
            }
            17 if is("transfer-encoding") => {
                let is_usual = value.eq_ignore_ascii_case(b"chunked") && !self.is_chunked;
                self.is_chunked = true;
                return is_usual.then_some(Goes::Nowhere);
            }
            10 if is("connection") => {
                let is_close = value.eq_ignore_ascii_case(b"close");
                self.is_last |= is_close;
                return (is_close || value.eq_ignore_ascii_case(b"keep-alive")).then_some(Goes::Nowhere);
            }
            10 if is("keep-alive") => return Some(Goes::Nowhere),
            2 if is("te") => return None,
            5 if is("proxy") => return None,
            7 if is("trailer") || is("upgrade") => return None,
            16 if is("proxy-connection") => return None,
            18 if is("proxy-authenticate") => return None,
            19 if is("proxy-authorization") => return None,
            _ => {}
        }
        Some(Goes::On)
    }
}

/// Where one line begins another one has ended.
fn follows_crlf(head: &[u8], name: &str) -> bool {
    let begin = name.as_ptr() as usize - head.as_ptr() as usize;
    head[..begin].ends_with(b"\r\n")
}

fn copy(head: &[u8], field: &httparse::Header<'_>, to: &mut Vec<u8>) {
    let (name, value) = (field.name.as_bytes(), field.value);
    let begin = name.as_ptr() as usize - head.as_ptr() as usize;
    let at = begin + name.len() + 2;
    let is_tight = value.as_ptr() as usize - head.as_ptr() as usize == at && head[at - 2..at] == *b": ";
    let begun = to.len();
    // Mostly that is all there is of it.
    if is_tight && head[at + value.len()..].starts_with(b"\r\n") {
        to.extend_from_slice(&head[begin..at + value.len() + 2]);
    } else {
        for part in [name, b": ", value, b"\r\n"] {
            to.extend_from_slice(part);
        }
    }
    to[begun..begun + name.len()].make_ascii_lowercase();
}

/// No more digits than any length needs.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
