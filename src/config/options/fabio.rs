//! Rows of fabio's properties but for `registry.*`. The balancer inside the agent takes the same ones.

use super::{Command, Kind, Owner, Row};

const BOTH: &[Command] = &[Command::Agent, Command::Lb];
const LB: &[Command] = &[Command::Lb];

const fn row(name: &'static str) -> Row {
    Row::new(Owner::Fabio, BOTH, name).at_once()
}

const fn lasting(name: &'static str) -> Row {
    row(name).lasting()
}

const fn alone(name: &'static str) -> Row {
    Row::new(Owner::Fabio, LB, name)
}

const fn moot(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Row {
    row(name).is(kind, default, "").ignored(why)
}

const FLUSHED: &str = "every part of an answer is sent on as it comes";
const FRAMES: &str = "messages are passed on whatever their size";
const DEAD: &str = "fabio does nothing with it either";
const BGP: &str = "announcing addresses is the work of a routing daemon such as BIRD or GoBGP, told by /ready whether \
                   to announce";
const NO_BGP: &str = "it says how bgp.enabled works, which is refused";
const NO_CIRCONUS: &str = "only the target circonus reads it, which is refused: use prometheus or dogstatsd";
const ZIPKIN: &str = "spans are not sent in Zipkin's first format: use tracing.otlp.endpoint";

/// In the order they are shown.
pub const ROWS: &[Row] = &[
    alone("cfg").is(Kind::Text, "", "File or URL of Java properties with further options."),
    row("proxy.addr").is(Kind::List, ":9999", "Addresses to serve: [host]:port[;proto=…][;more options], separated by commas."),
    row("proxy.cs").is(Kind::List, "", "Certificate sources: cs=<name>;type=<type>;cert=<where>[;more options], separated by commas.").secret(),
    row("proxy.auth").is(Kind::List, "", "Authentication schemes: name=<name>;type=basic|external[;more options], separated by commas."),
    row("proxy.localip").is(Kind::Ip, "", "What targets are told as by= in Forwarded; empty: nothing; default: the first address of this host."),
    row("proxy.strategy").is(Kind::Text, "rnd", "How a target is picked among equals: rnd, rr, p2c, least, ip, cookie:<name> or header:<name>."),
    lasting("proxy.matcher").is(Kind::OneOf(&["prefix", "glob", "iprefix"]), "prefix", "How paths of routes are compared."),
    row("proxy.noroutestatus").is(Kind::Number, "404", "Status for requests without a route, 200 to 999."),
    row("proxy.shutdownwait").is(Kind::Duration, "0s", "How long running requests may take to finish when the process stops."),
    row("proxy.deregistergraceperiod").is(Kind::Duration, "0s", "Pause between leaving the catalog and closing the listeners."),
    row("proxy.dialtimeout").is(Kind::Duration, "30s", "Time to connect to a target."),
    row("proxy.responseheadertimeout").is(Kind::Duration, "0s", "Time for a target to answer with headers; 0: any."),
    row("proxy.keepalivetimeout").is(Kind::Duration, "0s", "Pause between TCP keep-alive probes to targets; 0: as the system does."),
    row("proxy.idleconntimeout").is(Kind::Duration, "15s", "How long idle connections to targets are kept."),
    row("proxy.maxconn").is(Kind::Number, "10000", "Idle connections kept per target."),
    row("proxy.readtimeout").is(Kind::Duration, "0s", "Time for a whole request to arrive where a listener has no rt; 0: any."),
    row("proxy.writetimeout").is(Kind::Duration, "0s", "Time for a whole answer to leave where a listener has no wt; 0: any."),
    moot("proxy.flushinterval", Kind::Duration, "1s", FLUSHED),
    moot("proxy.globalflushinterval", Kind::Duration, "0s", FLUSHED),
    row("proxy.gzip.contenttype").is(Kind::Text, "", "Regular expression of the content types that are compressed; empty: none."),
    row("proxy.header.clientip").is(Kind::Text, "", "Header that is set to the address of the client; empty: none."),
    row("proxy.header.tls").is(Kind::Text, "", "Header that is set on requests over TLS, and taken off others; empty: none."),
    row("proxy.header.tls.value").is(Kind::Text, "", "What that header says."),
    row("proxy.header.requestid").is(Kind::Text, "", "Header that is set to a fresh UUID; empty: none."),
    row("proxy.header.sts.maxage").is(Kind::Number, "0", "Seconds of Strict-Transport-Security on answers over TLS; 0: none."),
    row("proxy.header.sts.subdomains").is(Kind::Bool, "false", "That it holds for subdomains."),
    row("proxy.header.sts.preload").is(Kind::Bool, "false", "That browsers may know it beforehand."),
    moot("proxy.grpcmaxrxmsgsize", Kind::Number, "4194304", FRAMES),
    moot("proxy.grpcmaxtxmsgsize", Kind::Number, "4194304", FRAMES),
    row("proxy.grpcshutdowntimeout").is(Kind::Duration, "2s", "How long an unused gRPC connection to a target that left stays open; calls run on until they end."),
    lasting("proxy.log.routes").is(Kind::OneOf(&["delta", "all", "detail"]), "", "Former name of log.routes.format, and stronger."),
    moot("aws.apigw.cert.cn", Kind::Text, "", DEAD),
    lasting("log.access.target").is(Kind::Text, "", "Where the access log goes: stdout, file:<path>, syslog, syslog:udp://<host>:<port>; empty: nowhere."),
    lasting("log.access.format").is(Kind::Text, "common", "Layout of the access log: common, combined, json, or a pattern of $fields."),
    lasting("log.routes.format").is(Kind::OneOf(&["delta", "all", "detail"]), "delta", "How changes of the table are logged."),
    alone("log.level").at_once().is(Kind::OneOf(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]), "INFO", "The least important messages to log."),
    lasting("metrics.target").is(Kind::List, "", "Where metrics are sent: stdout, flat, label, statsd_raw, dogstatsd, graphite, prometheus."),
    lasting("metrics.prefix").is(Kind::Text, "{{clean .Hostname}}.{{clean .Exec}}", "What names of metrics begin with, a Go template."),
    lasting("metrics.names").is(Kind::Text, "{{clean .Service}}.{{clean .Host}}.{{clean .Path}}.{{clean .TargetURL.Host}}", "Names of routes where metrics have no labels, a Go template."),
    lasting("metrics.interval").is(Kind::Duration, "30s", "Time between two sendings."),
    moot("metrics.timeout", Kind::Duration, "10s", DEAD),
    moot("metrics.retry", Kind::Duration, "500ms", DEAD),
    lasting("metrics.graphite.addr").is(Kind::Text, "", "host:port of Graphite."),
    lasting("metrics.statsd.addr").is(Kind::Text, "", "host:port of StatsD."),
    lasting("metrics.dogstatsd.addr").is(Kind::Text, "", "host:port of the Datadog agent."),
    moot("metrics.circonus.apikey", Kind::Text, "", NO_CIRCONUS),
    moot("metrics.circonus.apiapp", Kind::Text, "fabio", NO_CIRCONUS),
    moot("metrics.circonus.apiurl", Kind::Text, "", NO_CIRCONUS),
    moot("metrics.circonus.brokerid", Kind::Text, "", NO_CIRCONUS),
    moot("metrics.circonus.checkid", Kind::Text, "", NO_CIRCONUS),
    moot("metrics.circonus.submissionurl", Kind::Text, "", NO_CIRCONUS),
    lasting("metrics.prometheus.subsystem").is(Kind::Text, "", "What stands between prefix and name."),
    row("metrics.prometheus.path").is(Kind::Text, "/metrics", "Path of the metrics on listeners with proto=prometheus."),
    lasting("metrics.prometheus.buckets").is(Kind::List, ".005,.01,.025,.05,.1,.25,.5,1,2.5,5,10", "Upper bounds of times, in seconds, ascending."),
    lasting("glob.matching.disabled").is(Kind::Bool, "false", "Compare host patterns literally."),
    moot("glob.cache.size", Kind::Number, "1000", "patterns are compiled once, with the table"),
    lasting("ui.addr").in_agent("127.0.0.1:9998").is(Kind::Text, ":9998", "Address of the admin server, [host]:port[;cs=<name>][;more options]; empty: none."),
    row("ui.access").is(Kind::OneOf(&["ro", "rw"]), "", "What may be done there; rw lets strangers write where nobody is asked who they are; default: rw on loopback or with ui.token or ui.auth, else ro."),
    row("ui.color").is(Kind::Text, "light-green", "Colour of its pages."),
    row("ui.title").is(Kind::Text, "", "Title of its pages."),
    row("ui.path").is(Kind::Text, "", "What all its paths but /health begin with."),
    row("ui.routingtable.source.linkenabled").is(Kind::Bool, "false", "Show sources of routes as links."),
    row("ui.routingtable.source.newtab").is(Kind::Bool, "true", "Open them in a new tab."),
    row("ui.routingtable.source.scheme").is(Kind::OneOf(&["http", "https"]), "http", "Their scheme."),
    row("ui.routingtable.source.host").is(Kind::Text, "", "Their host where the route has none."),
    row("ui.routingtable.source.port").is(Kind::Text, "", "Their port."),
    moot("runtime.gogc", Kind::Number, "100", "there is no garbage collector to tune"),
    lasting("runtime.gomaxprocs").is(Kind::Number, "-1", "Worker threads where proxy.workers does not say; below 1: one per core."),
    row("profile.mode").is(Kind::Text, "", "").refused("profiles are taken from outside, for example by perf record -g -p <pid>"),
    moot("profile.path", Kind::Text, "", "it says where profile.mode writes, which is refused"),
    moot("insecure", Kind::Bool, "false", "it only silences a warning of fabio"),
    row("bgp.enabled").is(Kind::Bool, "false", "").refused(BGP),
    moot("bgp.asn", Kind::Number, "65000", NO_BGP),
    moot("bgp.anycastaddresses", Kind::List, "", NO_BGP),
    moot("bgp.routerid", Kind::Ip, "", NO_BGP),
    moot("bgp.listenport", Kind::Port, "179", NO_BGP),
    moot("bgp.listenaddresses", Kind::List, "0.0.0.0", NO_BGP),
    moot("bgp.peers", Kind::List, "", NO_BGP).secret(),
    moot("bgp.nexthop", Kind::Ip, "", NO_BGP),
    moot("bgp.enablegrpc", Kind::Bool, "false", NO_BGP),
    moot("bgp.grpclistenaddress", Kind::Text, "127.0.0.1:50051", NO_BGP),
    moot("bgp.gobgpdcfgfile", Kind::Text, "", NO_BGP),
    moot("bgp.grpctls", Kind::Bool, "false", NO_BGP),
    moot("bgp.certfile", Kind::Text, "", NO_BGP),
    moot("bgp.keyfile", Kind::Text, "", NO_BGP),
    lasting("tracing.ServiceName").is(Kind::Text, "Fabiolb", "Name of the balancer in traces."),
    lasting("tracing.SamplerRate").is(Kind::Float, "-1", "Share of requests without a trace that begin one: at most 0 none, at least 1 all, as where only the endpoint is set."),
    moot("tracing.TracingEnabled", Kind::Bool, "false", "what a request carries is always passed on, and tracing.otlp.endpoint says where spans go"),
    moot("tracing.CollectorType", Kind::Text, "http", ZIPKIN),
    moot("tracing.ConnectString", Kind::Text, "http://localhost:9411/api/v1/spans", ZIPKIN),
    moot("tracing.Topic", Kind::Text, "Fabiolb-Kafka-Topic", ZIPKIN),
    moot("tracing.SpanName", Kind::Text, "", "spans are named by method and route"),
    moot("tracing.SpanHost", Kind::Text, "localhost:9998", "a span tells the host it is from"),
    moot("tracing.TraceID128Bit", Kind::Bool, "true", "ids have 128 bits"),
];
