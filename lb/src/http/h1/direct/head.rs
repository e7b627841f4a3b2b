//! Heads of requests. Pure.
//!
//! What is read here is read by everybody alike: lines end in CRLF, nothing frames a body, nothing asks for anything but
//! an answer. Who asks otherwise, be it wrong or only rare, is left to those who know what to say.

use std::mem::MaybeUninit;

use bytes::Bytes;
use hyper::Request;
use hyper::http::request::Parts;
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::MOST;

/// Most header lines.
const MAX_HEADERS: usize = 64;

/// A request without a body.
#[derive(Debug)]
pub(super) struct Asked {
    pub parts: Box<Parts>,
    /// The client will send nothing behind it.
    pub is_last: bool,
}

impl Asked {
    pub(super) fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }
}

/// What bytes begin with.
#[derive(Debug)]
pub(super) enum Read {
    /// A head of that length.
    Common(Asked, usize),
    /// Some of one.
    More,
    Uncommon,
}

/// Reads the head that `bytes` begin with.
pub(super) fn read(bytes: &[u8]) -> Read {
    // Empty lines before a request are not yet one.
    if !bytes.first().is_none_or(u8::is_ascii_alphabetic) {
        return Read::Uncommon;
    }
    let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_request_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < MOST => return Read::More,
        Ok(httparse::Status::Partial) | Err(_) => return Read::Uncommon,
    };
    let head = &bytes[..length];
    match is_plain(head, &parsed)
        .then(|| understood(head, &parsed))
        .flatten()
    {
        Some(asked) => Read::Common(asked, length),
        None => Read::Uncommon,
    }
}

/// Does every line of it end as it should, and does it begin with a path?
fn is_plain(head: &[u8], parsed: &httparse::Request<'_, '_>) -> bool {
    let begin = head.as_ptr() as usize;
    // Where one line begins another one has ended.
    let follows_crlf = |text: &str| head[..text.as_ptr() as usize - begin].ends_with(b"\r\n");
    parsed.version == Some(1)
        && parsed.path.is_some_and(|path| path.starts_with('/'))
        && parsed.headers.iter().all(|field| follows_crlf(field.name))
        && head.ends_with(b"\r\n\r\n")
}

fn understood(head: &[u8], parsed: &httparse::Request<'_, '_>) -> Option<Asked> {
    let method = match parsed.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "OPTIONS" => Method::OPTIONS,
        "DELETE" => Method::DELETE,
        _ => return None,
    };
    // One copy of which all values are parts.
    let bytes = Bytes::copy_from_slice(head);
    let uri = Uri::from_maybe_shared(bytes.slice_ref(part(&bytes, head, parsed.path?.as_bytes()))).ok()?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len() + 8);
    let mut is_last = false;
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        match name {
            header::CONTENT_LENGTH
            | header::TRANSFER_ENCODING
            | header::EXPECT
            | header::UPGRADE
            | header::TE
            | header::TRAILER => return None,
            header::CONNECTION => is_last |= closes(field.value),
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(part(&bytes, head, field.value))).ok()?;
        headers.try_append(name, value).ok()?;
    }
    // Boxed once, for all the hands that it goes through.
    let mut parts = Box::new(Request::new(()).into_parts().0);
    parts.method = method;
    parts.uri = uri;
    parts.headers = headers;
    Some(Asked { parts, is_last })
}

/// What is `part` of `head` in the copy of that.
fn part<'a>(copy: &'a [u8], head: &[u8], part: &[u8]) -> &'a [u8] {
    let begin = part.as_ptr() as usize - head.as_ptr() as usize;
    &copy[begin..begin + part.len()]
}

fn closes(list: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests;
