//! Which trace a request belongs to, as its headers say: W3C Trace Context (`traceparent`, level 1 and 2) and B3, in
//! one header (`b3`) or several (`X-B3-…`). Pure.

use hyper::http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// What the headers of a request say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// The trace, and the span that the request was sent in.
    pub ids: Option<(u128, u64)>,
    /// Whether the trace is recorded; `None` leaves it to us.
    pub sampled: Option<bool>,
    pub spoken: Spoken,
}

/// Which headers there are, so that those behind us find what they look for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spoken {
    w3c: bool,
    b3: bool,
    b3_many: bool,
    /// Trace ids of 64 bits.
    short: bool,
}

/// Reads the headers; `traceparent` is believed before `b3`, and that before the `X-B3-…`. One that is not as it
/// should be is as if it were not there.
pub(crate) fn extract(headers: &HeaderMap) -> Incoming {
    let w3c = one(headers, &TRACEPARENT).and_then(traceparent);
    let single = one(headers, &B3).and_then(b3);
    let many = b3_many(headers);
    let mut incoming = w3c.or(single).or(many).unwrap_or_default();
    incoming.spoken = Spoken {
        w3c: w3c.is_some(),
        b3: single.is_some(),
        b3_many: many.is_some(),
        short: w3c.is_none() && incoming.spoken.short,
    };
    incoming
}

/// Says that the request is sent in `span`, whose parent is `parent`, in the words that it came with; one that came
/// without any says it in both.
pub(crate) fn inject(headers: &mut HeaderMap, spoken: Spoken, trace: u128, span: u64, parent: u64) {
    let none = !(spoken.w3c || spoken.b3 || spoken.b3_many);
    let id = if spoken.short {
        format!("{trace:016x}")
    } else {
        format!("{trace:032x}")
    };
    let mut put = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    if spoken.w3c || none {
        put(TRACEPARENT, format!("00-{trace:032x}-{span:016x}-01"));
    }
    if spoken.b3 {
        put(B3, format!("{id}-{span:016x}-1-{parent:016x}"));
    }
    if spoken.b3_many || none {
        put(B3_TRACE, id);
        put(B3_SPAN, format!("{span:016x}"));
        put(B3_PARENT, format!("{parent:016x}"));
        put(B3_SAMPLED, "1".to_owned());
    }
    if !spoken.w3c {
        // It belongs to a `traceparent` that was not there or not valid.
        headers.remove(TRACESTATE);
    }
}

/// A header that is there exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value.trim())
}

fn traceparent(text: &str) -> Option<Incoming> {
    let mut parts = text.splitn(5, '-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let known_length = version == "00";
    if version == "ff"
        || (known_length && parts.next().is_some())
        || text.bytes().any(|b| b.is_ascii_uppercase())
    {
        return None;
    }
    hex(version, &[2])?;
    let flags = hex(flags, &[2])?;
    Some(Incoming {
        ids: Some((
            hex(trace, &[32]).filter(|id| *id != 0)?,
            u64::try_from(hex(span, &[16])?).ok().filter(|id| *id != 0)?,
        )),
        sampled: Some(flags & 1 == 1),
        spoken: Spoken::default(),
    })
}

/// `<trace>-<span>[-<sampled>[-<parent>]]`, or the decision alone.
fn b3(text: &str) -> Option<Incoming> {
    let Some((trace, rest)) = text.split_once('-') else {
        return Some(Incoming {
            sampled: Some(decision(text)?),
            ..Incoming::default()
        });
    };
    let mut rest = rest.split('-');
    let ids = b3_ids(trace, rest.next()?)?;
    let sampled = match rest.next() {
        Some(word) => Some(decision(word)?),
        None => None,
    };
    Some(Incoming {
        ids: Some(ids),
        sampled,
        spoken: Spoken {
            short: trace.len() == 16,
            ..Spoken::default()
        },
    })
}

fn b3_many(headers: &HeaderMap) -> Option<Incoming> {
    let debug = one(headers, &B3_FLAGS) == Some("1");
    let sampled = one(headers, &B3_SAMPLED)
        .and_then(decision)
        .or(debug.then_some(true));
    let trace = one(headers, &B3_TRACE);
    let ids = trace
        .zip(one(headers, &B3_SPAN))
        .and_then(|(trace, span)| b3_ids(trace, span));
    (ids.is_some() || sampled.is_some()).then(|| Incoming {
        ids,
        sampled,
        spoken: Spoken {
            short: trace.is_some_and(|trace| trace.len() == 16),
            ..Spoken::default()
        },
    })
}

fn b3_ids(trace: &str, span: &str) -> Option<(u128, u64)> {
    let trace = hex(trace, &[16, 32]).filter(|id| *id != 0)?;
    let span = u64::try_from(hex(span, &[16])?).ok().filter(|id| *id != 0)?;
    Some((trace, span))
}

/// Old libraries say `true` and `false`; `d` is debug, which is recorded.
fn decision(word: &str) -> Option<bool> {
    match word {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn hex(text: &str, lengths: &[usize]) -> Option<u128> {
    let digits = lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests;
