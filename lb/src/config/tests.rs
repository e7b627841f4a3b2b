//! The text forms of values: what is understood, and what is refused with which words.

use std::time::Duration;

use catalog::Status;
use proptest::proptest;

use super::*;

fn refused<T: std::fmt::Debug>(result: Result<T, BadValue>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_bare_port_listens_on_all_interfaces_and_each_listener_has_its_options() {
    let listeners =
        parse_listeners(":9999, 127.0.0.1:6380;proto=tcp;rt=5s;wt=1m30s,[::1]:80;it=250ms").unwrap();
    let shown: Vec<String> = listeners
        .iter()
        .map(|each| format!("{} {}", each.addr, each.proto.as_str()))
        .collect();
    assert_eq!(shown, ["[::]:9999 http", "127.0.0.1:6380 tcp", "[::1]:80 http"]);
    assert_eq!(listeners[1].read_timeout, Some(Duration::from_secs(5)));
    assert_eq!(listeners[1].write_timeout, Some(Duration::from_secs(90)));
    assert_eq!(listeners[2].idle_timeout, Some(Duration::from_millis(250)));
    assert_eq!(listeners[0].read_timeout, None);
}

#[test]
fn quoted_values_and_addr_keys_are_understood() {
    let listeners = parse_listeners("addr=\":1\";proto=\"tcp\" , proto=http;addr=localhost:2;rt=0").unwrap();
    assert_eq!(listeners[0], Listener::tcp("[::]:1".parse().unwrap()));
    assert_eq!(listeners[1], Listener::http("127.0.0.1:2".parse().unwrap()));
    let quoted = kv_list(r#"a="x,y;z=\"1\"";b = c=d ,,; ,e"#).unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        quoted,
        [
            vec![pair("a", "x,y;z=\"1\""), pair("b", "c=d")],
            vec![pair("", "e")]
        ]
    );
}

#[test]
fn a_bad_listener_is_named_with_what_would_be_right() {
    assert!(refused(parse_listeners("")).contains("need listening host:port"));
    assert!(refused(parse_listeners("proto=tcp")).contains("need listening host:port"));
    assert!(refused(parse_listeners(":1;proto=x")).starts_with("unknown protocol \"x\""));
    assert!(
        refused(parse_listeners(":1;proto=grpcs")).starts_with("protocol \"grpcs\" is not supported yet")
    );
    assert!(refused(parse_listeners(":1;cs=mine")).contains("option 'cs' is not supported yet"));
    assert!(refused(parse_listeners(":1;color=red")).contains("unknown option 'color'"));
    assert!(refused(parse_listeners(":1;rt=5")).contains("rt=5 is no duration"));
    assert!(refused(parse_listeners(":70000")).contains("':70000' is no listening address"));
    assert!(refused(parse_listeners("example.com:80")).contains("'example.com:80' is no listening address"));
    assert!(refused(parse_listeners("addr=\":1")).contains("unbalanced quotes"));
    assert!(refused(parse_listeners("addr=\":1\"x")).contains("unbalanced quotes"));
    assert!(refused(parse_admin(":1,:2")).contains("ui.addr must contain only one listener"));
}

#[test]
fn words_are_checked_and_the_error_says_which_exist() {
    assert_eq!(parse_strategy("rr"), Ok(Strategy::Rr));
    assert_eq!(
        refused(parse_strategy("fair")),
        "invalid proxy.strategy: fair: it is rnd or rr"
    );
    assert_eq!(parse_matcher("iprefix"), Ok(Matcher::IPrefix));
    assert!(refused(parse_matcher("regex")).starts_with("invalid proxy.matcher: regex"));
    assert_eq!(parse_checks_required("all"), Ok(ChecksRequired::All));
    assert!(parse_checks_required("most").is_err());
    assert_eq!(parse_host_routes("off"), Ok(HostRoutes::Off));
    assert!(parse_host_routes("yes").is_err());
    assert_eq!(
        parse_statuses("passing, warning,passing"),
        Ok(vec![Status::Passing, Status::Warning])
    );
    assert!(refused(parse_statuses("good")).contains("good"));
    assert!(parse_statuses(" ,").is_err());
    assert_eq!(parse_no_route_status("503"), Ok(503));
    assert!(refused(parse_no_route_status("99")).starts_with("proxy.noroutestatus must be between"));
}

#[test]
fn networks_contain_their_addresses_also_when_mapped() {
    let nets = parse_networks("10.0.0.0/8, ::1 ,0.0.0.0/0,fd00::/8,::/0").unwrap();
    let holds = |index: usize, text: &str| nets[index].contains(text.parse().unwrap());
    assert!(holds(0, "10.255.0.1") && !holds(0, "11.0.0.1") && holds(0, "::ffff:10.1.1.1"));
    assert!(holds(1, "::1") && !holds(1, "::2") && !holds(1, "127.0.0.1"));
    assert!(holds(2, "8.8.8.8") && !holds(2, "::5"));
    assert!(holds(3, "fdff::1") && !holds(3, "fe00::1"));
    assert!(holds(4, "fe00::1"));
    assert!(refused(parse_networks("10.0.0.0/33")).contains("'10.0.0.0/33' is no IP network"));
    assert!(parse_networks("ten").is_err());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in ".{0,80}") {
        let _ = parse_listeners(&text);
        let _ = parse_networks(&text);
        let _ = kv_list(&text);
    }
}
