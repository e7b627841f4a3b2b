//! Rows of Lictor's own options and of the registrator's.

use super::{Command, Kind, Owner, Row};

const AGENT: &[Command] = &[Command::Agent];
const BALANCERS: &[Command] = &[Command::Agent, Command::Lb];
const REGISTRATORS: &[Command] = &[Command::Agent, Command::Registrator];
const ALONE: &[Command] = &[Command::Registrator];

const fn agent(name: &'static str) -> Row {
    Row::new(Owner::Lictor, AGENT, name)
}

const fn balancer(name: &'static str) -> Row {
    Row::new(Owner::Lictor, BALANCERS, name)
}

const fn registrator(name: &'static str) -> Row {
    Row::new(Owner::Registrator, REGISTRATORS, name)
}

/// In the order they are shown.
pub const ROWS: &[Row] = &[
    agent("proxy")
        .keys(&["proxy.enabled"])
        .is(Kind::Bool, "true", "Run the balancer."),
    balancer("proxy.trusted").is(
        Kind::List,
        "",
        "Networks (CIDR) of proxies in front of us, whose X-Forwarded-* headers are believed.",
    ),
    balancer("proxy.hostroutes").is(
        Kind::OneOf(&["off", "http", "all"]),
        "http",
        "Route host names such as nginx-80.example.com to containers: none, those of HTTP ports, or all.",
    ),
    balancer("proxy.domain").is(
        Kind::List,
        "",
        "Further domains under which built-in host names answer.",
    ),
    balancer("proxy.workers").is(
        Kind::Number,
        "",
        "Worker threads of the balancer; default: one per core.",
    ),
    agent("registrator").keys(&["registrator.enabled"]).is(
        Kind::Bool,
        "true",
        "Register the containers of this host.",
    ),
    Row::new(Owner::Lictor, ALONE, "log-level").is(
        Kind::OneOf(LEVELS),
        "info",
        "The least important messages to log.",
    ),
    Row::new(Owner::Lictor, REGISTRATORS, "registrator.docker").is(
        Kind::Text,
        "",
        "Address of the Docker Engine; default: DOCKER_HOST, else /var/run/docker.sock.",
    ),
    Row::new(Owner::Lictor, REGISTRATORS, "registrator.hostname").is(
        Kind::Text,
        "",
        "First part of every service id; default: the node's name, or alone the host's.",
    ),
    registrator("registrator.ip").is(Kind::Ip, "", "Address for published ports instead of the host's."),
    registrator("registrator.internal").is(
        Kind::Bool,
        "false",
        "Register exposed ports at the container's address instead of published ones at the host's.",
    ),
    registrator("registrator.explicit").is(
        Kind::Bool,
        "false",
        "Register only ports that were given a name.",
    ),
    registrator("registrator.useIpFromLabel").is(
        Kind::Text,
        "",
        "Container label that holds the address to register.",
    ),
    registrator("registrator.tags").is(
        Kind::List,
        "",
        "Tags for every service; a comma inside a tag is written \\,.",
    ),
    registrator("registrator.deregister").is(
        Kind::OneOf(&["always", "on-success"]),
        "always",
        "Which exits of a container remove its services.",
    ),
    registrator("registrator.cleanup").is(
        Kind::Bool,
        "false",
        "Remove entries of this host that no container accounts for.",
    ),
    registrator("registrator.resync").is(
        Kind::Number,
        "0",
        "Seconds between two full comparisons besides those after events; 0: only Lictor's own slow pass.",
    ),
    registrator("registrator.ttl").is(
        Kind::Number,
        "0",
        "Seconds that entries live in registries that expire them; needs ttl-refresh.",
    ),
    registrator("registrator.ttl-refresh").is(
        Kind::Number,
        "0",
        "Seconds between two renewals of entries; less than ttl.",
    ),
    Row::new(Owner::Registrator, ALONE, "retry-attempts").is(
        Kind::Number,
        "0",
        "Further attempts for the first contact with the registry; -1: for ever.",
    ),
    Row::new(Owner::Registrator, ALONE, "retry-interval").is(
        Kind::Number,
        "2000",
        "Milliseconds between those attempts.",
    ),
];

/// Consul's names, and what others call them; see `config::Level`.
pub const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "error"];
