//! Where containers are reached, on a real engine: networks of every kind, several bindings, a host whose address changes.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{self, Agent, Container, agent, http, machine, same, unique, wait_for};

/// Where the image `lictor-whoami` listens.
const PORT: u16 = 8000;

/// A network of the test's own; removed when dropped.
struct Network(String);

impl Network {
    fn new(options: &[&str]) -> Self {
        let name = unique("lictor-net");
        let label = format!("--label=lictor-test={}", std::process::id());
        let mut arguments = vec!["network", "create", &label];
        arguments.extend(options);
        arguments.push(&name);
        docker(&arguments);
        Self(name)
    }

    fn option(&self) -> String {
        format!("--network={}", self.0)
    }

    /// The host's own address in it.
    fn gateway(&self) -> String {
        docker(&[
            "network",
            "inspect",
            "-f",
            "{{(index .IPAM.Config 0).Gateway}}",
            &self.0,
        ])
    }

    fn address(&self, container: &Container<'_>, field: &str) -> String {
        let template = format!("{{{{(index .NetworkSettings.Networks \"{}\").{field}}}}}", self.0);
        docker(&["inspect", "-f", &template, container.name()])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = machine().docker(&["network", "rm", &self.0]);
    }
}

fn docker(arguments: &[&str]) -> String {
    machine()
        .docker(arguments)
        .unwrap_or_else(|reason| panic!("{reason}"))
}

/// Where the catalog says that a service is, once that is in one place.
fn place(agent: &Agent, service: &str) -> Result<(String, u64), String> {
    match agent.instances(service)?.as_slice() {
        [row] => Ok(place_of(row)),
        rows => Err(format!("{} instances", rows.len())),
    }
}

fn place_of(row: &Value) -> (String, u64) {
    let address = row["ServiceAddress"].as_str().unwrap_or_default();
    (
        address.to_owned(),
        row["ServicePort"].as_u64().unwrap_or_default(),
    )
}

fn await_place(agent: &Agent, service: &str, wanted: &(String, u64)) {
    wait_for(&format!("{service} at {wanted:?}"), || {
        same(&place(agent, service)?, wanted)
    });
}

/// That somebody answers there: an address that only looks right is none.
fn answers((address, port): &(String, u64)) {
    let ip: IpAddr = address.parse().expect("an address");
    let at = SocketAddr::new(ip, u16::try_from(*port).expect("a port"));
    wait_for(&format!("an answer from {at}"), || {
        http::get(at, "/health").status(200)
    });
}

#[test]
fn a_network_of_the_users_is_no_reason_to_be_had_elsewhere_than_at_the_host() {
    let agent = agent().start();
    let network = Network::new(&[]);
    let (outside, inside) = (unique("outside"), unique("inside"));
    let published = machine()
        .container("lictor-whoami")
        .option(&network.option())
        .label("SERVICE_NAME", &outside)
        .start();
    let internal = machine()
        .container("lictor-whoami")
        .option(&network.option())
        .label("SERVICE_NAME", &inside)
        .label("SERVICE_INTERNAL", "true")
        .start();

    let host = ("127.0.0.1".to_owned(), u64::from(published.published(PORT)));
    await_place(&agent, &outside, &host);
    answers(&host);
    let own = (network.address(&internal, "IPAddress"), u64::from(PORT));
    await_place(&agent, &inside, &own);
    answers(&own);
}

/// L26, R7.
#[test]
fn a_container_is_had_in_the_network_it_names_for_as_long_as_it_is_in_it() {
    let agent = agent().start();
    let (front, back) = (Network::new(&[]), Network::new(&[]));
    let service = unique("two-networks");
    let container = machine()
        .container("lictor-whoami")
        .option(&front.option())
        .label("SERVICE_NAME", &service)
        .label("SERVICE_NETWORK", &back.0)
        .start();

    // It is not in that network yet: as if it had named none.
    let host = ("127.0.0.1".to_owned(), u64::from(container.published(PORT)));
    await_place(&agent, &service, &host);
    docker(&["network", "connect", &back.0, container.name()]);
    let own = (back.address(&container, "IPAddress"), u64::from(PORT));
    await_place(&agent, &service, &own);
    answers(&own);
    docker(&["network", "disconnect", &back.0, container.name()]);
    // The engine has published it anew in the meantime.
    let host = ("127.0.0.1".to_owned(), u64::from(container.published(PORT)));
    await_place(&agent, &service, &host);
    let said = agent.said();
    assert!(
        said.contains("SERVICE_NETWORK") && said.contains(&back.0),
        "nobody is told why:\n{said}"
    );
}

#[test]
fn an_internal_network_publishes_nothing_and_its_containers_are_had_in_it() {
    let agent = agent().start();
    let network = Network::new(&["--internal"]);
    let (hidden, inside) = (unique("hidden"), unique("inside"));
    let start = |service: &str, internal: &str| {
        machine()
            .container("lictor-whoami")
            .option(&network.option())
            .label("SERVICE_NAME", service)
            .label("SERVICE_INTERNAL", internal)
            .start()
    };
    let _closed = start(&hidden, "false");
    let open = start(&inside, "true");

    let own = (network.address(&open, "IPAddress"), u64::from(PORT));
    await_place(&agent, &inside, &own);
    answers(&own);
    // It was started first, and would have been seen by now.
    assert_eq!(agent.instances(&hidden), Ok(Vec::new()));
}

#[test]
fn a_container_with_an_address_of_each_family_is_one_service_with_both() {
    let agent = agent().start();
    let third = std::process::id() % 0xffff;
    let network = Network::new(&["--ipv6", &format!("--subnet=fd00:77:{third:x}::/64")]);
    let service = unique("both-families");
    let container = machine()
        .container("lictor-whoami")
        .option(&network.option())
        .label("SERVICE_NAME", &service)
        .label("SERVICE_INTERNAL", "true")
        .start();

    await_place(
        &agent,
        &service,
        &(network.address(&container, "IPAddress"), u64::from(PORT)),
    );
    let row = agent.instances(&service).expect("the catalog answers").remove(0);
    let second = &row["ServiceTaggedAddresses"]["lan_ipv6"];
    let v6 = network.address(&container, "GlobalIPv6Address");
    assert_eq!(second, &json!({ "Address": v6, "Port": PORT }));
}

#[test]
fn a_port_that_is_bound_to_two_addresses_is_had_at_both() {
    let (one, other) = (Network::new(&[]), Network::new(&[]));
    let mut addresses = [one.gateway(), other.gateway()];
    addresses.sort_by_key(|address| address.parse::<IpAddr>().ok());
    // `-ip` would make both the same.
    let agent = agent().flag("-registrator.ip=").start();
    let service = unique("two-bindings");
    let container = machine()
        .container("lictor-whoami")
        .option(&format!("-p={}::{PORT}", addresses[0]))
        .option(&format!("-p={}::{PORT}", addresses[1]))
        .label("SERVICE_NAME", &service)
        .start();

    let rows = agent.await_passing(&service, 2);
    let id = format!("{}:{}:{PORT}", agent.node(), container.name());
    let ids: Vec<_> = rows.iter().map(|row| row["Service"]["ID"].clone()).collect();
    assert_eq!(ids, [json!(id), json!(format!("{id}:{}", addresses[1]))]);
    for (row, address) in agent
        .instances(&service)
        .expect("the catalog answers")
        .iter()
        .zip(addresses)
    {
        let place = place_of(row);
        assert_eq!(place.0, address);
        answers(&place);
    }
}

/// L54, R23.
#[test]
fn a_container_in_the_network_of_another_is_had_where_that_one_is() {
    let agent = agent().start();
    let network = Network::new(&[]);
    let service = unique("sidecar");
    let owner = machine()
        .container("redis")
        .option(&network.option())
        .label("SERVICE_NAME", &unique("owner"))
        .start();
    let _sidecar = machine()
        .container("lictor-whoami")
        .unpublished()
        .option(&format!("--network=container:{}", owner.name()))
        .label("SERVICE_NAME", &service)
        .start();

    let own = (network.address(&owner, "IPAddress"), u64::from(PORT));
    await_place(&agent, &service, &own);
    answers(&own);
}

#[test]
fn the_hosts_network_gives_its_address_and_no_network_gives_none() {
    let agent = agent().start();
    let (shared, none) = (unique("host-network"), unique("no-network"));
    let start = |network: &str, service: &str| {
        // Where it listens is its own affair here: the number that it declares counts.
        machine()
            .container("lictor-whoami")
            .unpublished()
            .option(&format!("--network={network}"))
            .label("SERVICE_NAME", service)
            .argument("-listen=127.0.0.1:0")
            .start()
    };
    let _none = start("none", &none);
    let _host = start("host", &shared);

    await_place(&agent, &shared, &("127.0.0.1".to_owned(), u64::from(PORT)));
    // It was started first, and would have been seen by now.
    assert_eq!(agent.instances(&none), Ok(Vec::new()));
}

/// A host of its own as far as addresses go: a network namespace, with a line to this one. Removed when dropped.
struct Host {
    name: String,
    /// This machine's end of the line.
    near: String,
}

impl Host {
    fn new() -> Self {
        // Two processes that test at once must not meet.
        let number = std::process::id();
        let line = format!("10.{}.{}", 66 + number / 250 % 150, number % 250);
        let host = Self {
            name: unique("lictor-host"),
            near: format!("{line}.1"),
        };
        let near = format!("lt{number}");
        ip(&["netns", "add", &host.name]);
        ip(&[
            "link", "add", &near, "type", "veth", "peer", "name", "far", "netns", &host.name,
        ]);
        ip(&["addr", "add", &format!("{line}.1/30"), "dev", &near]);
        ip(&["link", "set", &near, "up"]);
        host.ip(&format!("addr add {line}.2/30 dev far"));
        host.ip("link set far up");
        host.ip("link set lo up");
        host
    }

    fn ip(&self, arguments: &str) {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split(' '));
        ip(&all);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).output();
    let done = done.unwrap_or_else(|error| panic!("ip: {error}; install it with: apt-get install iproute2"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {}: {said}", arguments.join(" "));
}

/// L40.
#[test]
fn a_host_without_an_address_says_so_and_services_follow_the_one_it_gets() {
    let host = Host::new();
    let agent = agent()
        .flag("-registrator=false")
        .flag(&format!("-client={}", host.near))
        .start();
    let node = unique("lictor-test");
    let (first, registry) = (format!("-hostname={node}"), format!("consul://{}", agent.http()));
    let alone = harness::agent()
        .command(&["registrator", &first, &registry])
        .in_network(&host.name)
        .start_parts(&[]);
    let (service, beside) = (unique("moving"), unique("staying"));
    let start = |service: &str, address: &str| {
        machine()
            .container("lictor-whoami")
            .label("SERVICE_NAME", service)
            .label("SERVICE_IP", address)
            .start()
    };
    let container = start(&service, "");
    let _staying = start(&beside, "198.51.100.7");

    // Whoever says his address needs none of the host's.
    wait_for("the service with an address of its own", || {
        same(place(&agent, &beside)?.0, "198.51.100.7".to_owned())
    });
    assert_eq!(
        agent.instances(&service),
        Ok(Vec::new()),
        "127.0.0.1 would be a lie"
    );
    let said = alone.said();
    assert!(said.contains("no default route"), "nobody is told:\n{said}");
    let untouched = agent.instances(&beside).expect("the catalog answers");

    let port = u64::from(container.published(PORT));
    host.ip("link add eth0 type bridge");
    host.ip("link set eth0 up");
    host.ip("addr add 203.0.113.5/24 dev eth0");
    host.ip("route add default via 203.0.113.1 dev eth0");
    await_place(&agent, &service, &("203.0.113.5".to_owned(), port));
    host.ip("addr add 203.0.113.6/24 dev eth0");
    host.ip("route change default via 203.0.113.1 dev eth0 src 203.0.113.6");
    await_place(&agent, &service, &("203.0.113.6".to_owned(), port));
    let row = agent.instances(&service).expect("the catalog answers").remove(0);
    let id = format!("{node}:{}:{PORT}", container.name());
    assert_eq!(row["ServiceID"], json!(id));

    // Cut off for a while it keeps what it had, and IPv6 comes beside it.
    host.ip("route del default");
    host.ip("addr add fd55::5/64 dev eth0 nodad");
    host.ip("-6 route add default via fd55::1 dev eth0");
    host.ip("route add default via 203.0.113.1 dev eth0 src 203.0.113.6");
    wait_for("the address on IPv6", || {
        let row = agent.instances(&service)?.remove(0);
        same(
            &row["ServiceTaggedAddresses"]["lan_ipv6"]["Address"],
            &json!("fd55::5"),
        )
    });
    await_place(&agent, &service, &("203.0.113.6".to_owned(), port));
    assert_eq!(
        agent.instances(&beside),
        Ok(untouched),
        "what does not depend on the host is not written"
    );
}
