//! Rows of Lictor's own options, the registrator's apart.

use super::{Command, Kind, Owner, Row};

const AGENT: &[Command] = &[Command::Agent];
const BALANCERS: &[Command] = &[Command::Agent, Command::Lb];

const fn agent(name: &'static str) -> Row {
    Row::new(Owner::Lictor, AGENT, name)
}

const fn balancer(name: &'static str) -> Row {
    Row::new(Owner::Lictor, BALANCERS, name).at_once()
}

/// In the order they are shown.
pub const ROWS: &[Row] = &[
    balancer("cfg-check").lasting().is(
        Kind::Bool,
        "false",
        "Read the configuration and the files it names, tell every fault, and do nothing else.",
    ),
    agent("proxy")
        .keys(&["proxy.enabled"])
        .is(Kind::Bool, "true", "Run the balancer."),
    balancer("proxy.trusted").is(
        Kind::List,
        "",
        "Networks (CIDR) of proxies in front of us, whose X-Forwarded-* headers are believed.",
    ),
    balancer("proxy.header.clientcert").is(
        Kind::Text,
        "",
        "Header that is set to hash and names of the client's certificate, and taken off where none was verified; empty: none.",
    ),
    balancer("proxy.hostroutes").lasting().is(
        Kind::OneOf(&["off", "http", "all"]),
        "http",
        "Route host names such as nginx-80.example.com to containers: none, those of HTTP ports, or all.",
    ),
    balancer("proxy.domain").lasting().is(
        Kind::List,
        "",
        "Further domains under which built-in host names answer.",
    ),
    balancer("proxy.workers").lasting().is(
        Kind::Number,
        "",
        "Worker threads of the balancer; default: one per core.",
    ),
    balancer("proxy.retry.attempts").is(
        Kind::Number,
        "3",
        "Targets that one request may be sent to in all, 1 to 10; those that refuse at once are not counted.",
    ),
    balancer("proxy.retry.budget").is(
        Kind::Float,
        "0.2",
        "Share of a worker's requests that may be retries, 0 to 1, beside ten a second.",
    ),
    balancer("proxy.outlier.failures").is(
        Kind::Number,
        "5",
        "Failures in a row after which an instance is passed over; 0: never.",
    ),
    balancer("proxy.outlier.time").is(
        Kind::Duration,
        "1s",
        "How long it is passed over the first time; twice as long each further time in a row.",
    ),
    balancer("proxy.outlier.maxtime").is(Kind::Duration, "1m", "How long at most."),
    balancer("proxy.outlier.max").is(
        Kind::Float,
        "0.5",
        "Share of a route's targets that may be passed over at the same time, 0 to 1; one always goes on.",
    ),
    balancer("proxy.outlier.slowstart").is(
        Kind::Duration,
        "10s",
        "Time over which an instance that returned comes back to its full share.",
    ),
    balancer("proxy.limit.header").is(
        Kind::Duration,
        "10s",
        "Time for the head of a request to arrive; 0: any.",
    ),
    balancer("proxy.limit.stall").is(
        Kind::Duration,
        "2m",
        "How long a client may keep its target waiting before it is judged by proxy.limit.rate.",
    ),
    balancer("proxy.limit.rate").is(
        Kind::Number,
        "240",
        "Bytes a second that a client must take of an answer, and send of a body, while it is waited for; 0: any.",
    ),
    balancer("proxy.limit.conns").is(
        Kind::Number,
        "0",
        "Connections of one client address at a time, on each worker; 0: any.",
    ),
    balancer("proxy.limit.total").is(
        Kind::Number,
        "0",
        "Connections of clients at a time, shared out to the workers; 0: what the limit of open files allows.",
    ),
    balancer("proxy.limit.streams").is(
        Kind::Number,
        "128",
        "Concurrent HTTP/2 streams of one connection.",
    ),
    balancer("proxy.limit.body").is(
        Kind::Text,
        "0",
        "Bytes of a request body where the route does not say, for example 10M; 0: any.",
    ),
    balancer("log.access.maxsize").lasting().is(
        Kind::Text,
        "100M",
        "Bytes at which the file of the access log is renamed and begun anew, for example 100M; 0: never.",
    ),
    balancer("log.access.keep")
        .lasting()
        .is(Kind::Number, "5", "Renamed files that are kept."),
    balancer("tracing.otlp.endpoint").lasting().is(
        Kind::Text,
        "",
        "URL of a collector that takes OTLP over HTTP; empty: no spans are sent.",
    ),
    balancer("tracing.otlp.header")
        .lasting()
        .is(Kind::Text, "", "Header of each sending, `Name: value`.")
        .secret(),
    balancer("ui.token")
        .is(
            Kind::Text,
            "",
            "Token that lets in to the admin server, as Bearer, X-Consul-Token or ?token=.",
        )
        .secret(),
    balancer("ui.auth").is(
        Kind::Text,
        "",
        "Scheme of proxy.auth that lets in to the admin server.",
    ),
    agent("registrator").keys(&["registrator.enabled"]).is(
        Kind::Bool,
        "true",
        "Register the containers of this host.",
    ),
];

/// Consul's names, and what others call them; see `config::Level`.
pub const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "error"];
