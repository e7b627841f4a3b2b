//! The text forms of values: what is understood, and what is refused with which words.

use std::time::Duration;

use catalog::Status;
use proptest::{collection, prop_assert_eq, proptest};

use super::*;

fn refused<T: std::fmt::Debug>(result: Result<T, BadValue>) -> String {
    result.unwrap_err().to_string()
}

/// All faults of a list, a line each.
fn faults<T: std::fmt::Debug>(result: Result<T, Vec<BadValue>>) -> String {
    let faults = result.unwrap_err();
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// All items of a list, none of which is wrong.
fn sound<T>((good, bad): (Vec<T>, Vec<BadValue>)) -> Vec<T> {
    assert_eq!(bad, []);
    good
}

fn listeners(text: &str) -> Result<Vec<Listener>, Vec<BadValue>> {
    let certs = certs("cs=main;type=file;cert=a.pem,cs=pki;type=vault-pki;cert=pki/issue/web");
    let around = Around {
        certs: Some(&certs),
        ..Around::nothing()
    };
    parse_listeners(text, &around)
}

fn listen(text: &str) -> Listener {
    listeners(text).unwrap().pop().unwrap()
}

fn tls(text: &str) -> Tls {
    listen(text).tls.unwrap()
}

#[test]
fn a_bare_port_listens_on_all_interfaces_and_each_listener_has_its_options() {
    let listeners = listeners(":9999, 127.0.0.1:6380;proto=tcp;rt=5s;wt=1m30s,[::1]:80;it=250ms").unwrap();
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
    let listeners = listeners("addr=\":1\";proto=\"tcp\" , proto=http;addr=localhost:2;rt=0").unwrap();
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
    let refused = |text: &str| faults(listeners(text));
    assert!(refused("").contains("need listening host:port"));
    assert!(refused("proto=tcp").contains("need listening host:port"));
    assert!(refused(":1;proto=x").starts_with("unknown protocol \"x\": it is one of http, https, tcp,"));
    assert!(refused(":1;color=red").contains("unknown option 'color': there are proto, cs, rt,"));
    assert!(refused(":1;rt=5").contains("rt=5 is no duration"));
    assert!(refused(":70000").contains("':70000' is no listening address"));
    assert!(refused("example.com:80").contains("'example.com:80' is no listening address"));
    assert!(refused("addr=\":1").contains("unbalanced quotes"));
    assert!(refused("addr=\":1\"x").contains("unbalanced quotes"));
    assert!(refused(":1,:1;proto=tcp").contains("[::]:1 is there twice"));
    assert_eq!(listeners(":0,:0").unwrap().len(), 2);
    let admin = |text| refused_admin(text);
    assert!(admin(":1,:2").starts_with("ui.addr must contain only one listener"));
    assert!(admin("").starts_with("ui.addr must contain only one listener"));
    assert!(admin(":1;proto=tcp").contains("it is http or https"));
}

fn refused_admin(text: &str) -> String {
    refused(parse_admin(text, &Around::nothing()))
}

#[test]
fn every_bad_listener_is_told_not_only_the_first() {
    assert_eq!(
        faults(listeners(":1;rt=x,:2,:3;cs=none,:4;proto=y"))
            .lines()
            .count(),
        3
    );
}

#[test]
fn certificate_sources_go_with_protocols_as_in_fabio() {
    assert_eq!(listen(":1").proto, Proto::Http);
    assert_eq!(listen(":1;cs=main").proto, Proto::Https);
    for proto in [
        "https",
        "tcp",
        "tcp-dynamic",
        "https+tcp+sni",
        "grpcs",
        "prometheus",
    ] {
        assert_eq!(
            &*tls(&format!(":1;proto={proto};cs=main")).source,
            "main",
            "{proto}"
        );
    }
    for proto in ["http", "tcp+sni", "grpc"] {
        let text = faults(listeners(&format!(":1;proto={proto};cs=main")));
        assert!(
            text.starts_with(
                "cert source requires proto 'https', 'tcp', 'tcp-dynamic', 'https+tcp+sni', 'prometheus', or 'grpcs'"
            ),
            "{proto}: {text}"
        );
    }
    for proto in ["https", "grpcs"] {
        let text = faults(listeners(&format!(":1;proto={proto}")));
        assert!(
            text.starts_with(&format!("proto '{proto}' requires cert source")),
            "{text}"
        );
    }
    let unknown = faults(listeners(":1;cs=nope"));
    assert_eq!(
        unknown,
        "unknown certificate source \"nope\": proxy.cs has main, pki"
    );
    assert!(
        tls(":1;cs=pki").strict,
        "vault-pki has no certificate to fall back to"
    );
    assert!(!tls(":1;cs=main").strict && tls(":1;cs=main;strictmatch=true").strict);
    assert!(faults(listeners(":1;cs=main;strictmatch=yes")).contains("neither true nor false"));
    assert!(faults(listeners(":1;tlsmin=tls12")).contains("option 'tlsmin' requires cert source"));
}

#[test]
fn versions_and_ciphers_are_names_in_any_case_or_numbers() {
    let spoken = tls(":1;cs=main;tlsmin=TLS12;tlsmax=0x0304");
    assert_eq!((spoken.min, spoken.max), (Some(0x0303), Some(0x0304)));
    assert_eq!(tls(":1;cs=main;tlsmin=tls10").min, Some(0x0301));
    assert_eq!(tls(":1;cs=main;tlsmin=771").min, Some(0x0303));
    for bad in [
        "tlsmin=ssl30",
        "tlsmin=0x0300",
        "tlsmin=99999",
        "tlsmin=",
        "tlsmax=tls11",
        "tlsmax=tls14",
    ] {
        assert!(listeners(&format!(":1;cs=main;{bad}")).is_err(), "{bad}");
    }
    assert!(faults(listeners(":1;cs=main;tlsmin=tls13;tlsmax=tls12")).contains("tlsmin is above tlsmax"));
    let some = r#":1;cs=main;tlsciphers="tls_ecdhe_rsa_with_aes_128_gcm_sha256, 0xC02C,52393, TLS_RSA_WITH_RC4_128_SHA""#;
    assert_eq!(tls(some).ciphers, [0xc02f, 0xc02c, 0xcca9, 0x0005]);
    assert!(faults(listeners(":1;cs=main;tlsciphers=NULL")).contains("unknown cipher suite NULL"));
    let weak = faults(listeners(":1;cs=main;tlsciphers=TLS_RSA_WITH_AES_128_CBC_SHA"));
    assert!(
        weak.contains("names no cipher suite that is spoken here"),
        "{weak}"
    );
    assert!(tls(":1;cs=main;tlsciphers=").ciphers.is_empty());
}

#[test]
fn a_proxy_header_is_waited_for_a_quarter_of_a_second_unless_said_otherwise() {
    assert_eq!(listen(":1").proxy_header, None);
    assert_eq!(
        listen(":1;pxyproto=true").proxy_header,
        Some(Duration::from_millis(250))
    );
    assert_eq!(
        listen(":1;pxyproto=true;pxytimeout=0").proxy_header,
        Some(Duration::from_millis(250))
    );
    assert_eq!(
        listen(":1;pxytimeout=2s;pxyproto=true").proxy_header,
        Some(Duration::from_secs(2))
    );
    assert_eq!(listen(":1;pxytimeout=2s").proxy_header, None);
    assert_eq!(
        listen(":1;proto=tcp-dynamic;refresh=5s").refresh,
        Some(Duration::from_secs(5))
    );
}

#[test]
fn global_time_limits_hold_where_a_listener_has_none_and_addresses_are_filled_in() {
    let around = Around {
        read_timeout: Some(Duration::from_secs(7)),
        write_timeout: Some(Duration::from_secs(8)),
        address: &|text| match text.replace("{{ GetPrivateIP }}", "fd00::1") {
            text if text.contains("{{") => Err("unknown function".to_owned()),
            text => Ok(text),
        },
        ..Around::nothing()
    };
    let listeners = parse_listeners("{{ GetPrivateIP }}:80,:1;rt=1s;wt=0", &around).unwrap();
    assert_eq!(listeners[0].addr, "[fd00::1]:80".parse().unwrap());
    assert_eq!(listeners[0].read_timeout, Some(Duration::from_secs(7)));
    assert_eq!(listeners[1].read_timeout, Some(Duration::from_secs(1)));
    assert_eq!(
        (listeners[0].write_timeout, listeners[1].write_timeout),
        (Some(Duration::from_secs(8)), None)
    );
    assert!(faults(parse_listeners("{{ x }}:1", &around)).contains("unknown function"));
}

fn certs(text: &str) -> Vec<CertSource> {
    sound(parse_certs(text))
}

#[test]
fn certificate_sources_have_the_defaults_of_their_kind() {
    let file = &certs("cs=a;type=file;cert=/a.pem")[0];
    let kind = CertKind::File {
        cert: "/a.pem".to_owned(),
        key: "/a.pem".to_owned(),
    };
    assert_eq!((&file.kind, file.refresh), (&kind, None));
    assert_eq!(
        certs("cs=a;type=file;cert=/a;refresh=1ms")[0].refresh,
        Some(Duration::from_secs(1))
    );
    for (kind, refresh) in [("path", 3), ("vault", 3)] {
        let source = &certs(&format!("cs=a;type={kind};cert=x"))[0];
        assert_eq!(source.refresh, Some(Duration::from_secs(refresh)), "{kind}");
        assert_eq!(
            certs(&format!("cs=a;type={kind};cert=x;refresh=0"))[0].refresh,
            None
        );
    }
    let http = &certs("cs=a;type=http;cert=https://h/list;hdr=Authorization: Bearer x:y")[0];
    let header = http.header.as_ref().unwrap();
    assert_eq!(
        (header.0.as_str(), header.1.reveal()),
        ("Authorization", "Bearer x:y")
    );
    assert!(
        !format!("{http:?}").contains("x:y"),
        "what may be a token is not printed"
    );
    let consul = &certs("cs=a;type=consul;cert=http://c:8500/v1/kv/certs?token=t")[0];
    assert!(matches!(&consul.kind, CertKind::Consul(url) if url.reveal().ends_with("?token=t")));
    let CertKind::Acme(acme) = &certs("cs=a;type=acme;email=me@x.org;hosts=\"A.org,.b.org\"")[0].kind else {
        panic!("acme is a kind");
    };
    assert!(
        acme.directory
            .starts_with("https://acme-v02.api.letsencrypt.org/")
    );
    assert_eq!(
        (acme.hosts.join(" "), acme.prefix.as_str()),
        ("a.org .b.org".to_owned(), "lictor/acme")
    );
    let known = &certs("cs=a;type=acme;eabkid=k1;eabkey=-_-_")[0];
    let CertKind::Acme(acme) = &known.kind else {
        panic!("acme is a kind");
    };
    let external = acme.external.as_ref().unwrap();
    assert_eq!((external.id.as_str(), external.key.reveal()), ("k1", "-_-_"));
    assert!(!format!("{known:?}").contains("-_-_"));
    let pki = &certs("cs=a;type=vault-pki;cert=pki/issue/x;vaultfetchtoken=env:T;clientca=ca;caupgcn=CN")[0];
    assert_eq!(
        (pki.vault_fetch_token.as_deref(), pki.client_ca.as_deref()),
        (Some("env:T"), Some("ca"))
    );
    let twice = certs("cs=a;type=path;cert=x,cs=b;type=path;cert=y,cs=a;type=path;cert=z");
    assert_eq!(twice.len(), 2);
    assert!(
        twice
            .iter()
            .any(|source| source.kind == CertKind::Path("z".to_owned()))
    );
    assert_eq!(certs(""), []);
}

#[test]
fn a_bad_certificate_source_is_named_and_its_secrets_are_not() {
    let refused = |text: &str| faults(Err::<(), _>(parse_certs(text).1));
    assert!(refused("type=file;cert=a").contains("missing 'cs'"));
    assert!(refused("cs=a;cert=a").contains("missing 'type' in certificate source 'a'"));
    assert!(refused("cs=a;type=file").contains("missing 'cert' in certificate source 'a'"));
    assert!(refused("cs=a;type=ftp;cert=x").starts_with("unknown cert source type ftp"));
    assert!(refused("cs=a;type=acme;eabkid=k1").contains("'a' has one of eabkid and eabkey"));
    assert!(refused("cs=a;type=path;cert=x;eabkid=k1").contains("option 'eabkid'"));
    let bad_key = refused("cs=a;type=acme;eabkid=k1;eabkey=not:base64");
    assert!(bad_key.contains("invalid eabkey of certificate source 'a'") && !bad_key.contains("not:"));
    assert!(refused("cs=a;type=http;cert=http://h;hdr=nocolon").starts_with("invalid header nocolon"));
    assert!(refused("cs=a;type=file;cert=a;refresh=3").contains("refresh=3 is no duration"));
    assert!(refused("cs=a;type=consul;cert=consul/kv").contains("invalid url"));
    assert!(refused("cs=a;type=consul;cert=http://c/v1/kv/").contains("missing prefix: /v1/kv/"));
    assert!(refused("cs=a;type=file;path=x").contains("cert="));
    assert!(refused("cs=a;type=file;cert=x;email=me").contains("it goes with type=acme only"));
    let token = refused("cs=a;type=vault;cert=x;vaultfetchtoken=s.12345");
    assert!(
        token.contains("file:/path or env:NAME") && !token.contains("12345"),
        "{token}"
    );
    let token = refused("cs=a;type=consul;cert=http://c/kv?token=12345");
    assert!(!token.contains("12345"), "{token}");
    let (good, bad) = parse_certs("cs=a,cs=c;type=path;cert=d,cs=b;type=x;cert=y");
    assert_eq!((&*good[0].name, good.len(), bad.len()), ("c", 1, 2));
}

#[test]
fn authentication_schemes_are_read_in_fabios_words() {
    let schemes = sound(parse_auth(
        "name=a;type=basic;file=/htpasswd;refresh=10ms,name=b;type=external;endpoint=http://h/x;set-auth-headers=\"X-User, X-Role\";append-auth-headers=Cookie",
    ));
    let basic = AuthKind::Basic {
        file: "/htpasswd".to_owned(),
        realm: "a".to_owned(),
        refresh: Some(Duration::from_secs(1)),
        forward: false,
    };
    assert_eq!(schemes[0].kind, basic);
    let external = AuthKind::External {
        endpoint: "http://h/x".to_owned(),
        set_headers: vec!["X-User".to_owned(), "X-Role".to_owned()],
        append_headers: vec!["Cookie".to_owned()],
        timeout: Duration::from_secs(5),
    };
    assert_eq!(schemes[1].kind, external);
    let refused = |text: &str| faults(Err::<(), _>(parse_auth(text).1));
    assert!(refused("type=basic").starts_with("missing 'name' in auth"));
    assert!(refused("name=n;file=x").starts_with("missing 'type' in auth 'n'"));
    assert!(refused("name=n;type=basic").starts_with("missing 'file' in auth 'n'"));
    assert!(refused("name=n;type=x").starts_with("unknown auth type 'x'"));
    assert!(
        refused("name=n;type=basic;file=f;endpoint=e").starts_with("unknown option 'endpoint' in auth 'n'")
    );
    assert!(refused("name=n;type=external;endpoint=h").starts_with("invalid endpoint in auth 'n'"));
    assert!(
        refused("name=n;type=external;endpoint=http://h;set-auth-headers=a b")
            .contains("invalid header 'a b'")
    );
}

#[test]
fn words_are_checked_and_the_error_says_which_exist() {
    assert_eq!(parse_strategy("rr"), Ok(Strategy::Rr));
    assert_eq!(
        refused(parse_strategy("fair")),
        "invalid proxy.strategy: fair: it is rnd, rr, p2c, least, ip, cookie:<name> or header:<name>"
    );
    assert_eq!(parse_strategy("cookie:SID"), Ok(Strategy::Cookie("SID".into())));
    assert_eq!(
        parse_strategy("header:X-Tenant"),
        Ok(Strategy::Header("X-Tenant".into()))
    );
    assert!(parse_strategy("cookie:").is_err() && parse_strategy("header:a b").is_err());
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
    for none in ["99", "100", "101", "199", "1000", "many"] {
        assert!(
            refused(parse_no_route_status(none))
                .starts_with("proxy.noroutestatus must be between 200 and 999")
        );
    }
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
    fn a_list_that_was_quoted_is_read_as_it_was_meant(
        items in collection::vec(collection::vec(("[a-z]{1,6}", "[ -~]{0,12}"), 1..4), 0..4)
    ) {
        let pair = |(key, value): &(String, String)| {
            format!("{key} = \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
        };
        let written = items.iter().map(|item| item.iter().map(pair).collect::<Vec<_>>().join(";"));
        let text = written.collect::<Vec<_>>().join(" , ");
        prop_assert_eq!(kv_list(&text).unwrap(), items);
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in ".{0,80}") {
        let _ = listeners(&text);
        let _ = listeners(&format!(":1;cs=main;{text}"));
        let _ = parse_admin(&text, &Around::nothing());
        let _ = parse_certs(&text);
        let _ = parse_certs(&format!("cs=a;type=http;{text}"));
        let _ = parse_auth(&format!("name=a;{text}"));
        let _ = parse_strategy(&text);
        let _ = parse_networks(&text);
        let _ = kv_list(&text);
    }
}
