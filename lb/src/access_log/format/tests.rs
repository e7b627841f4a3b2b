//! Lines as log readers know them, and nobody who can forge one.

use std::time::UNIX_EPOCH;

use super::*;

fn record() -> Record {
    Record {
        remote: "10.1.2.3:4567".parse().unwrap(),
        method: Method::GET,
        uri: "/a/b?c=d".parse().unwrap(),
        version: Version::HTTP_11,
        scheme: "https",
        host: "example.com:8080".into(),
        headers: Vec::new(),
        upstream: Some(Upstreamed {
            service: "web".into(),
            scheme: "http",
            authority: "10.0.0.7:80".into(),
            uri: "/b?c=d".parse().unwrap(),
        }),
        status: 200,
        bytes: 1234,
        ended: UNIX_EPOCH + Duration::new(1_709_210_096, 123_456_789),
        took: Duration::new(1, 234_999_999),
        trace: Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
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
request_scheme=https
request_uri=/a/b?c=d
request_url=https://example.com:8080/a/b?c=d
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
time_start_common=29/Feb/2024:12:34:54 +0000
time_start_rfc3339_ms=2024-02-29T12:34:54.888Z
time_start_unix_ms=1709210094888
trace_id=4bf92f3577b34da6a3ce929d0e0e4736
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

#[test]
fn json_is_an_object_a_line_with_its_keys_in_order() {
    let mut record = record();
    record.headers = vec![
        None,
        Some(HeaderValue::from_bytes(b"a\"b\\c\td\xff\xc3\xa9").unwrap()),
    ];
    let whole = line("json", &record);
    assert_eq!(
        whole,
        concat!(
            r#"{"time":"2024-02-29T12:34:56.123456Z","remote_host":"10.1.2.3","remote_port":4567,"#,
            r#""request_method":"GET","request_scheme":"https","request_host":"example.com:8080","#,
            r#""request_uri":"/a/b?c=d","request_proto":"HTTP/1.1","response_status":200,"#,
            r#""response_body_size":1234,"response_time":1.234999,"upstream_addr":"10.0.0.7:80","#,
            r#""upstream_service":"web","upstream_request_url":"http://10.0.0.7:80/b?c=d","#,
            r#""user_agent":"a\"b\\c\u0009d"#,
            "\u{fffd}\u{e9}",
            r#"","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}"#
        )
    );
    let read: serde_json::Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(read["user_agent"], "a\"b\\c\td\u{fffd}\u{e9}");
    let mut bare = record;
    (bare.upstream, bare.headers, bare.trace) = (None, Vec::new(), None);
    let read: serde_json::Value = serde_json::from_str(&line("json", &bare)).unwrap();
    assert_eq!(read.as_object().unwrap().len(), 11);
}

proptest::proptest! {
    #[test]
    fn any_header_makes_one_line_and_one_object(value in proptest::collection::vec(0x20_u8..=0xff, 0..64)) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut record = record();
        record.headers = vec![Some(value.clone()), Some(value)];
        for format in ["combined", "json"] {
            let line = line(format, &record);
            proptest::prop_assert!(!line.chars().any(char::is_control), "{line:?}");
        }
        proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&line("json", &record)).is_ok());
    }
}
