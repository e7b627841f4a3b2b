//! Recorded inspect answers in, registrations out. The transcripts are `tests/golden/*.txt`;
//! REWRITE=1 writes them anew, and the difference is for a person to judge.
//!
//! Below `derive <recording>`, `offer <recording>` for what stands beside the registration, or `select <recording>` for
//! what is left out besides, stand settings in the user's own words (`-ip=1.2.3.4`), variables
//! (`env A=b`), another container in reach (`with <recording>`) or whose
//! network it is in (`shares <recording>`), other networks than the recorded
//! ones (`networks front=10.0.1.7,fd00::7`), what its swarm publishes (`mesh 80/tcp=8080`), what differs from the recording
//! (`image …`), and labels. `\n` is a line break.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use catalog::check::Probe;
use catalog::service::{META_CONTAINER, META_OWNER, META_PORT, Weights};
use datadriven::TestCase;

use super::*;
use crate::container::{Mesh, Network, Protocol};
use crate::docker::read_inspect;
use crate::template;

const ID_DIGITS: usize = 4;

fn recorded(name: &str) -> Container {
    let path = format!("{}/tests/recorded/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let json = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Container {
        raw: Some(Arc::new(serde_json::from_str(&json).unwrap())),
        ..read_inspect(&json)
    }
}

fn derived(case: &TestCase) -> Derived {
    let name = case.args.keys().next().expect("the first word names a recording");
    let mut container = recorded(name);
    let mut config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
    let mut others = BTreeMap::new();
    for line in case.input.lines().map(|line| line.replace("\\n", "\n")) {
        let (word, value) = line.split_once(['=', ' ']).unwrap_or((&line, ""));
        match word {
            "-ip" => config.ip = Some(value.parse().unwrap()),
            "-internal" => config.internal = true,
            "-explicit" => config.explicit = true,
            "-compose-names" => config.compose_names = true,
            "-filter" => config.filter = value.parse().unwrap(),
            "-tags" => config.tags = value.parse().unwrap(),
            "-useIpFromLabel" => config.use_ip_from_label = Some(value.to_owned()),
            "-networks" => config.networks = value.split(',').map(str::to_owned).collect(),
            "advertise" if value == "none" => config.home.address = None,
            "advertise" => config.home.address = Some(value.parse().unwrap()),
            "advertise6" => config.home.v6 = Some(value.parse().unwrap()),
            "mesh" => container.mesh = mesh(value),
            "networks" => container.addresses = value.split(' ').map(network).collect(),
            "with" => _ = others.insert(recorded(value).id.to_string(), recorded(value)),
            "shares" => {
                let owner = recorded(value);
                container.network = Network::Container(owner.id.clone());
                others.insert(owner.id.to_string(), owner);
            }
            "image" => value.clone_into(&mut container.image),
            "image-tag" => container.image_tag = Some(value.to_owned()),
            "hostname" => value.clone_into(&mut container.hostname),
            "env" => container.env.push(value.to_owned()),
            label => _ = container.labels.insert(label.to_owned(), value.to_owned()),
        }
    }
    if let Some(answer) = container.raw.as_mut() {
        Arc::make_mut(answer)["Config"]["Labels"] = serde_json::json!(container.labels);
    }
    derive(&container, &config, &|id| others.get(id))
}

/// What a swarm publishes: `53/udp=5353 80/tcp=8080`, `pending`, or why an engine will not tell.
fn mesh(text: &str) -> Mesh {
    let binding = |port: &str| crate::container::Binding {
        address: "0.0.0.0".parse().unwrap(),
        port: port.parse().unwrap(),
    };
    let pair = |pair: &str| {
        let (inside, outside) = pair.split_once('=')?;
        Some((inside.parse().unwrap(), vec![binding(outside)]))
    };
    match text.split(' ').map(pair).collect() {
        Some(ports) => Mesh::Ports(ports),
        None if text == "pending" => Mesh::Pending,
        None => Mesh::Untold(text.to_owned()),
    }
}

/// A network and the addresses in it: `front=10.0.1.7,fd00::7`.
fn network(text: &str) -> (String, Vec<IpAddr>) {
    let (name, addresses) = text.split_once('=').expect("a name and addresses");
    let addresses = addresses.split(',').map(|address| address.parse().unwrap());
    (name.to_owned(), addresses.collect())
}

/// What registries are told besides the registration, and which rule gave what of that.
fn offers(derived: &Derived) -> String {
    let mut text = String::new();
    for offer in &derived.offers {
        let Offer {
            port,
            container,
            inside_name,
            attributes,
            fit,
            ..
        } = offer;
        let digits = &container[container.len() - ID_DIGITS..];
        writeln!(text, "{port} of {digits} inside={inside_name} fit={fit}").unwrap();
        for (key, value) in attributes.iter() {
            writeln!(text, "  {key}={value}").unwrap();
        }
        for Reason { field, rule, value } in &offer.why {
            writeln!(text, "  {field} {value}: {rule}").unwrap();
        }
    }
    text
}

fn show(derived: &Derived) -> String {
    let mut text = String::new();
    for Registration { service, checks } in derived.offers.iter().map(|offer| &*offer.registration) {
        let ServiceSpec {
            id,
            name,
            address,
            port,
            ..
        } = service;
        let host = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.clone()
        };
        write!(text, "{name} {host}:{port} id={id}").unwrap();
        if !service.tags.is_empty() {
            write!(text, " tags={:?}", service.tags).unwrap();
        }
        if service.weights != Weights::default() {
            let Weights { passing, warning } = service.weights;
            write!(text, " weights={passing},{warning}").unwrap();
        }
        if service.enable_tag_override {
            text.push_str(" tags may be overridden");
        }
        text.push('\n');
        for (name, at) in &service.tagged_addresses {
            writeln!(text, "  {name} {} port {}", at.address, at.port).unwrap();
        }
        for (key, value) in service.meta.iter().filter(|(key, _)| *key != META_OWNER) {
            let shown = if key == META_CONTAINER {
                &value[value.len() - ID_DIGITS..]
            } else {
                value
            };
            writeln!(text, "  {key}={shown}").unwrap();
        }
        for check in checks {
            let status = check.initial.map_or("-", catalog::Status::as_str);
            let how = how(check);
            let after = check
                .deregister_critical_after
                .map(|after| format!(" gone after {after:?}"));
            write!(
                text,
                "  {} {status}: {how}{}",
                check.id,
                after.unwrap_or_default()
            )
            .unwrap();
            let rows = (check.success_before_passing, check.failures_before_critical);
            if rows != (0, 0) {
                write!(text, " passing after {} critical after {}", rows.0, rows.1).unwrap();
            }
            if !check.name.starts_with("Service '") || !check.notes.is_empty() {
                write!(text, " known as {:?} {:?}", check.name, check.notes).unwrap();
            }
            text.push('\n');
        }
    }
    for fault in &derived.faults {
        writeln!(text, "! {}: {}", fault.key, fault.reason).unwrap();
    }
    if text.is_empty() {
        "none\n".to_owned()
    } else {
        text
    }
}

/// The same, with what is not registered and why.
fn select(derived: &Derived) -> String {
    let mut text = String::new();
    for Reason { field, rule, value } in &derived.skipped {
        writeln!(text, "- {field} {value}: {rule}").unwrap();
    }
    text + &show(derived)
}

fn how(check: &catalog::check::Definition) -> String {
    let skip = |skips| if skips { " any certificate" } else { "" };
    let over = |tls| if tls { " over tls" } else { "" };
    let target = match &check.probe {
        Probe::Http(http) => {
            let mut text = format!("{} {}{}", http.method, http.url, skip(http.tls_skip_verify));
            for (name, values) in &http.headers {
                write!(text, " {name}: {values:?}").unwrap();
            }
            if !http.body.is_empty() {
                write!(text, " body {:?}", http.body).unwrap();
            }
            text
        }
        Probe::Tcp { address, .. } => format!("tcp {address}"),
        Probe::Udp { address, .. } => format!("udp {address}"),
        Probe::Grpc(grpc) => format!(
            "grpc {} {:?}{}{}",
            grpc.address,
            grpc.service,
            over(grpc.tls),
            skip(grpc.tls_skip_verify)
        ),
        Probe::H2Ping(ping) => format!(
            "h2ping {}{}{}",
            ping.address,
            over(ping.tls),
            skip(ping.tls_skip_verify)
        ),
        Probe::Docker(program) | Probe::Script(program) => {
            let digits = &program.container[program.container.len() - ID_DIGITS..];
            format!("{} in {digits} {:?}", check.probe.kind(), program.args)
        }
        Probe::Ttl { ttl } => format!("ttl {ttl:?}"),
        Probe::Container => check.output.clone(),
    };
    match check.probe.pace() {
        Some((interval, timeout)) => format!("{target} every {interval:?} within {timeout:?}"),
        None => target,
    }
}

/// L43.
#[test]
fn a_thousand_labels_too_many_are_one_complaint_among_few() {
    let mut container = recorded("published-one");
    let label = |n| (format!("SERVICE_L{n}"), "x".to_owned());
    container.labels.extend((0..1000).map(label));
    let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
    let derived = derive(&container, &config, &|_| None);
    assert_eq!(
        derived.offers[0].registration.service.meta.len(),
        metadata::MOST_PAIRS
    );
    assert_eq!(derived.faults.len(), MOST_FAULTS + 1);
    let first = "left out, and 743 more for the same ports: at most 256 of 65536 bytes together";
    assert_eq!(derived.faults[0].reason, first);
    assert_eq!(derived.faults[MOST_FAULTS].reason, "177 more settings left out");
}

/// #383: no port is compared with each other or with every key.
#[test]
fn ten_thousand_ports_and_a_thousand_keys_are_derived_at_once() {
    let mut container = recorded("host-bare");
    let ports = (10_000..20_000).map(|number| Port {
        number,
        protocol: Protocol::Udp,
    });
    container.exposed = ports.collect();
    let keys = (0..1000).map(|n| (format!("SERVICE_{}_CHECK_{n}", 10_000 + n), "x".to_owned()));
    container.labels = keys.collect();
    container.env = [
        "SERVICE_15000-19999_UDP_IGNORE=1",
        "SERVICE_ID=rtp",
        "SERVICE_NAME=a,b",
    ]
    .map(str::to_owned)
    .to_vec();
    let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
    let began = std::time::Instant::now();
    let derived = derive(&container, &config, &|_| None);
    // Two names for each of the most ports that are registered; the last reason is that of the other ports.
    assert_eq!(
        (derived.offers.len(), derived.skipped.len()),
        (2 * MOST_PORTS, 5001)
    );
    assert!(
        began.elapsed() < std::time::Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

/// A port shares what is said of all, and none says more than can be borne ten thousand times.
#[test]
fn many_labels_of_many_ports_are_neither_copied_nor_complained_of_for_each() {
    let mut container = recorded("host-bare");
    let ports = (10_000..12_000).map(|number| Port {
        number,
        protocol: Protocol::Udp,
    });
    container.exposed = ports.collect();
    let keys = (0..3000).map(|n| (format!("SERVICE_A{n}"), "\u{7}".repeat(20)));
    container.labels = keys.collect();
    let ranges = (0..3000).map(|n| (format!("SERVICE_1-{}_X", 60_000 - n), "x".to_owned()));
    container.labels.extend(ranges);
    container
        .labels
        .insert("SERVICE_B".to_owned(), "b".repeat(60_000));
    let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
    let began = std::time::Instant::now();
    let derived = derive(&container, &config, &|_| None);
    let took = began.elapsed();
    let (first, last) = (
        &derived.offers[0].attributes,
        &derived.offers[MOST_PORTS - 1].attributes,
    );
    assert!(Arc::ptr_eq(first, last));
    assert!(first.len() <= 256 + 1, "{}", first.len());
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}

#[test]
fn of_a_tag_list_without_end_a_thousand_are_had_and_the_rest_is_one_complaint() {
    let mut container = recorded("published-one");
    let listed = |count: usize, width: usize| {
        let tags: Vec<_> = (0..count)
            .map(|n| format!("{n:06}{}", "x".repeat(width)))
            .collect();
        tags.join(",")
    };
    let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
    for (list, had, left_out) in [
        (listed(200_000, 0), 1000, 199_000),
        (listed(70, 1000), 65, 5),
        (listed(1, 70_000), 0, 1),
        (listed(1000, 0) + ",000000", 1000, 0),
    ] {
        container.labels = BTreeMap::from([("SERVICE_TAGS".to_owned(), list)]);
        let began = std::time::Instant::now();
        let derived = derive(&container, &config, &|_| None);
        assert_eq!(derived.offers[0].registration.service.tags.len(), had);
        let why = format!("{left_out} tags left out: it may give 1000, of 65536 bytes together");
        let faults: Vec<_> = (left_out > 0)
            .then(|| Fault::new("SERVICE_TAGS", why))
            .into_iter()
            .collect();
        assert_eq!(derived.faults, faults);
        assert!(
            began.elapsed() < std::time::Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
}

/// The same limit for each of a thousand labels would be none; and the answer, long as it is, is read once.
#[test]
fn templates_of_a_container_share_their_steps_and_those_for_all_lose_none_by_it() {
    let greedy = format!("{{{{range split \"\" \"{}\"}}}}", "a".repeat(200)).repeat(4) + &"{{end}}".repeat(4);
    let derived = |settings: Vec<(String, String)>| {
        let mut container = recorded("published-one");
        container.labels = settings.into_iter().collect();
        let answer = Arc::make_mut(container.raw.as_mut().unwrap());
        answer["Config"]["Labels"] = serde_json::json!(container.labels);
        let mut config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
        config.tags = "of{{.Name}}".parse().unwrap();
        derive(&container, &config, &|_| None)
    };
    let setting = |key: &str, value: &str| (format!("SERVICE_{key}"), value.to_owned());
    let wasted = derived(vec![setting("A", &greedy), setting("B", "{{.Name}}")]);
    let keys: Vec<_> = wasted.faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["SERVICE_A", "SERVICE_B"]);
    assert!(wasted.faults[1].reason.contains("steps"), "{:?}", wasted.faults);
    assert_eq!(wasted.offers[0].registration.service.tags, ["of/published-one"]);
    let began = std::time::Instant::now();
    let many = derived((0..2000).map(|n| setting(&n.to_string(), "{{.Name}}")).collect());
    assert_eq!(many.offers[0].attributes.len(), 256);
    assert!(!many.faults.iter().any(|fault| fault.reason.contains("steps")));
    assert!(
        began.elapsed() < std::time::Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

/// L42, R5, R22.
#[test]
fn recorded_containers_become_the_registrations_of_the_transcripts() {
    datadriven::walk(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"), |file| {
        file.run(|case| match case.directive.as_str() {
            "derive" => show(&derived(case)),
            "offer" => offers(&derived(case)),
            "select" => select(&derived(case)),
            "template" => template::tests::lines(case.args.keys().next().unwrap(), &case.input),
            other => panic!("unknown directive {other}"),
        });
    });
}

/// A label or variable may be anything at all; what comes out fits a catalog.
/// L43, R22.
#[test]
fn attributes_never_exceed_what_a_catalog_takes() {
    let mut container = recorded("published-one");
    for number in 0..1000 {
        container
            .labels
            .insert(format!("SERVICE_k{number}"), "v".repeat(number % 600));
    }
    container
        .env
        .push(format!("SERVICE_BIG={}", "x".repeat(64 << 10)));
    let compose = ("com.docker.compose.service".to_owned(), "web".to_owned());
    container.labels.extend([compose]);
    let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
    let derived = derive(&container, &config, &|_| None);
    let meta = &derived.offers[0].registration.service.meta;
    assert_eq!(meta.len(), metadata::MOST_PAIRS, "what compose says has no room");
    assert_eq!(meta.get(META_PORT).map(String::as_str), Some("6379"));
    assert!(!derived.faults.is_empty());
}

proptest::proptest! {
    /// L42, R21.
    #[test]
    fn no_label_upsets_the_derivation(labels in proptest::collection::btree_map("SERVICE_(80_)?(NAME|ID|TAGS|IGNORE|PORT|IP|NETWORK|INTERNAL|CHECK_HTTP|CHECK_TTL|CHECK_INTERVAL|[a-zA-Z.]{0,4})", "\\PC{0,8}|[\\x00-\\x20]{0,3}", 0..8)) {
        let mut container = recorded("published-all");
        container.labels = labels;
        let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
        let derived = derive(&container, &config, &|_| None);
        let ids: BTreeSet<_> = derived.offers.iter().map(|offer| offer.registration.service.id.clone()).collect();
        proptest::prop_assert_eq!(ids.len(), derived.offers.len());
        for offer in &derived.offers {
            let service = &offer.registration.service;
            proptest::prop_assert!(!service.name.chars().any(char::is_control));
            proptest::prop_assert!(service.tags.iter().all(|tag| !tag.chars().any(char::is_control)));
            proptest::prop_assert!(service.port > 0);
        }
    }
}

/// Names and ids stand in the paths of requests: one that no server reads would be tried for ever.
#[test]
fn no_name_and_no_id_is_longer_than_a_request_may_be() {
    let long = "x".repeat(1 << 20);
    for (key, offers, check) in [
        ("SERVICE_NAME", 0, 0),
        ("SERVICE_ID", 1, 1),
        ("SERVICE_CHECK_ID", 1, 1),
        ("a name of the engine", 0, 0),
    ] {
        let mut container = recorded("published-one");
        container
            .labels
            .insert("SERVICE_CHECK_TTL".to_owned(), "30s".to_owned());
        match key {
            "a name of the engine" => container.name.clone_from(&long),
            _ => _ = container.labels.insert(key.to_owned(), long.clone()),
        }
        let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
        let derived = derive(&container, &config, &|_| None);
        assert_eq!((derived.offers.len(), derived.faults.len()), (offers, 1), "{key}");
        assert!(derived.faults[0].reason.len() < 200, "{key}");
        for Registration { service, checks } in derived.offers.iter().map(|offer| &*offer.registration) {
            assert_eq!(&*service.id, "t1:published-one:6379");
            assert_eq!(&*checks[check].id, "service:t1:published-one:6379");
        }
    }
    let mut container = recorded("published-one");
    let just = "x".repeat(255);
    container.labels.insert("SERVICE_ID".to_owned(), just.clone());
    container.labels.insert("SERVICE_NAME".to_owned(), just.clone());
    let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
    let derived = derive(&container, &config, &|_| None);
    let service = &derived.offers[0].registration.service;
    assert_eq!((&*service.id, &*service.name), (&*just, &*just));
    assert_eq!(derived.faults, []);
}

/// `docker-20.10` and `podman-4.3` are recorded as they came. `docker-29` is the former with what API 1.52 leaves out and
/// adds, by its documentation.
/// L53.
#[test]
fn the_same_container_is_registered_alike_whichever_engine_runs_it() {
    let shown = |engine: &str, internal: bool| {
        let mut config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
        config.internal = internal;
        show(&derive(&recorded(&format!("engines/{engine}")), &config, &|_| {
            None
        }))
    };
    let docker = shown("docker-20.10", false);
    assert!(
        docker.starts_with("web 10.0.0.1:18080 id=t1:rec-engine:8000 tags=[\"a\", \"b\"]"),
        "{docker}"
    );
    assert_eq!(shown("docker-29", false), docker);
    assert_eq!(shown("podman-4.3", false), docker);
    let docker = shown("docker-20.10", true);
    assert!(docker.starts_with("web 172.17.0.2:8000 "), "{docker}");
    assert_eq!(shown("docker-29", true), docker);
    assert!(shown("podman-4.3", true).starts_with("web 10.88.0."));
}

/// L52.
#[test]
fn what_only_holds_the_network_of_a_pod_is_nobodys_service() {
    let registered = |change: fn(&mut Container)| {
        let mut container = recorded("engines/podman-4.3");
        change(&mut container);
        let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
        derive(&container, &config, &|_| None).offers.len()
    };
    assert_eq!(registered(|it| it.name = "6c73e8c8dd03-infra".to_owned()), 0);
    assert_eq!(
        registered(|it| it.image = "localhost/podman-pause:4.3.1-0".to_owned()),
        0
    );
    let sandbox = |it: &mut Container| {
        let label = ("io.kubernetes.docker.type".to_owned(), "podsandbox".to_owned());
        it.labels.extend([label]);
    };
    assert_eq!(registered(sandbox), 0);
    assert_eq!(registered(|it| it.name = "shop-infra".to_owned()), 1);
}

/// Addresses that a port may be bound to, of every kind.
const BOUND: [&str; 8] = [
    "0.0.0.0",
    "::",
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "10.0.0.1",
    "10.9.9.9",
    "2001:db8::7",
];

proptest::proptest! {
    #[test]
    fn no_binding_becomes_an_address_that_nobody_reaches(
        bound in proptest::collection::vec((0..BOUND.len(), 1..4_u16), 0..5),
        ip: bool, v4: bool, v6: bool,
    ) {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut container = recorded("published-one");
        let bindings = bound.iter().map(|(at, port)| crate::container::Binding { address: address(BOUND[*at]), port: *port });
        let bindings: Vec<_> = bindings.collect();
        container.bindings.insert("6379".parse().unwrap(), bindings.clone());
        let mut config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
        config.ip = ip.then(|| address("192.0.2.7"));
        config.home.address = config.home.address.filter(|_| v4);
        config.home.v6 = v6.then(|| "2001:db8::1".parse().unwrap());
        let derived = derive(&container, &config, &|_| None);
        let services = || derived.offers.iter().map(|offer| &offer.registration.service);
        let places: BTreeSet<_> = services().map(|service| (service.address.clone(), service.id.clone())).collect();
        proptest::prop_assert_eq!(places.len(), derived.offers.len());
        for service in services() {
            let told = service.tagged_addresses.values().map(|at| (at.address.as_str(), at.port));
            for (at, port) in told.chain([(service.address.as_str(), service.port)]) {
                let at = address(at);
                proptest::prop_assert!(!at.is_unspecified() && port > 0);
                // Only where somebody asked for it, and where nothing better is left.
                let asked = bindings.iter().any(|binding| binding.address == at);
                proptest::prop_assert!(!at.is_loopback() || asked && derived.offers.len() == 1);
            }
        }
        if (ip || v4 && v6) && !bindings.is_empty() {
            proptest::prop_assert!(!derived.offers.is_empty());
        }
    }
}

#[test]
fn of_a_thousand_ports_and_more_a_thousand_are_registered_and_the_others_named_together() {
    let mut container = recorded("host-bare");
    container.exposed = (16_384..=17_385)
        .map(|number| format!("{number}/udp").parse().unwrap())
        .collect();
    let config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
    let all = derive(&container, &config, &|_| None);
    assert_eq!(all.offers.len(), 1000);
    assert_eq!(all.offers[999].port.number, 17_383);
    let why = "2 ports, 17384/udp to 17385/udp, not registered: a container has at most 1000 ports registered; \
               SERVICE_PORT names those that count";
    assert_eq!(all.faults, [Fault::new("ports", why)]);
    assert_eq!(all.skipped.len(), 1);
    // Ignored ports do not count.
    let label = ("SERVICE_16384-16385_IGNORE".to_owned(), "1".to_owned());
    container.labels.extend([label]);
    let fewer = derive(&container, &config, &|_| None);
    assert_eq!((fewer.offers.len(), fewer.faults), (1000, Vec::new()));
}
