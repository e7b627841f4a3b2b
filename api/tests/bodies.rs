//! Request bodies: what is accepted, what is refused in which words, and that nothing panics.

use std::time::Duration;

use api::wire::body::BodyError;
use api::wire::{external, register};
use catalog::check::Probe;
use catalog::command::Target;
use catalog::duration;
use catalog::{Command, Status};
use proptest::prelude::*;

fn service(body: &str) -> Result<catalog::Registration, String> {
    register::service(body.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn keys_match_without_regard_to_case_and_by_their_aliases() {
    let body = r#"{"name":"web","ID":"w1","pORT":80,"enable_tag_override":true,"meta":{"Case":"kept"},
        "tagged_addresses":{"lan":{"address":"10.0.0.1","PORT":81}},"weights":{"passing":3,"warning":0},
        "check":{"http":"http://x","interval":"90s","deregister_critical_service_after":"1s","tls_skip_verify":true},
        "CHECKS":[{"CheckID":"own","TTL":5000000000,"Status":"warning","Notes":null}]}"#;
    let read = service(body).unwrap();
    assert_eq!(
        (
            &*read.service.id,
            read.service.port,
            read.service.enable_tag_override
        ),
        ("w1", 80, true)
    );
    assert_eq!(
        (
            read.service.tagged_addresses["lan"].port,
            read.service.weights.warning
        ),
        (81, 0)
    );
    assert_eq!(read.service.meta["Case"], "kept");
    let Probe::Http(http) = &read.checks[0].probe else {
        panic!("{read:?}")
    };
    assert_eq!(
        (http.interval, http.tls_skip_verify),
        (Duration::from_secs(90), true)
    );
    // Shorter than a minute is raised to it.
    assert_eq!(
        read.checks[0].deregister_critical_after,
        Some(Duration::from_secs(60))
    );
    assert_eq!(
        (&*read.checks[1].id, read.checks[1].initial),
        ("own", Some(Status::Warning))
    );
    assert_eq!(
        read.checks[1].probe,
        Probe::Ttl {
            ttl: Duration::from_secs(5)
        }
    );
}

#[test]
fn an_address_is_also_known_by_its_family() {
    let read = service(r#"{"Name":"a","Port":1,"Address":"::2"}"#).unwrap();
    let names: Vec<_> = read.service.tagged_addresses.keys().map(String::as_str).collect();
    assert_eq!(names, ["lan_ipv6", "wan_ipv6"]);
    assert!(
        service(r#"{"Name":"a","Address":"host.example"}"#)
            .unwrap()
            .service
            .tagged_addresses
            .is_empty()
    );
}

#[test]
fn empty_fields_that_go_clients_send_ask_for_nothing() {
    let body = r#"{"Name":"a","Kind":"","Proxy":{"MeshGateway":{},"Expose":{}},"Connect":null,"Check":{},
        "Checks":null,"Tags":null,"Weights":null,"Token":"t","Check":{"Status":"","GRPC":""}}"#;
    assert!(service(body).unwrap().checks.is_empty());
}

#[test]
fn refusals_name_the_fault_in_consuls_words() {
    let decode = |text: &str| format!("Request decode failed: {text}");
    let check = |check: &str| format!(r#"{{"Name":"a","Check":{check}}}"#);
    let meta = |key: &str, why: &str| {
        format!("Invalid Service Meta: Couldn't load metadata pair ('{key}', 'v'): {why}")
    };
    for (body, text) in [
        (String::new(), decode("EOF")),
        ("{".to_owned(), decode("unexpected EOF")),
        (
            "[]".to_owned(),
            decode("json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ),
        (
            r#"{"Name":"a","Bogus":1}"#.to_owned(),
            decode("json: unknown field \"Bogus\""),
        ),
        (
            check(r#"{"TTL":"1s","id":"x"}"#),
            decode("json: unknown field \"id\""),
        ),
        (
            check(r#"{"TTL":"ten"}"#),
            decode("time: invalid duration \"ten\""),
        ),
        (
            r#"{"Name":1}"#.to_owned(),
            decode("json: cannot unmarshal number into Go struct field .Name of type string"),
        ),
        (r#"{"Name":""}"#.to_owned(), "Missing service name".to_owned()),
        (
            r#"{"Name":"a","Port":65536}"#.to_owned(),
            "Invalid port: 65536 is not within 0 and 65535".to_owned(),
        ),
        (
            r#"{"Name":"a","Address":"0.0.0.0"}"#.to_owned(),
            "Invalid service address".to_owned(),
        ),
        (
            r#"{"Name":"a","Meta":{"a b":"v"}}"#.to_owned(),
            meta("a b", "Key contains invalid characters"),
        ),
        (
            r#"{"Name":"a","Meta":{"consul-x":"v"}}"#.to_owned(),
            meta("consul-x", "Key prefix 'consul-' is reserved for internal use"),
        ),
        (
            r#"{"Name":"a","Weights":{"Passing":0}}"#.to_owned(),
            "Invalid Weights: Passing must be greater than 0".to_owned(),
        ),
    ] {
        assert_eq!(service(&body), Err(text), "{body}");
    }
}

#[test]
fn refusals_of_checks_name_the_fault_in_consuls_words() {
    let check = |check: &str| format!(r#"{{"Name":"a","Check":{check}}}"#);
    for (body, text) in [
        (
            check(r#"{"Notes":"only"}"#),
            "Invalid check: TTL must be > 0 for TTL checks".to_owned(),
        ),
        (
            check(r#"{"TCP":"a:1"}"#),
            "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks".to_owned(),
        ),
        (
            check(r#"{"TCP":"a:1","Interval":"1s","TTL":"1s"}"#),
            "Invalid check: Interval and TTL cannot both be specified".to_owned(),
        ),
        (
            check(r#"{"TTL":"1s","Status":"fine"}"#),
            "Status for checks must 'passing', 'warning', 'critical'".to_owned(),
        ),
        (
            check(r#"{"AliasService":"b"}"#),
            "Invalid check: alias checks are not supported by this version of Lictor".to_owned(),
        ),
        (
            check(r#"{"GRPC":"a:1"}"#),
            "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks".to_owned(),
        ),
        (
            check(r#"{"TCP":"a:1","UDP":"a:1","Interval":"1s"}"#),
            "Invalid check: TCP and UDP cannot both be specified".to_owned(),
        ),
        (
            check(r#"{"DockerContainerID":"c","Shell":"sh","Interval":"1s"}"#),
            "Scripts are disabled on this agent from remote calls; \
             to enable, configure 'enable_script_checks' to true"
                .to_owned(),
        ),
    ] {
        assert_eq!(service(&body), Err(text), "{body}");
    }
    let scripts = register::service(check(r#"{"Args":["rm"],"Interval":"1s"}"#).as_bytes());
    assert!(matches!(scripts, Err(BodyError::Refused(text)) if text.starts_with("Scripts are disabled")));
}

#[test]
fn a_check_of_its_own_is_named_by_id_or_name() {
    let named = register::check(br#"{"Name":"c","TTL":"1s"}"#).unwrap();
    assert_eq!((&*named.definition.id, named.service_id), ("c", None));
    let with_id = register::check(br#"{"ID":"i","Name":"c","TTL":"1s","ServiceID":"s"}"#).unwrap();
    assert_eq!(
        (&*with_id.definition.id, with_id.service_id.as_deref()),
        ("i", Some("s"))
    );
    let bad = register::check(br#"{"Name":"c","TTL":"1s","Status":"x"}"#).unwrap_err();
    assert_eq!(bad.to_string(), "Bad check status");
}

#[test]
fn a_deregistration_aims_at_the_smallest_thing_named() {
    let target = |body: &str| match external::deregister(body.as_bytes()).unwrap().command {
        Command::Deregister { target, .. } => target,
        other => panic!("{other:?}"),
    };
    assert_eq!(target(r#"{"Node":"n"}"#), Target::Node);
    assert_eq!(target(r#"{"Node":"n","CheckID":"c"}"#), Target::Check("c".into()));
    assert_eq!(
        target(r#"{"Node":"n","ServiceID":"s","Address":"ignored"}"#),
        Target::Service("s".into())
    );
    assert_eq!(
        external::deregister(b"{}").unwrap_err().to_string(),
        "Must provide node"
    );
}

#[test]
fn what_the_catalog_shows_can_be_given_back_to_it() {
    let body = r#"{"Node":"n","Address":"10.0.0.1","Check":{"Node":"n","CheckID":"c","Name":"c","Status":"passing",
        "Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Definition":{},
        "CreateIndex":1,"ModifyIndex":1},"Service":{"ID":"s","Service":"s","Tags":[],"Address":"","Meta":null,
        "Port":1,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,
        "Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":2,"ModifyIndex":2}}"#;
    external::register(body.as_bytes()).unwrap();
    let other = r#"{"Node":"n","Address":"a","Check":{"Node":"m","Name":"c"}}"#;
    let text = external::register(other.as_bytes()).unwrap_err().to_string();
    assert_eq!(text, "check node \"m\" does not match node \"n\"");
}

/// JSON with keys that mean something, in shapes that need not fit.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "Name",
            "id",
            "ID",
            "Tags",
            "Meta",
            "Port",
            "Check",
            "Checks",
            "TTL",
            "HTTP",
            "TCP",
            "Interval",
            "Header",
            "Weights",
            "Passing",
            "TaggedAddresses",
            "Status",
            "Node",
            "Service",
            "Address",
            "ServiceID",
            "Connect",
        ])
        .prop_map(str::to_owned),
        ".{0,4}",
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|number| serde_json::json!(number)),
        "[0-9.]{0,6}(s|ms|h|m|)".prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(key.clone(), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_panics(value in json(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for body in [value.to_string().into_bytes(), bytes] {
            let _outcome = register::service(&body);
            let _outcome = register::check(&body);
            let _outcome = external::register(&body);
            let _outcome = external::deregister(&body);
        }
    }

    #[test]
    fn durations_read_back_as_written(nanos in 0..i64::MAX as u64 / 1024) {
        let written = duration::format(Duration::from_nanos(nanos));
        let read = duration::parse(&written).unwrap();
        // Read through floating point: a nanosecond in weeks may be lost, no more.
        prop_assert!(read.abs_diff(Duration::from_nanos(nanos)) <= Duration::from_nanos(1 + nanos / (1 << 50)));
    }

    #[test]
    fn no_text_panics_as_a_duration(text in "[0-9.a-zµ+-]{0,12}|.{0,12}") {
        let _outcome = duration::parse(&text);
    }
}
