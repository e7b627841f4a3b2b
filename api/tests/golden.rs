//! Our JSON, field for field, against files written down from Consul's answers.
//!
//! `REWRITE=1` writes the files anew; look at the difference before keeping it.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::wire::agent::{AgentSelf, Member};
use api::wire::check::{AgentCheck, HealthCheck};
use api::wire::health::{AgentHealth, HealthEntry};
use api::wire::kv::Pair;
use api::wire::node::Node;
use api::wire::register::{self, ServiceBody};
use api::wire::service::{AgentService, CatalogService};
use catalog::check::{CheckSpec, Definition, GrpcProbe, H2PingProbe, HttpProbe, Probe, Program};
use catalog::kv::Entry;
use catalog::node::NodeSpec;
use catalog::service::{ServiceAddress, Weights};
use catalog::{Check, Instance, Registration, Service, ServiceSpec, Status};
use serde::Serialize;

fn golden<T: Serialize>(name: &str, value: &T) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let json = api::wire::encode_pretty(value).unwrap();
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, &json).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(String::from_utf8(json.clone()).unwrap(), expected, "{name}");
    json
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn node() -> catalog::Node {
    catalog::Node {
        spec: NodeSpec {
            id: "11111111-2222-3333-4444-555555555555".to_owned(),
            name: "n1".into(),
            address: "10.1.10.12".to_owned(),
            tagged_addresses: pairs(&[("lan", "10.1.10.12"), ("wan", "10.1.10.12")]),
            meta: pairs(&[("consul-network-segment", "")]),
        },
        created: 5,
        modified: 6,
    }
}

fn service() -> Service {
    Service {
        spec: ServiceSpec {
            id: "redis".into(),
            name: "redis".into(),
            tags: vec!["v1".to_owned(), "<&>".to_owned()],
            meta: pairs(&[("version", "4")]),
            port: 8000,
            address: "10.1.10.12".to_owned(),
            tagged_addresses: [(
                "lan_ipv4".to_owned(),
                ServiceAddress {
                    address: "10.1.10.12".to_owned(),
                    port: 8000,
                },
            )]
            .into(),
            weights: Weights {
                passing: 10,
                warning: 1,
            },
            ..ServiceSpec::default()
        },
        created: 10,
        modified: 11,
    }
}

/// Nothing set that need not be: where nulls and omissions show.
fn bare() -> Instance {
    let spec = NodeSpec {
        name: "ext".into(),
        address: "10.0.0.9".to_owned(),
        ..NodeSpec::default()
    };
    let service = ServiceSpec {
        id: "web".into(),
        name: "web".into(),
        ..ServiceSpec::default()
    };
    Instance {
        node: Arc::new(catalog::Node {
            spec,
            created: 1,
            modified: 1,
        }),
        service: Arc::new(Service {
            spec: service,
            created: 2,
            modified: 2,
        }),
        checks: Vec::new(),
    }
}

fn check(id: &str, service: Option<&str>) -> Check {
    Check {
        node: "n1".into(),
        spec: CheckSpec {
            id: id.into(),
            name: format!("Check {id}"),
            status: Status::Warning,
            notes: "n".to_owned(),
            output: "o".to_owned(),
            service_id: service.map(Into::into),
            kind: "ttl".to_owned(),
        },
        service_name: service.unwrap_or_default().into(),
        service_tags: Vec::new(),
        created: 12,
        modified: 13,
    }
}

fn instance() -> Instance {
    let checks = [check("serfHealth", None), check("service:redis", Some("redis"))];
    Instance {
        node: Arc::new(node()),
        service: Arc::new(service()),
        checks: checks.map(Arc::new).into(),
    }
}

fn probed() -> Definition {
    Definition {
        id: "web".into(),
        name: "Web".to_owned(),
        notes: String::new(),
        initial: Some(Status::Passing),
        output: String::new(),
        probe: Probe::Http(HttpProbe {
            url: "http://10.1.10.12:8000/health".to_owned(),
            method: "GET".to_owned(),
            headers: [("Host".to_owned(), vec!["a".to_owned()])].into(),
            body: String::new(),
            tls_skip_verify: true,
            interval: Duration::from_secs(90),
            timeout: Duration::from_millis(500),
        }),
        success_before_passing: 2,
        failures_before_critical: 3,
        deregister_critical_after: Some(Duration::from_secs(600)),
    }
}

#[test]
fn agent_routes_have_consuls_shapes() {
    let shown = AgentService::of(&service().spec, "dc1");
    let json = golden("agent_service.json", &shown.clone().with_hash());
    let read: AgentService = serde_json::from_slice(&json).unwrap();
    assert_eq!(ServiceSpec::from(read), service().spec);

    let spec = check("service:redis", Some("redis")).spec;
    let redis = service().spec;
    let check = AgentCheck::of(&"n1".into(), &spec, Some(&probed()), (&redis.name, &redis.tags));
    let json = golden("agent_check.json", &check);
    assert_eq!(serde_json::from_slice::<AgentCheck>(&json).unwrap(), check);

    let aggregated_status = "warning".to_owned();
    let health = AgentHealth {
        aggregated_status,
        service: Some(shown),
        checks: Some(vec![check]),
    };
    golden("agent_health.json", &health);
    let member = Member {
        name: "n1".to_owned(),
        port: 8301,
        status: 1,
        ..Member::default()
    };
    golden(
        "agent_self.json",
        &AgentSelf {
            member,
            ..AgentSelf::default()
        },
    );
}

#[test]
fn catalog_routes_have_consuls_shapes_and_read_back() {
    let json = golden("catalog_node.json", &Node::of(&node(), "dc1"));
    assert_eq!(
        catalog::Node::from(serde_json::from_slice::<Node>(&json).unwrap()),
        node()
    );
    golden("catalog_service.json", &CatalogService::of(&instance(), "dc1"));
    golden("catalog_service_bare.json", &CatalogService::of(&bare(), "dc1"));
    let json = golden(
        "health_check.json",
        &HealthCheck::from(&check("service:redis", Some("redis"))),
    );
    let read = serde_json::from_slice::<HealthCheck>(&json).unwrap();
    assert_eq!(Check::from(read), check("service:redis", Some("redis")));
    for (name, instance) in [
        ("health_service.json", instance()),
        ("health_service_bare.json", bare()),
    ] {
        let json = golden(name, &HealthEntry::of(&instance, "dc1"));
        assert_eq!(
            Instance::from(serde_json::from_slice::<HealthEntry>(&json).unwrap()),
            instance
        );
    }
}

#[test]
fn keys_have_consuls_shape_and_read_back() {
    let entry = Entry {
        key: "app/port".into(),
        value: Arc::from("80".as_bytes()),
        flags: u64::MAX,
        lock_index: 0,
        created: 3,
        modified: 4,
    };
    let json = golden("kv.json", &Pair::from(&entry));
    assert_eq!(serde_json::from_slice::<Pair>(&json).unwrap(), Pair::from(&entry));
    golden(
        "kv_empty.json",
        &Pair::from(&Entry {
            value: Arc::from([]),
            ..entry
        }),
    );
}

#[test]
fn a_registration_written_for_another_consul_reads_back_as_itself() {
    let called = |id: &str, probe| Definition {
        id: id.into(),
        probe,
        ..probed()
    };
    let ttl = Probe::Ttl {
        ttl: Duration::from_secs(15),
    };
    let address = || "10.1.10.12:8000".to_owned();
    let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(1));
    let tcp = Probe::Tcp {
        address: address(),
        interval,
        timeout,
    };
    let grpc = Probe::Grpc(GrpcProbe {
        address: address(),
        service: "shop.Cart".to_owned(),
        tls: true,
        tls_skip_verify: true,
        interval,
        timeout,
    });
    let ping = |tls| {
        Probe::H2Ping(H2PingProbe {
            address: address(),
            tls,
            tls_skip_verify: false,
            interval,
            timeout,
        })
    };
    let udp = Probe::Udp {
        address: address(),
        interval,
        timeout,
    };
    let newer = [
        ("grpc", grpc),
        ("h2", ping(true)),
        ("h2c", ping(false)),
        ("udp", udp),
    ];
    let mut registration = Registration {
        service: service().spec,
        checks: vec![probed(), called("t", ttl), called("tcp", tcp)],
    };
    registration
        .checks
        .extend(newer.map(|(id, probe)| called(id, probe)));
    registration.checks.push(called("c", Probe::Container));
    let json = golden("register.json", &ServiceBody::from(&registration));
    registration.checks.pop();
    let at = registration.service.tagged_addresses["lan_ipv4"].clone();
    registration
        .service
        .tagged_addresses
        .insert("wan_ipv4".to_owned(), at);
    assert_eq!(register::service(&json).unwrap(), registration);
}

#[test]
fn programs_are_written_as_consul_takes_them_and_never_taken_from_others() {
    let program = Program {
        container: "c0ffee".into(),
        args: ["/bin/sh", "-c", "true"].map(str::to_owned).to_vec(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
    };
    for (file, probe) in [
        ("register_docker.json", Probe::Docker(program.clone())),
        ("register_script.json", Probe::Script(program)),
    ] {
        let check = Definition { probe, ..probed() };
        let registration = Registration {
            service: service().spec,
            checks: vec![check],
        };
        let json = golden(file, &ServiceBody::from(&registration));
        let refused = register::service(&json).unwrap_err().to_string();
        assert!(
            refused.starts_with("Scripts are disabled on this agent"),
            "{refused}"
        );
    }
}

#[test]
fn a_foreign_answer_with_nulls_oddities_and_unknown_fields_is_read() {
    let json = r#"{"Node":{"ID":"","Node":"x","Address":"10.0.0.1","TaggedAddresses":null,"Meta":null,"Partition":"p"},
        "Service":{"ID":"s","Service":"s","Tags":null,"Port":-1,"Weights":null,"Meta":null,"PeerName":"q"},
        "Checks":[{"Node":"x","CheckID":"b","Status":"odd","ServiceID":"s","ServiceTags":null,"Definition":null},
                  {"Node":"x","CheckID":"a","Status":"passing","ServiceID":""}]}"#;
    let instance = Instance::from(serde_json::from_str::<HealthEntry>(json).unwrap());
    assert_eq!(
        (instance.service.spec.port, instance.service.spec.weights),
        (0, Weights::default())
    );
    // An unknown state must not get traffic; checks of the node come first.
    assert_eq!(instance.status(), Status::Critical);
    assert_eq!(&*instance.checks[0].spec.id, "a");
}
