//! Heads: a request's written, an answer's read. Pure.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use hyper::ext::ReasonPhrase;
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use hyper::{Request, Response};

use super::body::Framing;
use super::chunked::Chunked;
use crate::upstream::{Fault, MAX_HEADERS};

/// The head of an answer, and what follows from it.
#[derive(Debug)]
pub(super) struct Head {
    pub response: Response<()>,
    pub body: Framing,
    /// The server will close the connection after it.
    pub is_last: bool,
}

/// Appends the head of `request` to `to`.
pub(super) fn write<B>(request: &Request<B>, to: &mut Vec<u8>) {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    to.reserve(256);
    to.extend_from_slice(request.method().as_str().as_bytes());
    to.push(b' ');
    to.extend_from_slice(target.as_bytes());
    to.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        to.extend_from_slice(name.as_str().as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(b"\r\n");
}

/// Where the name and the value of a header are in a head: begins and lengths.
pub(super) type Place = [usize; 4];

/// Takes the head of the answer to a request of `method` from `bytes`, once it is whole. Those before it that only
/// inform are passed over. `places` is scratch.
pub(super) fn read(
    bytes: &mut BytesMut,
    method: &Method,
    places: &mut Vec<Place>,
) -> Result<Option<Head>, Fault> {
    while let Some((response, said)) = parse(bytes, places)? {
        let status = response.status();
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return framed(response, &said, method).map(Some);
        }
    }
    Ok(None)
}

/// What a head says about its connection and its body, seen in passing: asking for each header costs a search.
#[derive(Default)]
struct Said {
    close: bool,
    keep_alive: bool,
    coding: bool,
    /// Lines with a length, and the number in the last.
    lengths: (usize, Option<u64>),
}

impl Said {
    /// False: that was all there is to it.
    fn hear(&mut self, name: &HeaderName, value: &HeaderValue) -> bool {
        if *name == header::CONNECTION {
            self.connection(value);
            // It concerns this connection alone and names no other header.
            return !value.as_bytes().eq_ignore_ascii_case(b"keep-alive");
        }
        if *name == header::CONTENT_LENGTH {
            self.lengths = (self.lengths.0 + 1, number(value.as_bytes()));
        }
        self.coding |= *name == header::TRANSFER_ENCODING;
        true
    }

    fn connection(&mut self, list: &HeaderValue) {
        let mut hear = |said: &[u8]| {
            self.close |= said.eq_ignore_ascii_case(b"close");
            self.keep_alive |= said.eq_ignore_ascii_case(b"keep-alive");
        };
        // Mostly there is only one.
        if !list.as_bytes().contains(&b',') {
            return hear(list.as_bytes().trim_ascii());
        }
        let list = list.to_str().unwrap_or_default();
        list.split(',').for_each(|said| hear(said.trim().as_bytes()));
    }
}

/// The next head, and what it says.
fn parse(bytes: &mut BytesMut, places: &mut Vec<Place>) -> Result<Option<(Response<()>, Said)>, Fault> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::Malformed("it has too many headers")),
        Err(_) => return Err(Fault::Malformed("it is not HTTP/1")),
    };
    let mut response = Response::new(());
    *response.status_mut() = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(Fault::Malformed("its status is none"))?;
    if parsed.version == Some(0) {
        *response.version_mut() = Version::HTTP_10;
    }
    if parsed.reason != response.status().canonical_reason()
        && let Some(reason) = parsed
            .reason
            .and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok())
    {
        response.extensions_mut().insert(reason);
    }
    let begin = bytes.as_ptr() as usize;
    places.clear();
    places.extend(parsed.headers.iter().map(|field| {
        let (name, value) = (field.name, field.value);
        [
            name.as_ptr() as usize - begin,
            name.len(),
            value.as_ptr() as usize - begin,
            value.len(),
        ]
    }));
    let head = bytes.split_to(length).freeze();
    let said = take(&head, places, response.headers_mut())?;
    Ok(Some((response, said)))
}

/// Puts what is at `places` of `head` among `headers`, where nothing is yet. Values share the memory of the head.
fn take(head: &Bytes, places: &[Place], headers: &mut HeaderMap) -> Result<Said, Fault> {
    let mut said = Said::default();
    headers.reserve(places.len());
    for [name, name_length, value, value_length] in places.iter().copied() {
        let name = &head[name..name + name_length];
        let name = usual(name).map_or_else(|| HeaderName::from_bytes(name), Ok);
        let value = HeaderValue::from_maybe_shared(head.slice(value..value + value_length));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Fault::Malformed("one of its headers is none"));
        };
        if said.hear(&name, &value) {
            headers.append(name, value);
        }
    }
    Ok(said)
}

/// What most answers say, as most servers write it: known at sight, without being made lower case and looked up.
fn usual(name: &[u8]) -> Option<HeaderName> {
    Some(match name {
        b"Date" => header::DATE,
        b"ETag" => header::ETAG,
        b"Vary" => header::VARY,
        b"Server" => header::SERVER,
        b"Location" => header::LOCATION,
        b"Connection" => header::CONNECTION,
        b"Set-Cookie" => header::SET_COOKIE,
        b"Content-Type" => header::CONTENT_TYPE,
        b"Accept-Ranges" => header::ACCEPT_RANGES,
        b"Cache-Control" => header::CACHE_CONTROL,
        b"Last-Modified" => header::LAST_MODIFIED,
        b"Content-Length" => header::CONTENT_LENGTH,
        b"Content-Encoding" => header::CONTENT_ENCODING,
        b"Transfer-Encoding" => header::TRANSFER_ENCODING,
        b"date" => header::DATE,
        b"content-type" => header::CONTENT_TYPE,
        b"content-length" => header::CONTENT_LENGTH,
        _ => return None,
    })
}

/// How the body of an answer ends (RFC 9112, 6.3).
fn framed(mut response: Response<()>, said: &Said, method: &Method) -> Result<Head, Fault> {
    let status = response.status();
    let is_old = response.version() == Version::HTTP_10;
    let is_bare = *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let headers = response.headers_mut();
    let body = if is_bare {
        Framing::Ended
    } else if said.coding {
        if is_old {
            return Err(Fault::Malformed("HTTP/1.0 has no Transfer-Encoding"));
        }
        // Whoever goes by it would end it elsewhere.
        headers.remove(header::CONTENT_LENGTH);
        if is_chunked(headers) {
            Framing::Chunked(Chunked::default())
        } else {
            Framing::UntilClose
        }
    } else if said.lengths.0 > 0 {
        let length = match said.lengths {
            (1, Some(length)) => Some(length),
            _ => length(headers),
        };
        match length.ok_or(Fault::Malformed("its Content-Length is none"))? {
            0 => Framing::Ended,
            length => Framing::Length(length),
        }
    } else {
        Framing::UntilClose
    };
    let keeps = (!is_old || said.keep_alive) && !said.close;
    let is_last = !keeps || matches!(body, Framing::UntilClose) || status == StatusCode::SWITCHING_PROTOCOLS;
    Ok(Head {
        response,
        body,
        is_last,
    })
}

/// Lengths beyond are no lengths to hyper, which uses them for other things.
const LONGEST: u64 = u64::MAX - 2;

/// What most lengths are. `None`: another reading may still find one.
fn number(said: &[u8]) -> Option<u64> {
    let is_one = (1..=18).contains(&said.len()) && said.iter().all(u8::is_ascii_digit);
    is_one.then(|| {
        said.iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    })
}

/// All lengths that it says must be the same.
fn length(headers: &HeaderMap) -> Option<u64> {
    let mut length = None;
    for line in headers.get_all(header::CONTENT_LENGTH) {
        for said in line.to_str().ok()?.split(',') {
            let said = said.trim();
            if !said.bytes().all(|digit| digit.is_ascii_digit()) {
                return None;
            }
            let said = said.parse().ok().filter(|said| *said <= LONGEST)?;
            if length.replace(said).is_some_and(|before| before != said) {
                return None;
            }
        }
    }
    length
}

/// Chunks are what it is in at last.
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(header::TRANSFER_ENCODING).iter().next_back();
    let coding = last.and_then(|last| last.to_str().ok()?.rsplit(',').next());
    coding.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}
