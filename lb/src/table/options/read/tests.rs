//! Options as users write them, one by one.

use super::*;
use crate::config::Strategy;

fn parsed(text: &str) -> Result<Read, BadOption> {
    let words: Vec<(&str, &str)> = text
        .split_whitespace()
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .collect();
    read(&words, None)
}

fn options(text: &str) -> Options {
    parsed(text).unwrap().options
}

fn nets(texts: &[&str]) -> Box<[IpNet]> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn access_rules_are_taken_as_meant_or_let_nobody_in() {
    assert_eq!(options("").access, Access::Open);
    assert_eq!(
        options("allow=ip:10.0.0.0/8,ip:fe80::1").access,
        Access::Allow(nets(&["10.0.0.0/8", "fe80::1"]))
    );
    // fabio's own example.
    assert_eq!(
        options("deny=ip:fe80::1234,100.123.0.0/16").access,
        Access::Deny(nets(&["fe80::1234", "100.123.0.0/16"]))
    );
    assert_eq!(
        options("deny=ip:10.0.0.1 allow=10.0.0.0/8").access,
        Access::AllowExcept {
            allow: nets(&["10.0.0.0/8"]),
            deny: nets(&["10.0.0.1"])
        }
    );
    for broken in [
        "allow=",
        "allow",
        "deny=ip:",
        "allow=host:a",
        "deny=ip:1.2.3.4,",
        "allow=ip:1.2.3.4/40",
    ] {
        let read = parsed(broken).unwrap();
        assert!(matches!(read.options.access, Access::Closed(_)), "{broken}");
        assert!(
            read.notes[0].starts_with("nobody is let in: "),
            "{:?}",
            read.notes
        );
    }
}

#[test]
fn header_rules_add_up_and_are_checked() {
    let options =
        options("addreqhdr=X-A:1 setreqhdr=X-A:a%20b delreqhdr=x-c addreqhdr=x-a:2 setresphdr=Y:a:b");
    let name = HeaderName::from_static;
    let value = HeaderValue::from_static;
    assert_eq!(
        *options.request_headers,
        [
            HeaderRule::Set(name("x-a"), value("a b")),
            HeaderRule::Add(name("x-a"), value("1")),
            HeaderRule::Add(name("x-a"), value("2")),
            HeaderRule::Delete(name("x-c")),
        ]
    );
    assert_eq!(
        *options.response_headers,
        [HeaderRule::Set(name("y"), value("a:b"))]
    );
    assert_eq!(options.shown.len(), 5);
    for bad in [
        "setreqhdr=X",
        "setreqhdr=:x",
        "setreqhdr=X@Y:1",
        "setreqhdr=X:a%0d%0ab",
        "setreqhdr=X:%ff",
        "delreqhdr=X:1",
        "delresphdr=",
        "setreqhdr=Host:x",
        "addresphdr=Transfer-Encoding:chunked",
        "delresphdr=content-length",
        "setreqhdr=Keep-Alive:1",
        "setreqhdr=Proxy-Authorization:x",
        "delreqhdr=CDN-Loop",
    ] {
        assert!(parsed(bad).is_err(), "{bad}");
    }
}

#[test]
fn rates_sizes_times_and_numbers_are_read() {
    let rate = |text| {
        options(&format!("ratelimit={text}"))
            .limits
            .rate
            .map(|rate| (rate.per_second, rate.burst))
    };
    assert_eq!(rate("10"), Some((10.0, 10.0)));
    assert_eq!(rate("10/s,30"), Some((10.0, 30.0)));
    assert_eq!(rate("30/m"), Some((0.5, 1.0)));
    assert_eq!(rate("36/h,5"), Some((0.01, 5.0)));
    assert!(
        options("ratelimit.by=ip ratelimit=1")
            .limits
            .rate
            .unwrap()
            .by_client
    );
    assert!(
        !options("ratelimit.by=all ratelimit=1")
            .limits
            .rate
            .unwrap()
            .by_client
    );
    let body = |text| options(&format!("maxbody={text}")).limits.body;
    assert_eq!(
        (body("10"), body("10k"), body("2M"), body("1g"), body("0")),
        (Some(10), Some(10240), Some(2 << 20), Some(1 << 30), Some(0))
    );
    let timeouts = options("dialtimeout=1s responseheadertimeout=1m30s timeout=2s").timeouts;
    assert_eq!(timeouts.dial, Some(Duration::from_secs(1)));
    assert_eq!(timeouts.header, Some(Duration::from_secs(90)));
    assert_eq!(timeouts.total, Some(Duration::from_secs(2)));
    assert_eq!(
        options("shutdownsessions=0s").shutdown_sessions,
        Some(Duration::ZERO)
    );
    assert_eq!(options("maxinflight=7").limits.in_flight, Some(7));
    assert_eq!(options("retries=0").retries, Some(0));
    for bad in [
        "ratelimit=",
        "ratelimit=0",
        "ratelimit=-1",
        "ratelimit=1/d",
        "ratelimit=1,0",
        "ratelimit=inf",
        "ratelimit=1/s/s",
        "ratelimit.by=cookie",
        "maxbody=",
        "maxbody=k",
        "maxbody=-1",
        "maxbody=1t",
        "maxbody=99999999999g",
        "timeout=5",
        "timeout=-1s",
        "dialtimeout=0",
        "maxinflight=0",
        "maxinflight=x",
        "retries=-1",
        "shutdownsessions=",
        "shutdownsessions=-1s",
        "strategy=fast",
        "strategy=cookie:",
        "rewrite=x",
        "rewrite=(,x",
        "weight=x",
        "weight=NaN",
    ] {
        assert!(parsed(bad).is_err(), "{bad}");
    }
}

#[test]
fn no_request_knocks_at_every_door() {
    let many = parsed("retries=255").unwrap();
    assert_eq!(
        (many.options.retries, &*many.notes),
        (Some(10), &["retries=255 is too many, 10 are made".to_owned()][..])
    );
    assert_eq!(options("retries=99999").retries, Some(10));
}

#[test]
fn a_tag_full_of_nonsense_is_remarked_on_a_few_times() {
    let words: Vec<String> = (0..2000).map(|number| format!("x{number}")).collect();
    let notes = parsed(&format!("{} allow=x", words.join(" "))).unwrap().notes;
    assert!(notes[0].starts_with("nobody is let in"), "{notes:?}");
    assert_eq!(notes[1], "unknown option 'x0' has no effect");
    assert_eq!(notes[8..], ["and 1993 more like these"]);
}

#[test]
fn a_pattern_may_have_commas_and_must_stay_small() {
    let rewrite = options("rewrite=^/a{1,2}/(.*)$,/$1").rewrite.unwrap();
    assert_eq!(rewrite.pattern.replace("/aa/x", &*rewrite.with), "/x");
    assert_eq!(
        parsed(r"rewrite=\w{1000},x").unwrap_err().to_string(),
        r"rewrite=\w{1000},x: the pattern is too big"
    );
}

#[test]
fn targets_are_spoken_to_as_asked() {
    let proto = |text| parsed(&format!("proto={text}")).unwrap().proto;
    assert_eq!(proto("https"), Some(Scheme::Https));
    assert_eq!(
        (proto("h2"), proto("grpcs")),
        (Some(Scheme::H2), Some(Scheme::H2))
    );
    assert_eq!(
        (proto("h2c"), proto("grpc")),
        (Some(Scheme::H2c), Some(Scheme::H2c))
    );
    assert_eq!(
        (proto("tcp"), proto("tcp+sni")),
        (Some(Scheme::Tcp), Some(Scheme::Tcp))
    );
    assert_eq!((proto("http"), proto("ws")), (Some(Scheme::Http), None));
    let tls = options("tlsskipverify=true grpcservername=a tlsca=ours tlscert=mine").tls;
    assert!(tls.skip_verify);
    assert_eq!(
        (tls.server_name.as_deref(), tls.ca.as_deref(), tls.cert.as_deref()),
        (Some("a"), Some("ours"), Some("mine"))
    );
    assert_eq!(options("pxyproto=true").send_proxy, Some(ProxyHeader::V1));
    assert_eq!(options("pxyproto=v2").send_proxy, Some(ProxyHeader::V2));
    assert_eq!(options("pxyproto=false").send_proxy, None);
    assert_eq!(
        options("strategy=cookie:sid").strategy,
        Some(Strategy::Cookie("sid".into()))
    );
}

#[test]
fn what_has_no_effect_is_kept_and_noted() {
    let read = parsed("proto=ws stripp=/x color=red tlsskipverify=yes pxyproto=on STRIP=/y bare").unwrap();
    assert_eq!(
        read.notes,
        [
            "proto=ws is not known, http is spoken",
            "unknown option 'stripp', did you mean 'strip'?",
            "unknown option 'color' has no effect",
            "tlsskipverify=yes is not true, certificates are verified",
            "pxyproto=on is none of true, v1, v2; no header is sent",
            "unknown option 'STRIP', did you mean 'strip'?",
            "unknown option 'bare' has no effect",
        ]
    );
    assert_eq!(read.options.shown.len(), 7);
    assert!(!read.options.tls.skip_verify);
}

#[test]
fn every_option_is_read_by_its_own_name() {
    for option in OPTIONS {
        let words = [(option.name, "x")];
        if let Ok(read) = read(&words, None) {
            let unknown = read.notes.iter().any(|note| note.starts_with("unknown option"));
            assert!(!unknown, "{}", option.name);
        }
    }
}
