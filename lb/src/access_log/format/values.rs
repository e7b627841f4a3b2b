//! What a record says, written down: times in UTC, and nothing of a stranger's that could end a line or a string.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::http::Uri;

use super::{Field, Record, UNREAD, Upstreamed};
use crate::authority;

/// How texts of strangers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Control characters, quotes, backslashes and everything beyond ASCII as `\xNN`, as nginx writes them.
    Text,
    /// As within a string of JSON (RFC 8259); what is not UTF-8 is replaced by U+FFFD.
    Json,
}

/// One line in the making.
pub(super) struct Values<'a> {
    pub record: &'a Record,
    pub spelling: Spelling,
    /// Of a JSON object, so far.
    pub members: usize,
    pub out: &'a mut Vec<u8>,
}

impl Values<'_> {
    pub(super) fn header(&mut self, at: usize) {
        if let Some(Some(value)) = self.record.headers.get(at) {
            self.escape(value.as_bytes());
        }
    }

    /// One member of a JSON object; left out where there is no value.
    pub(super) fn member(&mut self, key: &str, number: bool, value: impl FnOnce(&mut Self)) {
        let before = self.out.len();
        self.out.push(if self.members == 0 { b'{' } else { b',' });
        let quote = if number { "" } else { "\"" };
        self.put(format_args!("\"{key}\":{quote}"));
        let empty = self.out.len();
        value(self);
        if self.out.len() == empty {
            self.out.truncate(before);
        } else {
            self.put(format_args!("{quote}"));
            self.members += 1;
        }
    }

    /// The end of an object.
    pub(super) fn close(&mut self) {
        self.out.push(b'}');
    }

    pub(super) fn field(&mut self, field: Field) {
        let record = self.record;
        match field {
            Field::RemoteAddr => self.put(format_args!("{}", record.remote)),
            Field::RemoteHost => match record.remote {
                SocketAddr::V4(addr) => self.put(format_args!("{}", addr.ip())),
                SocketAddr::V6(addr) => self.put(format_args!("[{}]", addr.ip())),
            },
            Field::RemotePort => self.put(format_args!("{}", record.remote.port())),
            Field::Request if record.method == UNREAD => self.out.extend_from_slice(UNREAD.as_bytes()),
            Field::Request => {
                self.escape(record.method.as_str().as_bytes());
                self.out.push(b' ');
                self.field(Field::RequestUri);
                self.put(format_args!(" {:?}", record.version));
            }
            Field::RequestArgs => self.escape(record.uri.query().unwrap_or("").as_bytes()),
            Field::RequestHost => self.escape(record.host.as_bytes()),
            Field::RequestMethod => self.escape(record.method.as_str().as_bytes()),
            Field::RequestProto => self.put(format_args!("{:?}", record.version)),
            Field::RequestScheme => self.out.extend_from_slice(record.scheme.as_bytes()),
            Field::RequestUri => self.escape(path_and_query(&record.uri).as_bytes()),
            Field::RequestUrl => {
                self.put(format_args!("{}://", record.scheme));
                self.escape(record.host.as_bytes());
                self.field(Field::RequestUri);
            }
            Field::ResponseBodySize => self.put(format_args!("{}", record.bytes)),
            Field::ResponseStatus => self.put(format_args!("{}", record.status)),
            Field::ResponseTimeMs => self.seconds(record.took, 3),
            Field::ResponseTimeUs => self.seconds(record.took, 6),
            Field::ResponseTimeNs => self.seconds(record.took, 9),
            Field::TraceId => {
                if let Some(trace) = record.trace {
                    self.put(format_args!("{trace:032x}"));
                }
            }
            Field::UpstreamAddr
            | Field::UpstreamHost
            | Field::UpstreamPort
            | Field::UpstreamRequestScheme
            | Field::UpstreamRequestUri
            | Field::UpstreamRequestUrl
            | Field::UpstreamService => {
                if let Some(upstream) = &record.upstream {
                    self.upstreamed(field, upstream);
                }
            }
            _ => self.time(field),
        }
    }

    fn upstreamed(&mut self, field: Field, upstream: &Upstreamed) {
        let authority = &*upstream.authority;
        let (host, port) = authority::split(authority);
        match field {
            Field::UpstreamHost => self.escape(host.as_bytes()),
            Field::UpstreamPort => self.escape(port.unwrap_or_default().as_bytes()),
            Field::UpstreamRequestScheme => self.out.extend_from_slice(upstream.scheme.as_bytes()),
            Field::UpstreamRequestUri => self.escape(path_and_query(&upstream.uri).as_bytes()),
            Field::UpstreamRequestUrl => {
                self.put(format_args!("{}://", upstream.scheme));
                self.escape(authority.as_bytes());
                self.escape(path_and_query(&upstream.uri).as_bytes());
            }
            Field::UpstreamService => self.escape(upstream.service.as_bytes()),
            _ => self.escape(authority.as_bytes()),
        }
    }

    /// Seconds and a fraction cut (not rounded) to `digits`.
    fn seconds(&mut self, took: Duration, digits: usize) {
        let fraction = format!("{:09}", took.subsec_nanos());
        self.put(format_args!("{}.{}", took.as_secs(), &fraction[..digits]));
    }

    /// All times are UTC, as their suffixes say.
    fn time(&mut self, field: Field) {
        let Record { ended, took, .. } = self.record;
        let started = ended.checked_sub(*took).unwrap_or(UNIX_EPOCH);
        match field {
            Field::TimeUnixMs => self.put(format_args!("{}", unix(*ended).as_millis())),
            Field::TimeUnixUs => self.put(format_args!("{}", unix(*ended).as_micros())),
            Field::TimeUnixNs => self.put(format_args!("{}", unix(*ended).as_nanos())),
            Field::TimeCommon => self.common(*ended),
            Field::TimeRfc3339Ms => rfc3339(*ended, 3, self.out),
            Field::TimeRfc3339Us => rfc3339(*ended, 6, self.out),
            Field::TimeRfc3339Ns => rfc3339(*ended, 9, self.out),
            Field::TimeStartCommon => self.common(started),
            Field::TimeStartRfc3339Ms => rfc3339(started, 3, self.out),
            Field::TimeStartUnixMs => self.put(format_args!("{}", unix(started).as_millis())),
            _ => rfc3339(*ended, 0, self.out),
        }
    }

    fn common(&mut self, at: SystemTime) {
        let Moment { date, time, .. } = Moment::of(at);
        let ((year, month, day), (hour, minute, second)) = (date, time);
        let month = MONTHS[month - 1];
        self.put(format_args!(
            "{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000"
        ));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        put(self.out, text);
    }

    fn escape(&mut self, bytes: &[u8]) {
        if self.spelling == Spelling::Json {
            return self.escape_json(&String::from_utf8_lossy(bytes));
        }
        for byte in bytes {
            match byte {
                b'"' | b'\\' | 0..=0x1f | 0x7f.. => put(self.out, format_args!("\\x{byte:02X}")),
                plain => self.out.push(*plain),
            }
        }
    }

    fn escape_json(&mut self, text: &str) {
        for char in text.chars() {
            match char {
                '"' => self.out.extend_from_slice(b"\\\""),
                '\\' => self.out.extend_from_slice(b"\\\\"),
                char if char.is_control() => self.put(format_args!("\\u{:04x}", u32::from(char))),
                plain => self.put(format_args!("{plain}")),
            }
        }
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn unix(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A time as people write it, UTC.
struct Moment {
    /// Year, month from 1, day.
    date: (u64, usize, u64),
    time: (u64, u64, u64),
    nanos: u32,
}

impl Moment {
    fn of(at: SystemTime) -> Self {
        let since = unix(at);
        let of_day = since.as_secs() % 86_400;
        Self {
            date: civil(since.as_secs() / 86_400),
            time: (of_day / 3600, of_day / 60 % 60, of_day % 60),
            nanos: since.subsec_nanos(),
        }
    }
}

/// Appends a time as RFC 3339 has it, with so many digits of fraction (cut, not rounded).
pub(in crate::access_log) fn rfc3339(at: SystemTime, digits: usize, out: &mut Vec<u8>) {
    let Moment { date, time, nanos } = Moment::of(at);
    let ((year, month, day), (hour, minute, second)) = (date, time);
    let nanos = format!("{nanos:09}");
    let dot = if digits == 0 { "" } else { "." };
    let fraction = &nanos[..digits];
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

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", |both| both.as_str())
}
