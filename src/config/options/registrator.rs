//! Rows of the registrator's options: those that its users know, and Lictor's own for containers.

use super::own::LEVELS;
use super::{Command, Kind, Owner, Row};

const AGENT: &[Command] = &[Command::Agent];
const REGISTRATORS: &[Command] = &[Command::Agent, Command::Registrator];
const ALONE: &[Command] = &[Command::Registrator];

const fn registrator(name: &'static str) -> Row {
    Row::new(Owner::Registrator, REGISTRATORS, name)
}

const fn own(name: &'static str) -> Row {
    Row::new(Owner::Lictor, REGISTRATORS, name)
}

/// In the order they are shown.
pub const ROWS: &[Row] = &[
    Row::new(Owner::Lictor, ALONE, "log-level").is(
        Kind::OneOf(LEVELS),
        "info",
        "The least important messages to log.",
    ),
    own("registrator.docker").is(
        Kind::Text,
        "",
        "Address of the container engine; default: DOCKER_HOST, else the first of the usual sockets that is there.",
    ),
    own("registrator.hostname").is(
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
        "Tags for every service; a comma inside a tag is written \\,. May be a template over the container.",
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
    Row::new(Owner::Lictor, AGENT, "registrator.also")
        .is(
            Kind::List,
            "",
            "URIs of registries that containers are also registered with, beside this agent's own catalog.",
        )
        .secret(),
    own("registrator.filter").is(
        Kind::Text,
        "",
        "Expression that a container must meet to be registered, as label=team=web && !network=host.",
    ),
    own("registrator.networks").is(
        Kind::List,
        "",
        "Networks whose addresses are preferred, the best first.",
    ),
    own("registrator.ipv6").is(
        Kind::Ip,
        "",
        "Address for ports that are published on IPv6; default: the host's, unless registrator.ip is given.",
    ),
    own("registrator.compose-names").is(
        Kind::Bool,
        "false",
        "Name services of compose and swarm after the service there, not the image.",
    ),
    own("registrator.owner").is(
        Kind::Text,
        "",
        "Mark of our entries, which tells them from others'; default: made of the ids of machine and engine.",
    ),
    own("registrator.drain").is(
        Kind::Duration,
        "10s",
        "How long a container that survives its stop signal stays out of rotation, at least.",
    ),
    own("registrator.grace").is(
        Kind::Duration,
        "0",
        "How long entries stand while the engine cannot be heard, before they are critical; 0: for ever.",
    ),
    own("registrator.at-exit").is(
        Kind::OneOf(&["keep", "drain", "remove"]),
        "keep",
        "What becomes of the entries when the registrator stops.",
    ),
    Row::new(Owner::Lictor, ALONE, "http").is(
        Kind::Text,
        "",
        "Address that answers /health, /metrics and /v1/registrator, [ip]:port; empty: none.",
    ),
    Row::new(Owner::Lictor, ALONE, "dry-run").is(
        Kind::Bool,
        "false",
        "Log what would be written, and write nothing.",
    ),
    Row::new(Owner::Lictor, ALONE, "log-format").is(
        Kind::OneOf(&["text", "json"]),
        "text",
        "How the log is written.",
    ),
    Row::new(Owner::Lictor, ALONE, "format").is(
        Kind::OneOf(&["text", "json"]),
        "text",
        "How explain answers.",
    ),
];
