//! The language of access log lines: fabio's fields, compiled once; and the one way values get in. Pure.
//!
//! Every value that a client or server chose is escaped, so that nobody can forge a line.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::http::{HeaderName, HeaderValue, Method, Uri, Version};

const COMMON: &str = r#"$remote_host - - [$time_common] "$request" $response_status $response_body_size"#;
const COMBINED: &str = concat!(
    r#"$remote_host - - [$time_common] "$request" $response_status $response_body_size "#,
    r#""$header.Referer" "$header.User-Agent""#
);

/// What one finished request leaves behind.
#[derive(Debug)]
pub(crate) struct Record {
    pub remote: SocketAddr,
    pub method: Method,
    /// As the client sent it.
    pub uri: Uri,
    pub version: Version,
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
}

/// Where a request went.
#[derive(Clone, Debug)]
pub(crate) struct Upstreamed {
    pub service: Arc<str>,
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
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// By position in [`Format::headers`].
    Header(usize),
    Field(Field),
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
}

impl Format {
    /// `common`, `combined`, or a pattern of text and `$fields`.
    ///
    /// # Errors
    /// When the pattern is empty or names a field that does not exist.
    pub fn parse(pattern: &str) -> Result<Self, BadFormat> {
        let mut rest = match pattern {
            "" => return Err(BadFormat::Empty),
            "common" => COMMON,
            "combined" => COMBINED,
            pattern => pattern,
        };
        let mut format = Self {
            pieces: Vec::new(),
            headers: Vec::new(),
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
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Header(at) => {
                    if let Some(Some(value)) = record.headers.get(*at) {
                        escape(value.as_bytes(), out);
                    }
                }
                Piece::Field(field) => render(*field, record, out),
            }
        }
    }
}

fn render(field: Field, record: &Record, out: &mut Vec<u8>) {
    match field {
        Field::RemoteAddr => put(out, format_args!("{}", record.remote)),
        Field::RemoteHost => match record.remote {
            SocketAddr::V4(addr) => put(out, format_args!("{}", addr.ip())),
            SocketAddr::V6(addr) => put(out, format_args!("[{}]", addr.ip())),
        },
        Field::RemotePort => put(out, format_args!("{}", record.remote.port())),
        Field::Request => {
            escape(record.method.as_str().as_bytes(), out);
            out.push(b' ');
            render(Field::RequestUri, record, out);
            put(out, format_args!(" {:?}", record.version));
        }
        Field::RequestArgs => escape(record.uri.query().unwrap_or("").as_bytes(), out),
        Field::RequestHost => escape(record.host.as_bytes(), out),
        Field::RequestMethod => escape(record.method.as_str().as_bytes(), out),
        Field::RequestProto => put(out, format_args!("{:?}", record.version)),
        Field::RequestScheme => out.extend_from_slice(b"http"),
        Field::RequestUri => escape(path_and_query(&record.uri).as_bytes(), out),
        Field::RequestUrl => {
            out.extend_from_slice(b"http://");
            escape(record.host.as_bytes(), out);
            render(Field::RequestUri, record, out);
        }
        Field::ResponseBodySize => put(out, format_args!("{}", record.bytes)),
        Field::ResponseStatus => put(out, format_args!("{}", record.status)),
        Field::ResponseTimeMs => seconds(record.took, 3, out),
        Field::ResponseTimeUs => seconds(record.took, 6, out),
        Field::ResponseTimeNs => seconds(record.took, 9, out),
        Field::TimeCommon
        | Field::TimeRfc3339
        | Field::TimeRfc3339Ms
        | Field::TimeRfc3339Us
        | Field::TimeRfc3339Ns
        | Field::TimeUnixMs
        | Field::TimeUnixUs
        | Field::TimeUnixNs => time(field, record.ended, out),
        Field::UpstreamAddr
        | Field::UpstreamHost
        | Field::UpstreamPort
        | Field::UpstreamRequestScheme
        | Field::UpstreamRequestUri
        | Field::UpstreamRequestUrl
        | Field::UpstreamService => {
            if let Some(upstream) = &record.upstream {
                upstreamed(field, upstream, out);
            }
        }
    }
}

fn upstreamed(field: Field, upstream: &Upstreamed, out: &mut Vec<u8>) {
    let (host, port) = upstream
        .authority
        .rsplit_once(':')
        .unwrap_or((&upstream.authority, ""));
    match field {
        Field::UpstreamHost => escape(host.as_bytes(), out),
        Field::UpstreamPort => escape(port.as_bytes(), out),
        Field::UpstreamRequestScheme => out.extend_from_slice(b"http"),
        Field::UpstreamRequestUri => escape(path_and_query(&upstream.uri).as_bytes(), out),
        Field::UpstreamRequestUrl => {
            out.extend_from_slice(b"http://");
            escape(upstream.authority.as_bytes(), out);
            escape(path_and_query(&upstream.uri).as_bytes(), out);
        }
        Field::UpstreamService => escape(upstream.service.as_bytes(), out),
        _ => escape(upstream.authority.as_bytes(), out),
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", |both| both.as_str())
}

/// Seconds and a fraction cut (not rounded) to `digits`.
fn seconds(took: Duration, digits: usize, out: &mut Vec<u8>) {
    let fraction = format!("{:09}", took.subsec_nanos());
    put(out, format_args!("{}.{}", took.as_secs(), &fraction[..digits]));
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// All times are UTC, as their suffixes say.
fn time(field: Field, at: SystemTime, out: &mut Vec<u8>) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    let of_day = since.as_secs() % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let nanos = format!("{:09}", since.subsec_nanos());
    let fraction = match field {
        Field::TimeUnixMs => return put(out, format_args!("{}", since.as_millis())),
        Field::TimeUnixUs => return put(out, format_args!("{}", since.as_micros())),
        Field::TimeUnixNs => return put(out, format_args!("{}", since.as_nanos())),
        Field::TimeCommon => {
            let name = MONTHS[month - 1];
            let date = format_args!("{day:02}/{name}/{year}:{hour:02}:{minute:02}:{second:02} +0000");
            return put(out, date);
        }
        Field::TimeRfc3339Ms => &nanos[..3],
        Field::TimeRfc3339Us => &nanos[..6],
        Field::TimeRfc3339Ns => &nanos[..],
        _ => "",
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    let time = format_args!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}Z");
    put(out, time);
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, usize, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, usize::try_from(month).expect("1 to 12"), day)
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory never fails");
}

/// Control characters, quotes, backslashes and everything beyond ASCII as `\xNN`, as nginx writes them.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => put(out, format_args!("\\x{byte:02X}")),
            plain => out.push(*plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            remote: "10.1.2.3:4567".parse().unwrap(),
            method: Method::GET,
            uri: "/a/b?c=d".parse().unwrap(),
            version: Version::HTTP_11,
            host: "example.com:8080".into(),
            headers: Vec::new(),
            upstream: Some(Upstreamed {
                service: "web".into(),
                authority: "10.0.0.7:80".into(),
                uri: "/b?c=d".parse().unwrap(),
            }),
            status: 200,
            bytes: 1234,
            ended: UNIX_EPOCH + Duration::new(1_709_210_096, 123_456_789),
            took: Duration::new(1, 234_999_999),
        }
    }

    fn line(pattern: &str, record: &Record) -> String {
        let mut out = Vec::new();
        Format::parse(pattern).unwrap().render(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn common_and_combined_are_what_log_readers_expect() {
        let mut record = record();
        let common = r#"10.1.2.3 - - [29/Feb/2024:12:34:56 +0000] "GET /a/b?c=d HTTP/1.1" 200 1234"#;
        assert_eq!(line("common", &record), common);
        record.headers = vec![None, Some(HeaderValue::from_static("curl/8"))];
        assert_eq!(line("combined", &record), format!(r#"{common} "" "curl/8""#));
    }

    #[test]
    fn every_field_renders_by_its_name() {
        let all: String = FIELDS
            .iter()
            .map(|(name, _)| format!("{name}=${name}\n"))
            .collect();
        let expected = "\
remote_addr=10.1.2.3:4567
remote_host=10.1.2.3
remote_port=4567
request=GET /a/b?c=d HTTP/1.1
request_args=c=d
request_host=example.com:8080
request_method=GET
request_proto=HTTP/1.1
request_scheme=http
request_uri=/a/b?c=d
request_url=http://example.com:8080/a/b?c=d
response_body_size=1234
response_status=200
response_time_ms=1.234
response_time_us=1.234999
response_time_ns=1.234999999
time_common=29/Feb/2024:12:34:56 +0000
time_rfc3339=2024-02-29T12:34:56Z
time_rfc3339_ms=2024-02-29T12:34:56.123Z
time_rfc3339_us=2024-02-29T12:34:56.123456Z
time_rfc3339_ns=2024-02-29T12:34:56.123456789Z
time_unix_ms=1709210096123
time_unix_us=1709210096123456
time_unix_ns=1709210096123456789
upstream_addr=10.0.0.7:80
upstream_host=10.0.0.7
upstream_port=80
upstream_request_scheme=http
upstream_request_uri=/b?c=d
upstream_request_url=http://10.0.0.7:80/b?c=d
upstream_service=web
";
        assert_eq!(line(&all, &record()), expected);
    }

    #[test]
    fn nobody_can_forge_a_line() {
        let mut record = record();
        record.headers = vec![Some(HeaderValue::from_bytes(b"a\"b\\c\td\xff").unwrap())];
        assert_eq!(line("\"$header.X\"", &record), "\"a\\x22b\\x5Cc\\x09d\\xFF\"");
    }

    #[test]
    fn faults_of_a_pattern_are_named() {
        assert_eq!(Format::parse(""), Err(BadFormat::Empty));
        assert_eq!(
            Format::parse("$nope x").unwrap_err().to_string(),
            "invalid field \"$nope\""
        );
        assert_eq!(
            Format::parse("$header. x"),
            Err(BadFormat::Field("$header.".into()))
        );
        assert_eq!(line("5$ $request_method.$$", &record()), "5$ GET.$$");
    }
}
