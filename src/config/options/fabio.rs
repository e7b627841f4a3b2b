//! Rows of fabio's properties. The balancer inside the agent takes the same ones, but for those
//! that say where routes come from: inside the agent they come from its own catalog.

use super::{Command, Kind, Owner, Row};

const BOTH: &[Command] = &[Command::Agent, Command::Lb];
const LB: &[Command] = &[Command::Lb];

const fn row(name: &'static str) -> Row {
    Row::new(Owner::Fabio, BOTH, name)
}

const fn alone(name: &'static str) -> Row {
    Row::new(Owner::Fabio, LB, name)
}

const fn later(name: &'static str, kind: Kind, default: &'static str) -> Row {
    row(name).is(kind, default, "").not_yet()
}

const fn later_alone(name: &'static str, kind: Kind, default: &'static str) -> Row {
    alone(name).is(kind, default, "").not_yet()
}

const fn moot(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Row {
    row(name).is(kind, default, "").ignored(why)
}

const GO: &str = "it tunes the Go runtime, which is not here";
const NO_UI: &str = "this version has no web interface";
const DEAD: &str = "fabio does nothing with it either";

/// What works, and what may be given without effect.
pub const ROWS: &[Row] = &[
    alone("cfg").is(Kind::Text, "", "Java properties file with further options."),
    row("proxy.addr").is(
        Kind::List,
        ":9999",
        "Addresses to serve: [host]:port[;proto=…][;more options], separated by commas.",
    ),
    row("proxy.cs").is(
        Kind::List,
        "",
        "Certificate sources: cs=<name>;type=<type>;cert=<where>[;more options], separated by commas.",
    ),
    row("proxy.auth").is(
        Kind::List,
        "",
        "Authentication schemes: name=<name>;type=basic|external[;more options], separated by commas.",
    ),
    row("proxy.readtimeout").is(
        Kind::Duration,
        "0s",
        "Time for a whole request to arrive where a listener has no rt; 0: any.",
    ),
    row("proxy.writetimeout").is(
        Kind::Duration,
        "0s",
        "Time for a whole answer to leave where a listener has no wt; 0: any.",
    ),
    row("proxy.strategy").is(
        Kind::Text,
        "rnd",
        "How a target is picked among equals: rnd, rr, p2c, least, ip, cookie:<name> or header:<name>.",
    ),
    row("proxy.matcher").is(
        Kind::OneOf(&["prefix", "glob", "iprefix"]),
        "prefix",
        "How paths of routes are compared.",
    ),
    row("proxy.noroutestatus").is(
        Kind::Number,
        "404",
        "Status for requests without a route, 100 to 999.",
    ),
    row("proxy.shutdownwait").is(
        Kind::Duration,
        "0s",
        "How long running requests may take to finish when the process stops.",
    ),
    row("proxy.deregistergraceperiod").is(
        Kind::Duration,
        "0s",
        "Pause between leaving the catalog and closing the listeners.",
    ),
    row("proxy.dialtimeout").is(Kind::Duration, "30s", "Time to connect to a target."),
    row("proxy.responseheadertimeout").is(
        Kind::Duration,
        "0s",
        "Time for a target to answer with headers; 0: any.",
    ),
    row("proxy.idleconntimeout").is(
        Kind::Duration,
        "15s",
        "How long idle connections to targets are kept.",
    ),
    row("proxy.maxconn").is(Kind::Number, "10000", "Idle connections kept per target."),
    row("ui.addr")
        .in_agent("127.0.0.1:9998")
        .is(Kind::Text, ":9998", "Address of the balancer's admin API."),
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
    row("log.access.target").is(
        Kind::OneOf(&["stdout"]),
        "",
        "Where the access log goes; empty: nowhere.",
    ),
    row("log.access.format").is(
        Kind::Text,
        "common",
        "Layout of the access log: common, combined, or a pattern of $fields.",
    ),
    alone("log.level").is(
        Kind::OneOf(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]),
        "INFO",
        "The least important messages to log.",
    ),
    alone("registry.backend").is(Kind::OneOf(&["consul"]), "consul", "Where routes come from."),
    alone("registry.consul.addr").is(Kind::Text, "localhost:8500", "Address of Consul's HTTP API."),
    alone("registry.consul.token").is(Kind::Text, "", "Token for Consul; default: CONSUL_HTTP_TOKEN."),
    moot(
        "insecure",
        Kind::Bool,
        "false",
        "it only silences a warning of fabio",
    ),
    moot("runtime.gogc", Kind::Number, "100", GO),
    moot("runtime.gomaxprocs", Kind::Number, "-1", GO),
    moot("ui.access", Kind::OneOf(&["ro", "rw"]), "rw", NO_UI),
    moot("ui.color", Kind::Text, "light-green", NO_UI),
    moot("ui.title", Kind::Text, "", NO_UI),
    moot("ui.routingtable.source.linkenabled", Kind::Bool, "false", NO_UI),
    moot("ui.routingtable.source.newtab", Kind::Bool, "true", NO_UI),
    moot("ui.routingtable.source.scheme", Kind::Text, "http", NO_UI),
    moot("ui.routingtable.source.host", Kind::Text, "", NO_UI),
    moot("ui.routingtable.source.port", Kind::Text, "", NO_UI),
    moot(
        "glob.cache.size",
        Kind::Number,
        "1000",
        "patterns are compiled once, with the table",
    ),
    moot("aws.apigw.cert.cn", Kind::Text, "", DEAD),
    moot("metrics.names", Kind::Text, "", DEAD),
    moot("metrics.timeout", Kind::Duration, "10s", DEAD),
    moot("metrics.retry", Kind::Duration, "500ms", DEAD),
    moot(
        "registry.consul.register.checkDeregisterCriticalServiceAfter",
        Kind::Text,
        "",
        DEAD,
    ),
];

/// Known to fabio, not to this version; the default is what this version does instead.
pub const LATER: &[Row] = &[
    later("proxy.localip", Kind::Ip, ""),
    later("proxy.keepalivetimeout", Kind::Duration, "0s"),
    later("proxy.flushinterval", Kind::Duration, "1s"),
    later("proxy.globalflushinterval", Kind::Duration, "0s"),
    later("proxy.gzip.contenttype", Kind::Text, ""),
    later("proxy.header.clientip", Kind::Text, ""),
    later("proxy.header.tls", Kind::Text, ""),
    later("proxy.header.tls.value", Kind::Text, ""),
    later("proxy.header.requestid", Kind::Text, ""),
    later("proxy.header.sts.maxage", Kind::Number, "0"),
    later("proxy.header.sts.subdomains", Kind::Bool, "false"),
    later("proxy.header.sts.preload", Kind::Bool, "false"),
    later("proxy.grpcmaxrxmsgsize", Kind::Number, "4194304"),
    later("proxy.grpcmaxtxmsgsize", Kind::Number, "4194304"),
    later("proxy.grpcshutdowntimeout", Kind::Duration, "2s"),
    later("proxy.log.routes", Kind::Text, ""),
    later(
        "log.routes.format",
        Kind::OneOf(&["delta", "all", "detail"]),
        "delta",
    ),
    later("metrics.target", Kind::List, ""),
    later(
        "metrics.prefix",
        Kind::Text,
        "{{clean .Hostname}}.{{clean .Exec}}",
    ),
    later("metrics.interval", Kind::Duration, "30s"),
    later("metrics.graphite.addr", Kind::Text, ""),
    later("metrics.statsd.addr", Kind::Text, ""),
    later("metrics.dogstatsd.addr", Kind::Text, ""),
    later("metrics.circonus.apikey", Kind::Text, ""),
    later("metrics.circonus.apiapp", Kind::Text, "fabio"),
    later("metrics.circonus.apiurl", Kind::Text, ""),
    later("metrics.circonus.brokerid", Kind::Text, ""),
    later("metrics.circonus.checkid", Kind::Text, ""),
    later("metrics.circonus.submissionurl", Kind::Text, ""),
    later("metrics.prometheus.subsystem", Kind::Text, ""),
    later("metrics.prometheus.path", Kind::Text, "/metrics"),
    later(
        "metrics.prometheus.buckets",
        Kind::List,
        ".005,.01,.025,.05,.1,.25,.5,1,2.5,5,10",
    ),
    later("glob.matching.disabled", Kind::Bool, "false"),
    later("ui.path", Kind::Text, ""),
    later("profile.mode", Kind::Text, ""),
    later("profile.path", Kind::Text, ""),
    later("bgp.enabled", Kind::Bool, "false"),
    later("bgp.asn", Kind::Number, "65000"),
    later("bgp.anycastaddresses", Kind::List, ""),
    later("bgp.routerid", Kind::Ip, ""),
    later("bgp.listenport", Kind::Port, "179"),
    later("bgp.listenaddresses", Kind::List, "0.0.0.0"),
    later("bgp.peers", Kind::List, ""),
    later("bgp.nexthop", Kind::Ip, ""),
    later("bgp.enablegrpc", Kind::Bool, "false"),
    later("bgp.grpclistenaddress", Kind::Text, "127.0.0.1:50051"),
    later("bgp.gobgpdcfgfile", Kind::Text, ""),
    later_alone("registry.timeout", Kind::Duration, "10s"),
    later_alone("registry.retry", Kind::Duration, "500ms"),
    later_alone("registry.static.routes", Kind::Text, ""),
    later_alone("registry.static.noroutehtml", Kind::Text, ""),
    later_alone("registry.file.path", Kind::Text, ""),
    later_alone("registry.file.noroutehtmlpath", Kind::Text, ""),
    later_alone("registry.custom.host", Kind::Text, ""),
    later_alone("registry.custom.scheme", Kind::Text, "https"),
    later_alone("registry.custom.path", Kind::Text, ""),
    later_alone("registry.custom.queryparams", Kind::Text, ""),
    later_alone("registry.custom.timeout", Kind::Duration, "5s"),
    later_alone("registry.custom.pollinterval", Kind::Duration, "10s"),
    later_alone("registry.custom.checkTLSSkipVerify", Kind::Bool, "false"),
    later_alone("registry.custom.noroutehtml", Kind::Text, ""),
    later_alone("registry.consul.namespace", Kind::Text, ""),
    later_alone("registry.consul.kvpath", Kind::Text, "/fabio/config"),
    later_alone(
        "registry.consul.noroutehtmlpath",
        Kind::Text,
        "/fabio/noroute.html",
    ),
    later_alone("registry.consul.serviceMonitors", Kind::Number, "1"),
    later_alone("registry.consul.pollinterval", Kind::Duration, "0s"),
    later_alone("registry.consul.requireConsistent", Kind::Bool, "true"),
    later_alone("registry.consul.allowStale", Kind::Bool, "false"),
    later_alone("registry.consul.tls.keyfile", Kind::Text, ""),
    later_alone("registry.consul.tls.certfile", Kind::Text, ""),
    later_alone("registry.consul.tls.cafile", Kind::Text, ""),
    later_alone("registry.consul.tls.capath", Kind::Text, ""),
    later_alone("registry.consul.tls.insecureskipverify", Kind::Bool, "false"),
    later_alone("registry.consul.register.enabled", Kind::Bool, "false"),
    later_alone("registry.consul.register.addr", Kind::Text, ""),
    later_alone("registry.consul.register.name", Kind::Text, "fabio"),
    later_alone("registry.consul.register.tags", Kind::List, ""),
    later_alone("registry.consul.register.checkInterval", Kind::Duration, "1s"),
    later_alone("registry.consul.register.checkTimeout", Kind::Duration, "3s"),
    later_alone("registry.consul.register.checkTLSSkipVerify", Kind::Bool, "false"),
];
