//! Lines of commands, one by one. What they do to a table is in the transcripts.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use super::*;

fn parse(text: &str) -> Commands {
    Commands::parse(&Config::default(), text)
}

fn assert_reason(line: &str, expected: &str) {
    let read = parse(line);
    assert!(read.commands.is_empty(), "{:?}", read.commands);
    let reason = &read.skipped[0].reason;
    assert!(reason.starts_with(expected), "{line}: {reason}");
}

#[test]
fn every_form_is_understood_however_it_is_spaced() {
    for line in [
        "route add svc foo.com/ http://10.0.0.1:80/",
        "  route\tadd  svc\t:1234   tcp://10.0.0.1:80 weight 0.5  tags \"a, b\"\topts \"a=b c\" ",
        "route add svc /x http://[::1]/ opts \"strip=/x\"",
        "route add svc / http://$host$path opts \"redirect=301\"",
        "route add tags / http://a/ tags \"\\\"quoted\\\"\"",
        "route del svc",
        "route del svc foo.com/",
        "route del svc :1234",
        "route del svc foo.com/ http://10.0.0.1:80/",
        "route del svc tags \"a,b\"",
        "route del tags \"a\"",
        "route del tags",
        "route weight svc foo.com/ weight 0.3",
        "route weight svc foo.com/ weight 0.3 tags \"a\"",
        "route weight foo.com/ weight 0.3 tags \"a\"",
        "route weight weight / weight 1",
        "route add \"two words\" / http://a/",
        "route del \"two words\" tags \"a\"",
        "route weight \"two words\" / weight 1",
    ] {
        let read = parse(line);
        assert_eq!(
            (read.commands.len(), read.skipped.len()),
            (1, 0),
            "{line}: {:?}",
            read.skipped
        );
    }
}

#[test]
fn what_is_no_command_is_named_in_fabios_words() {
    for (line, expected) in [
        ("rout add", "line 1: syntax error: 'route' expected"),
        ("Route del svc", "line 1: syntax error: 'route' expected"),
        ("route delete svc", "line 1: syntax error: 'route' expected"),
        ("route add svc /", "line 1: syntax error: 'route add' invalid"),
        (
            "route add svc / http://a/ x",
            "line 1: syntax error: 'route add' invalid",
        ),
        (
            "route add svc / http://a/ tags a",
            "line 1: syntax error: 'route add' invalid",
        ),
        (
            "route add svc / http://a/ tags \"a",
            "line 1: syntax error: 'route add' invalid",
        ),
        (
            "route add svc / http://a/ opts \"a=b\" tags \"a\"",
            "line 1: syntax error: 'route add' invalid",
        ),
        (
            "route add svc / http://a/ weight x",
            "line 1: syntax error: weight value invalid",
        ),
        (
            "route add svc / http://a/ weight",
            "line 1: syntax error: 'route add' invalid",
        ),
        ("route del", "line 1: syntax error: 'route del' invalid"),
        ("route del tags \"\"", "line 1: syntax error: 'route del' invalid"),
        (
            "route del svc / http://a/ x",
            "line 1: syntax error: 'route del' invalid",
        ),
        (
            "route weight svc /",
            "line 1: syntax error: 'route weight' invalid",
        ),
        (
            "route weight / weight 1",
            "line 1: syntax error: 'route weight' invalid",
        ),
        (
            "route weight svc / weight x",
            "line 1: syntax error: weight value invalid",
        ),
    ] {
        assert_reason(line, expected);
    }
}

#[test]
fn a_command_that_cannot_be_meant_says_why() {
    for (line, expected) in [
        ("route add svc / ftp://a/", "line 1: 'ftp://a/' is no destination"),
        (
            "route add svc / 10.0.0.1:80",
            "line 1: '10.0.0.1:80' is no destination",
        ),
        (
            "route add svc :1234 tcp://a",
            "line 1: 'tcp://a' is no destination",
        ),
        (
            "route add svc / http://u@a/",
            "line 1: 'http://u@a/' is no destination",
        ),
        (
            "route add svc / http://a:b/",
            "line 1: 'http://a:b/' is no destination",
        ),
        (
            "route add svc / http://[::1/",
            "line 1: 'http://[::1/' is no destination",
        ),
        (
            "route add svc {a.com/ http://a/",
            "line 1: '{a.com': a bracket is not closed",
        ),
        ("route add svc :0 tcp://a:1", "line 1: '0' is no port"),
        (
            "route add svc / http://a/ opts \"timeout=5\"",
            "line 1: timeout=5: it is a time",
        ),
        (
            "route add svc / http://a/\u{1b}[31m",
            "line 1: it contains the control character",
        ),
    ] {
        assert_reason(line, expected);
    }
}

#[test]
fn lines_are_numbered_as_people_count_them_and_may_be_of_any_length() {
    let long = format!("# {}\n", "x".repeat(1 << 17));
    let service = "s".repeat(1 << 17);
    let read = parse(&format!(
        "{long}\n// y\nroute nothing\r\nroute del {service}\nnonsense"
    ));
    let reasons: Vec<&str> = read.skipped.iter().map(|skipped| &*skipped.reason).collect();
    assert_eq!(
        reasons,
        [
            "line 4: syntax error: 'route' expected",
            "line 6: syntax error: 'route' expected"
        ]
    );
    assert_eq!(read.commands.len(), 1);
}

fn text() -> impl Strategy<Value = String> {
    let pieces = [
        "route ",
        "add ",
        "del ",
        "weight ",
        "svc ",
        "foo.com/ ",
        ":80 ",
        "/ ",
        "http://a/ ",
        "tcp://[::1]:1 ",
        "tags ",
        "opts ",
        "\"",
        "\\",
        "a=b ",
        "0.5 ",
        "\t",
        "\n",
        "# ",
    ];
    let piece = prop_oneof![
        8 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => Just("proto=tcp".to_owned()),
        1 => any::<String>(),
    ];
    collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in text()) {
        let read = parse(&text);
        for skipped in read.skipped {
            assert!(!skipped.reason.contains(char::is_control), "{skipped:?}");
        }
    }
}
