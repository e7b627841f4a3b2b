//! Trace headers as their specifications have them, and back.

use super::*;

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

type Ids = Option<(u128, u64)>;
const IDS: Ids = Some((TRACE, SPAN));
const SHORT: Ids = Some((0xa3ce_929d_0e0e_4736, SPAN));

/// Headers, and what they say: ids, and whether the trace is recorded.
const CASES: &[(&str, Ids, Option<bool>)] = &[
    (
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        IDS,
        Some(true),
    ),
    (
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02",
        IDS,
        Some(false),
    ),
    (
        "traceparent: cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        IDS,
        Some(true),
    ),
    (
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        None,
        None,
    ),
    (
        "traceparent: ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        None,
        None,
    ),
    (
        "traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        None,
        None,
    ),
    (
        "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        None,
        None,
    ),
    (
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        None,
        None,
    ),
    (
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        None,
        None,
    ),
    (
        "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-05e3ac9a4f6e3b90",
        IDS,
        Some(true),
    ),
    (
        "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-d",
        IDS,
        Some(true),
    ),
    ("b3: a3ce929d0e0e4736-00f067aa0ba902b7", SHORT, None),
    ("b3: 0", None, Some(false)),
    ("b3: x", None, None),
    (
        "X-B3-TraceId: a3ce929d0e0e4736\nX-B3-SpanId: 00f067aa0ba902b7\nX-B3-Sampled: 0",
        SHORT,
        Some(false),
    ),
    (
        "X-B3-TraceId: a3ce929d0e0e4736\nX-B3-SpanId: 00f067aa0ba902b7\nX-B3-Flags: 1",
        SHORT,
        Some(true),
    ),
    ("X-B3-Sampled: true", None, Some(true)),
    (
        "X-B3-TraceId: nonsense\nX-B3-SpanId: 00f067aa0ba902b7",
        None,
        None,
    ),
    ("X-B3-SpanId: 00f067aa0ba902b7", None, None),
    ("Accept: x", None, None),
];

fn headers(text: &str) -> HeaderMap {
    let lines = text.lines().map(|line| line.trim().split_once(": ").unwrap());
    lines
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

fn shown(headers: &HeaderMap) -> String {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn each_dialect_is_read_as_its_specification_has_it() {
    for (text, found, sampled) in CASES {
        let (found, sampled) = (*found, *sampled);
        let incoming = extract(&headers(text));
        assert_eq!((incoming.ids, incoming.sampled), (found, sampled), "{text}");
    }
    let twice = headers(
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    let mut map = HeaderMap::new();
    map.extend(twice);
    map.append(TRACEPARENT, HeaderValue::from_static("00-x"));
    assert_eq!(extract(&map), Incoming::default());
}

#[test]
fn a_child_is_told_of_in_the_words_of_its_parent() {
    for (before, after) in [
        (
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ntracestate: a=b",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01\ntracestate: a=b",
        ),
        (
            "b3: a3ce929d0e0e4736-00f067aa0ba902b7\ntracestate: a=b",
            "b3: a3ce929d0e0e4736-0000000000000007-1-0000000000000006",
        ),
        (
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nb3: 0",
            "b3: 4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-1-0000000000000006\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01",
        ),
        (
            "X-B3-TraceId: 4bf92f3577b34da6a3ce929d0e0e4736\nX-B3-SpanId: 00f067aa0ba902b7",
            "x-b3-parentspanid: 0000000000000006\nx-b3-sampled: 1\nx-b3-spanid: 0000000000000007\n\
             x-b3-traceid: 4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        (
            "traceparent: nonsense\ntracestate: a=b",
            "traceparent: 00-00000000000000000000000000000009-0000000000000007-01\n\
             x-b3-parentspanid: 0000000000000006\nx-b3-sampled: 1\nx-b3-spanid: 0000000000000007\n\
             x-b3-traceid: 00000000000000000000000000000009",
        ),
    ] {
        let mut headers = headers(before);
        let incoming = extract(&headers);
        let trace = incoming.ids.map_or(9, |(trace, _)| trace);
        inject(&mut headers, incoming.spoken, trace, 7, 6);
        assert_eq!(shown(&headers), after, "{before}");
    }
}

proptest::proptest! {
    #[test]
    fn no_header_makes_it_stumble(w3c in "[0-9a-f-]{0,60}", single in "[0-9a-fd-]{0,70}", id in "\\PC{0,40}") {
        let mut headers = HeaderMap::new();
        for (name, value) in [(TRACEPARENT, w3c), (B3, single), (B3_TRACE, id)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        let incoming = extract(&headers);
        inject(&mut headers, incoming.spoken, incoming.ids.map_or(1, |(trace, _)| trace), 2, 3);
        proptest::prop_assert_eq!(extract(&headers).ids.map(|(_, span)| span), Some(2));
    }
}
