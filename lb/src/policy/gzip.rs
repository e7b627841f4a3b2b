//! Compression of answers (`proxy.gzip.contenttype`): which, and how their bytes flow.
//!
//! What arrives is compressed piece by piece, and when the target pauses, what it said so far is sent. Nothing is
//! collected: an encoder keeps its window of 32 KiB and what it made of the last piece.

use std::io::Write;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Frame;
use hyper::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// Shorter answers stay as they are: they fit into one packet anyway, and gzip adds 20 bytes.
const SHORTEST: u64 = 256;
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");

/// The type of answers that tell of events.
const EVENTS: &str = "text/event-stream";

/// What a request says about compressing its answer. By default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The client takes gzip, and no stream of events is asked for.
    takes: bool,
    head: bool,
}

impl Wish {
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let events = words(headers, &header::ACCEPT).any(|kind| starts_with(kind, EVENTS));
        Self {
            takes: !events && takes_gzip(headers),
            head: *method == Method::HEAD,
        }
    }
}

fn words<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Whether `Accept-Encoding` names gzip, and neither refuses it nor likes the plain answer better (RFC 9110, 12.5.3).
/// A star is not enough: who writes only that did not think of gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity) = (0.0, 0.0);
    for word in words(headers, &header::ACCEPT_ENCODING) {
        let mut parts = word.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts
            .find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")))
            .map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            gzip = weight;
        } else if coding.eq_ignore_ascii_case("identity") {
            identity = weight;
        }
    }
    gzip > 0.0 && gzip >= identity
}

/// Makes the head of an answer that of a compressed one, where it shall be one. True: its body is to be compressed.
/// `types` are those that are. An answer that would have been compressed for another client says so (`Vary`).
pub(crate) fn prepare(types: &regex::Regex, wish: Wish, status: StatusCode, headers: &mut HeaderMap) -> bool {
    if !is_compressible(types, status, headers) {
        return false;
    }
    if !words(headers, &header::VARY).any(|word| word == "*" || word.eq_ignore_ascii_case("accept-encoding"))
    {
        headers.append(header::VARY, ACCEPT_ENCODING);
    }
    if !wish.takes || wish.head {
        return false;
    }
    headers.insert(header::CONTENT_ENCODING, GZIP);
    headers.remove(header::CONTENT_LENGTH);
    // Ranges would be those of the compressed bytes, which nobody keeps.
    headers.remove(header::ACCEPT_RANGES);
    weaken(headers);
    true
}

fn is_compressible(types: &regex::Regex, status: StatusCode, headers: &HeaderMap) -> bool {
    let has_body = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    has_body
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        // What vouches for the bytes would not, for others.
        && !["content-md5", "digest", "content-digest"].iter().any(|name| headers.contains_key(*name))
        && !words(headers, &header::CACHE_CONTROL).any(|word| word.eq_ignore_ascii_case("no-transform"))
        && length.is_none_or(|length| length >= SHORTEST)
        && kind.is_some_and(|kind| !is_stream(kind) && types.is_match(kind))
}

/// Messages without a last one.
pub(crate) fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| is_of_events(kind.as_bytes()))
}

/// The same, of a value of `Content-Type`.
pub(crate) fn is_of_events(kind: &[u8]) -> bool {
    kind.get(..EVENTS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENTS.as_bytes()))
}

/// Messages that follow one another, and compress themselves where they like.
fn is_stream(kind: &str) -> bool {
    starts_with(kind, EVENTS) || starts_with(kind, "application/grpc")
}

/// The compressed answer is not the same byte by byte, so its tag may not promise that (RFC 9110, 8.8.3).
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()) else {
        return;
    };
    if !tag.starts_with("W/")
        && let Ok(weak) = HeaderValue::try_from(format!("W/{tag}"))
    {
        headers.insert(header::ETAG, weak);
    }
}

/// A body while it is compressed. Boxes, or every answer that is not would be moved around with room for it.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// `None`: its end was given out.
    gzip: Option<Box<GzEncoder<Vec<u8>>>>,
    /// There is something in the encoder that was not given out.
    holds: bool,
    /// Trailers, for after the last byte.
    trailers: Option<Box<Frame<Bytes>>>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            gzip: Some(Box::new(GzEncoder::new(Vec::new(), Compression::default()))),
            holds: false,
            trailers: None,
        }
    }

    /// Everything was given out.
    pub(crate) fn is_done(&self) -> bool {
        self.gzip.is_none() && self.trailers.is_none()
    }

    /// The next compressed frame of what `next` gives.
    pub(crate) fn poll<E>(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        loop {
            if self.gzip.is_none() {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(*trailers)));
            }
            let made = match next(cx) {
                Poll::Pending if self.holds => self.flush(),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => self.finish(),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.write(&data),
                    Err(trailers) => {
                        self.trailers = Some(Box::new(trailers));
                        self.finish()
                    }
                },
            };
            if !made.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(made))));
            }
        }
    }

    fn write(&mut self, data: &[u8]) -> Bytes {
        self.holds |= !data.is_empty();
        self.with(|gzip| gzip.write_all(data))
    }

    fn flush(&mut self) -> Bytes {
        self.holds = false;
        self.with(Write::flush)
    }

    fn finish(&mut self) -> Bytes {
        let gzip = self.gzip.take();
        gzip.and_then(|gzip| gzip.finish().ok())
            .map(Bytes::from)
            .unwrap_or_default()
    }

    fn with(&mut self, act: impl FnOnce(&mut GzEncoder<Vec<u8>>) -> std::io::Result<()>) -> Bytes {
        let Some(gzip) = &mut self.gzip else {
            return Bytes::new();
        };
        act(gzip).expect("writing to a Vec never fails");
        Bytes::from(std::mem::take(gzip.get_mut()))
    }
}

#[cfg(test)]
mod tests;
