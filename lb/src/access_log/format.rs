//! The language of access log lines: fabio's fields, compiled once; and the one way values get in. Pure.
//!
//! Every value that a client or server chose is escaped, so that nobody can forge a line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

mod values;

pub(super) use values::rfc3339;
use values::{Spelling, Values};

use hyper::http::{HeaderName, HeaderValue, Method, Uri, Version};

const COMMON: &str = r#"$remote_host - - [$time_common] "$request" $response_status $response_body_size"#;
const COMBINED: &str = concat!(
    r#"$remote_host - - [$time_common] "$request" $response_status $response_body_size "#,
    r#""$header.Referer" "$header.User-Agent""#
);

/// What a line of the format `json` says, in its order: a key, what stands there, and whether that is a number. The
/// keys are a promise.
pub const JSON_KEYS: &[(&str, &str, bool)] = &[
    ("time", "$time_rfc3339_us", false),
    ("remote_host", "$remote_host", false),
    ("remote_port", "$remote_port", true),
    ("request_method", "$request_method", false),
    ("request_scheme", "$request_scheme", false),
    ("request_host", "$request_host", false),
    ("request_uri", "$request_uri", false),
    ("request_proto", "$request_proto", false),
    ("response_status", "$response_status", true),
    ("response_body_size", "$response_body_size", true),
    ("response_time", "$response_time_us", true),
    ("upstream_addr", "$upstream_addr", false),
    ("upstream_service", "$upstream_service", false),
    ("upstream_request_url", "$upstream_request_url", false),
    ("referer", "$header.Referer", false),
    ("user_agent", "$header.User-Agent", false),
    ("trace_id", "$trace_id", false),
];

/// Method of a request that could not be read.
pub(crate) const UNREAD: &str = "-";

/// What one finished request leaves behind.
#[derive(Debug)]
pub(crate) struct Record {
    pub remote: SocketAddr,
    pub method: Method,
    /// As the client sent it.
    pub uri: Uri,
    pub version: Version,
    /// Of the client's connection.
    pub scheme: &'static str,
    /// Canonical host.
    pub host: String,
    /// Values of [`Format::headers`], in that order.
    pub headers: Vec<Option<HeaderValue>>,
    /// Where it went, if anywhere.
    pub upstream: Option<Upstreamed>,
    /// 499 for a client that left before its answer was complete.
    pub status: u16,
    /// Bytes of the answer's body that were taken by the client's connection.
    pub bytes: u64,
    pub ended: SystemTime,
    pub took: Duration,
    /// Trace that it belongs to.
    pub trace: Option<u128>,
}

/// Where a request went.
#[derive(Clone, Debug)]
pub(crate) struct Upstreamed {
    pub service: Arc<str>,
    pub scheme: &'static str,
    /// Host and port.
    pub authority: Arc<str>,
    /// Path and query as sent there.
    pub uri: Uri,
}

/// Why a pattern is not a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFormat {
    /// Neither a name nor a pattern.
    #[error("empty access log format")]
    Empty,
    /// A field nobody knows.
    #[error("invalid field {0:?}")]
    Field(String),
}

/// A compiled line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
    headers: Vec<HeaderName>,
    json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// By position in [`Format::headers`].
    Header(usize),
    Field(Field),
    /// Key and value of a JSON object, where there is one.
    Member(&'static str, bool, Box<Piece>),
}

/// The table of fields: what users write, what it is here.
macro_rules! fields {
    ($($name:literal => $field:ident, $help:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Field { $($field),* }

        impl Field {
            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$field),)* _ => None }
            }
        }

        /// Every field of the access log (`log.access.format`) but `header.<name>`, and what it says.
        pub const FIELDS: &[(&str, &str)] = &[$(($name, $help)),*];
    };
}

fields! {
    "remote_addr" => RemoteAddr, "Address and port of the client.";
    "remote_host" => RemoteHost, "Address of the client; IPv6 in brackets.";
    "remote_port" => RemotePort, "Port of the client.";
    "request" => Request, "Method, URI and protocol, as the client sent them.";
    "request_args" => RequestArgs, "Query of the request.";
    "request_host" => RequestHost, "Host that was asked for, lower-case, with its port.";
    "request_method" => RequestMethod, "Method.";
    "request_proto" => RequestProto, "Protocol, `HTTP/1.1`.";
    "request_scheme" => RequestScheme, "Scheme of the client's connection.";
    "request_uri" => RequestUri, "Path and query.";
    "request_url" => RequestUrl, "Scheme, host, path and query.";
    "response_body_size" => ResponseBodySize, "Bytes of the answer's body.";
    "response_status" => ResponseStatus, "Status of the answer; 499 when the client left before its end.";
    "response_time_ms" => ResponseTimeMs, "Time taken in seconds, three digits of fraction.";
    "response_time_us" => ResponseTimeUs, "The same, six digits.";
    "response_time_ns" => ResponseTimeNs, "The same, nine digits.";
    "time_common" => TimeCommon, "End of the answer as web servers write it, UTC.";
    "time_rfc3339" => TimeRfc3339, "End of the answer as RFC 3339 has it, UTC.";
    "time_rfc3339_ms" => TimeRfc3339Ms, "The same with milliseconds.";
    "time_rfc3339_us" => TimeRfc3339Us, "The same with microseconds.";
    "time_rfc3339_ns" => TimeRfc3339Ns, "The same with nanoseconds.";
    "time_unix_ms" => TimeUnixMs, "End of the answer in milliseconds since 1970.";
    "time_unix_us" => TimeUnixUs, "The same in microseconds.";
    "time_unix_ns" => TimeUnixNs, "The same in nanoseconds.";
    "upstream_addr" => UpstreamAddr, "Address and port of the server that was asked; empty when none was.";
    "upstream_host" => UpstreamHost, "Its address.";
    "upstream_port" => UpstreamPort, "Its port.";
    "upstream_request_scheme" => UpstreamRequestScheme, "Scheme of the connection to it.";
    "upstream_request_uri" => UpstreamRequestUri, "Path and query that it got.";
    "upstream_request_url" => UpstreamRequestUrl, "Scheme, address, path and query.";
    "upstream_service" => UpstreamService, "Its service.";
    "time_start_common" => TimeStartCommon, "Arrival of the request as web servers write times, UTC. Not fabio's.";
    "time_start_rfc3339_ms" => TimeStartRfc3339Ms, "The same as RFC 3339 has it. Not fabio's.";
    "time_start_unix_ms" => TimeStartUnixMs, "The same in milliseconds since 1970. Not fabio's.";
    "trace_id" => TraceId, "Trace that the request belongs to, 32 hexadecimal digits; empty without one. Not fabio's.";
}

impl Format {
    /// `common`, `combined`, `json`, or a pattern of text and `$fields`.
    ///
    /// # Errors
    /// When the pattern is empty or names a field that does not exist.
    pub fn parse(pattern: &str) -> Result<Self, BadFormat> {
        let mut rest = match pattern {
            "" => return Err(BadFormat::Empty),
            "common" => COMMON,
            "combined" => COMBINED,
            "json" => return Ok(Self::json()),
            pattern => pattern,
        };
        let mut format = Self {
            pieces: Vec::new(),
            headers: Vec::new(),
            json: false,
        };
        while let Some(at) = rest.find('$') {
            format.text(&rest[..at]);
            rest = &rest[at + 1..];
            let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let mut end = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
            if rest[..end] == *"header" && rest[end..].starts_with('.') {
                let name = &rest[end + 1..];
                end += 1 + name.find(|c| !in_name(c)).unwrap_or(name.len());
            }
            format.field(&rest[..end])?;
            rest = &rest[end..];
        }
        format.text(rest);
        Ok(format)
    }

    fn json() -> Self {
        let mut format = Self {
            pieces: Vec::new(),
            headers: Vec::new(),
            json: true,
        };
        for (key, value, number) in JSON_KEYS {
            let name = &value[1..];
            format.field(name).expect("the table names fields that exist");
            let piece = format.pieces.pop().expect("a field is one piece");
            format.pieces.push(Piece::Member(key, *number, Box::new(piece)));
        }
        format
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    fn field(&mut self, name: &str) -> Result<(), BadFormat> {
        if name.is_empty() {
            self.text("$");
            return Ok(());
        }
        let unknown = || BadFormat::Field(format!("${name}"));
        let piece = match name.strip_prefix("header.") {
            Some(header) => {
                let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| unknown())?;
                self.headers.push(header);
                Piece::Header(self.headers.len() - 1)
            }
            None => Piece::Field(Field::named(name).ok_or_else(unknown)?),
        };
        self.pieces.push(piece);
        Ok(())
    }

    /// Request headers a record must bring.
    pub(crate) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Appends the line, without its end.
    pub(crate) fn render(&self, record: &Record, out: &mut Vec<u8>) {
        let spelling = if self.json { Spelling::Json } else { Spelling::Text };
        let mut values = Values {
            record,
            spelling,
            members: 0,
            out,
        };
        for piece in &self.pieces {
            piece.render(&mut values);
        }
        if self.json {
            values.close();
        }
    }
}

impl Piece {
    fn render(&self, values: &mut Values<'_>) {
        match self {
            Self::Text(text) => values.out.extend_from_slice(text.as_bytes()),
            Self::Header(at) => values.header(*at),
            Self::Field(field) => values.field(*field),
            Self::Member(key, number, value) => {
                values.member(key, *number, |values| value.render(values));
            }
        }
    }
}

#[cfg(test)]
mod tests;
