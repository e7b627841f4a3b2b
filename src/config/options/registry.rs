//! Rows of fabio's `registry.*`. Inside the agent routes come from its own catalog, so most of them are for the balancer
//! alone.

use super::{Command, Kind, Owner, Row};

const BOTH: &[Command] = &[Command::Agent, Command::Lb];
const LB: &[Command] = &[Command::Lb];

const fn row(name: &'static str) -> Row {
    Row::new(Owner::Fabio, BOTH, name)
}

const fn alone(name: &'static str) -> Row {
    Row::new(Owner::Fabio, LB, name)
}

/// In the order they are shown.
pub const ROWS: &[Row] = &[
    alone("registry.backend").is(
        Kind::OneOf(&["consul", "static", "file", "custom"]),
        "consul",
        "Where routes come from.",
    ),
    alone("registry.timeout").is(
        Kind::Duration,
        "10s",
        "How long the source of routes may take to answer for the first time.",
    ),
    alone("registry.retry").is(Kind::Duration, "500ms", "Pause between two attempts until then."),
    Row::new(Owner::Lictor, LB, "registry.snapshot").is(
        Kind::Text,
        "",
        "File to keep the last good routes in, for a start while their source is out of reach.",
    ),
    alone("registry.static.routes").is(Kind::Text, "", "Route commands, a line each."),
    alone("registry.static.noroutehtml").is(Kind::Text, "", "HTML for requests without a route."),
    alone("registry.static.noroutehtmlpath").is(
        Kind::Text,
        "",
        "File with HTML for requests without a route; fabio documents it and does not have it.",
    ),
    alone("registry.file.path").is(
        Kind::Text,
        "",
        "File with route commands; read again when it changes.",
    ),
    alone("registry.file.noroutehtmlpath").is(
        Kind::Text,
        "",
        "File with HTML for requests without a route; empty: none.",
    ),
    alone("registry.custom.host").is(Kind::Text, "", "Server that is asked for route commands."),
    alone("registry.custom.scheme").is(Kind::OneOf(&["http", "https"]), "https", "How it is asked."),
    alone("registry.custom.path").is(Kind::Text, "", "Path that is asked for."),
    alone("registry.custom.queryparams")
        .is(Kind::Text, "", "What follows the ? behind it.")
        .secret(),
    alone("registry.custom.timeout").is(Kind::Duration, "5s", "Time for a whole answer."),
    alone("registry.custom.pollinterval")
        .keys(&["registry.custom.pollinginterval"])
        .is(Kind::Duration, "10s", "Pause between two questions."),
    alone("registry.custom.checkTLSSkipVerify").is(
        Kind::Bool,
        "false",
        "Trust any certificate of the server.",
    ),
    alone("registry.custom.noroutehtml").is(Kind::Text, "", "HTML for requests without a route."),
    alone("registry.consul.addr").is(
        Kind::Text,
        "localhost:8500",
        "Address of Consul's HTTP API, with https:// in front where it speaks TLS.",
    ),
    alone("registry.consul.token")
        .is(Kind::Text, "", "Token for Consul; default: CONSUL_HTTP_TOKEN.")
        .secret(),
    alone("registry.consul.namespace").is(Kind::Text, "", "Namespace of all questions (Consul Enterprise)."),
    row("registry.consul.kvpath").is(
        Kind::Text,
        "/fabio/config",
        "What keys with route commands of people begin with.",
    ),
    row("registry.consul.noroutehtmlpath").is(
        Kind::Text,
        "/fabio/noroute.html",
        "What keys with HTML for requests without a route begin with.",
    ),
    row("registry.consul.tagprefix").is(Kind::Text, "urlprefix-", "What tags that are routes start with."),
    row("registry.consul.service.status").is(
        Kind::List,
        "passing",
        "Check states in which an instance gets traffic.",
    ),
    row("registry.consul.checksRequired").is(
        Kind::OneOf(&["one", "all"]),
        "one",
        "Whether one or all checks of an instance must be in such a state.",
    ),
    alone("registry.consul.serviceMonitors").is(
        Kind::Number,
        "1",
        "Questions to Consul at the same time, 1 or more.",
    ),
    alone("registry.consul.pollinterval").is(
        Kind::Duration,
        "0s",
        "Pause before each question to Consul; 0: held questions, answered at each change.",
    ),
    alone("registry.consul.requireConsistent").is(
        Kind::Bool,
        "true",
        "Have Consul's leader make sure that it is the leader before it answers.",
    ),
    alone("registry.consul.allowStale").is(
        Kind::Bool,
        "false",
        "Let any of Consul's servers answer; alone, it takes the place of requireConsistent.",
    ),
    alone("registry.consul.tls.keyfile").is(Kind::Text, "", "PEM file with the key to our certificate."),
    alone("registry.consul.tls.certfile").is(
        Kind::Text,
        "",
        "PEM file with the certificate we show to Consul.",
    ),
    alone("registry.consul.tls.cafile").is(Kind::Text, "", "PEM file of who may vouch for Consul."),
    alone("registry.consul.tls.capath").is(
        Kind::Text,
        "",
        "Folder of PEM files of who may vouch for Consul.",
    ),
    alone("registry.consul.tls.insecureskipverify").is(
        Kind::Bool,
        "false",
        "Trust any certificate of Consul's.",
    ),
    row("registry.consul.register.enabled").in_agent("false").is(
        Kind::Bool,
        "true",
        "Register the balancer itself as a service.",
    ),
    row("registry.consul.register.addr").is(
        Kind::Text,
        "",
        "Address it is registered and checked at, [ip]:port; default: that of ui.addr.",
    ),
    row("registry.consul.register.name").is(Kind::Text, "fabio", "Name of that service."),
    row("registry.consul.register.tags").is(Kind::List, "", "Its tags."),
    row("registry.consul.register.checkInterval").is(Kind::Duration, "1s", "Time between two checks of it."),
    row("registry.consul.register.checkTimeout").is(Kind::Duration, "3s", "Time for an answer to a check."),
    row("registry.consul.register.checkTLSSkipVerify").is(
        Kind::Bool,
        "false",
        "Let the check trust any certificate.",
    ),
    row("registry.consul.register.checkDeregisterCriticalServiceAfter")
        .is(Kind::Text, "", "")
        .ignored("fabio does nothing with it either, and it is one minute"),
];
