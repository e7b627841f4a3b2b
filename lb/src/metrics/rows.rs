//! The metrics as their users know them: one row each, which the page in the documentation is made of.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by size.
    Histogram,
}

impl Kind {
    /// Prometheus' word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric as its users know it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Full name.
    pub name: &'static str,
    /// What kind of number.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const fn row(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Row {
    Row {
        name,
        kind,
        labels,
        help,
    }
}

const ROUTE: &[&str] = &["service", "host", "path", "target"];

/// All of them, in alphabetical order.
pub const METRICS: &[Row] = &[
    row(
        "lictor_lb_accept_errors_total",
        Kind::Counter,
        &[],
        "Failures to accept connections: no file descriptors, no memory.",
    ),
    row(
        "lictor_lb_access_log_dropped_total",
        Kind::Counter,
        &[],
        "Access log lines lost because the reader was too slow.",
    ),
    row(
        "lictor_lb_auth_failures_total",
        Kind::Counter,
        &[],
        "What is wrong with htpasswd files (bad lines, plain passwords, gone), unknown schemes, authorization servers without an answer.",
    ),
    row(
        "lictor_lb_bad_requests_total",
        Kind::Counter,
        &[],
        "Requests refused for what they are: host, path, framing, body, method; streams and connections of HTTP/2 ended for what came on them.",
    ),
    row(
        "lictor_lb_certificate_end_seconds",
        Kind::Gauge,
        &["source", "entry"],
        "When a certificate expires, seconds since 1970.",
    ),
    row(
        "lictor_lb_certificate_failures_total",
        Kind::Counter,
        &["source"],
        "Looks at a certificate source that failed, entries that were left out, certificates that expired.",
    ),
    row(
        "lictor_lb_certificate_updates_total",
        Kind::Counter,
        &["source"],
        "Changes of the certificates or authorities of a source.",
    ),
    row(
        "lictor_lb_certificates",
        Kind::Gauge,
        &["source"],
        "Certificates of a source.",
    ),
    row(
        "lictor_lb_client_gone_total",
        Kind::Counter,
        &[],
        "Requests whose client left before the answer was complete (499).",
    ),
    row(
        "lictor_lb_connections",
        Kind::Gauge,
        &[],
        "Open client connections.",
    ),
    row(
        "lictor_lb_connections_given_up_total",
        Kind::Counter,
        &[],
        "Idle connections closed to make room for others: there were as many as proxy.limit.total, or as open files allow.",
    ),
    row(
        "lictor_lb_connections_refused_total",
        Kind::Counter,
        &[],
        "Connections closed since their client has as many as proxy.limit.conns, or as the admin server grants.",
    ),
    row(
        "lictor_lb_denied_total",
        Kind::Counter,
        &["why"],
        "Requests that were not let in: access, auth, guessing (or too many logins at once), rate, inflight, body.",
    ),
    row(
        "lictor_lb_grpc_conn_total",
        Kind::Counter,
        &[],
        "Connections accepted by gRPC listeners.",
    ),
    row(
        "lictor_lb_grpc_noroute_total",
        Kind::Counter,
        &[],
        "gRPC calls that no route wants.",
    ),
    row(
        "lictor_lb_grpc_requests_seconds",
        Kind::Histogram,
        &[],
        "Time from the head of a gRPC call to the end of its trailers.",
    ),
    row(
        "lictor_lb_grpc_status_total",
        Kind::Counter,
        &["code"],
        "gRPC calls by status, as text.",
    ),
    row(
        "lictor_lb_http2_floods_total",
        Kind::Counter,
        &[],
        "HTTP/2 connections ended because their frames only made work.",
    ),
    row(
        "lictor_lb_http_redirect_count_total",
        Kind::Counter,
        &["code"],
        "Requests answered by a redirect.",
    ),
    row(
        "lictor_lb_http_status_total",
        Kind::Counter,
        &["service", "code"],
        "Requests sent to a service, by status of the answer.",
    ),
    row(
        "lictor_lb_listener_failures_total",
        Kind::Counter,
        &["of"],
        "Attempts to open a port that failed, while running: of a TCP route (route), of the configuration (reload).",
    ),
    row("lictor_lb_listeners", Kind::Gauge, &[], "Addresses listened on."),
    row(
        "lictor_lb_loops_total",
        Kind::Counter,
        &[],
        "Requests answered with 508 since they had passed eight balancers, and TCP connections whose target is the listener that they came in by, or any of ours when they had come by four times.",
    ),
    row(
        "lictor_lb_metrics_push_failures_total",
        Kind::Counter,
        &[],
        "Sendings of metrics that failed; what they held is lost.",
    ),
    row(
        "lictor_lb_noted_tags",
        Kind::Gauge,
        &[],
        "Options of tags now that have no effect, or not the one that was meant.",
    ),
    row(
        "lictor_lb_noted_tags_total",
        Kind::Counter,
        &[],
        "Options of tags that were found to have no effect, or not the one that was meant.",
    ),
    row(
        "lictor_lb_notfound_total",
        Kind::Counter,
        &[],
        "Requests that no route wants.",
    ),
    row(
        "lictor_lb_outlier_ejected",
        Kind::Gauge,
        &[],
        "Targets that are passed over because they fail.",
    ),
    row(
        "lictor_lb_outlier_ejections_total",
        Kind::Counter,
        &[],
        "Times that a target was found to fail and passed over.",
    ),
    row(
        "lictor_lb_own_targets",
        Kind::Gauge,
        &[],
        "Targets that are listeners of this balancer.",
    ),
    row(
        "lictor_lb_panics_total",
        Kind::Counter,
        &[],
        "Connections lost to a fault of the balancer.",
    ),
    row(
        "lictor_lb_probe_down",
        Kind::Gauge,
        &[],
        "Targets that get no traffic because their probe fails.",
    ),
    row(
        "lictor_lb_probe_failures_total",
        Kind::Counter,
        &[],
        "Probes that failed.",
    ),
    row(
        "lictor_lb_proxy_header_distrusted_total",
        Kind::Counter,
        &[],
        "Connections closed for a PROXY header of a peer that is not in proxy.trusted.",
    ),
    row(
        "lictor_lb_proxy_header_errors_total",
        Kind::Counter,
        &[],
        "Connections closed for a PROXY header that is malformed or late.",
    ),
    row(
        "lictor_lb_requests_seconds",
        Kind::Histogram,
        &["service"],
        "Time from the head of a request to the end of its answer.",
    ),
    row(
        "lictor_lb_retries_refused_total",
        Kind::Counter,
        &[],
        "Requests that might have been sent again and were not, for want of budget.",
    ),
    row(
        "lictor_lb_retries_total",
        Kind::Counter,
        &[],
        "Requests and connections sent to another target after a failure.",
    ),
    row(
        "lictor_lb_route_rx_bytes_total",
        Kind::Counter,
        ROUTE,
        "Bytes from a target to clients.",
    ),
    row(
        "lictor_lb_route_seconds",
        Kind::Histogram,
        ROUTE,
        "As requests_seconds, for each target of each route.",
    ),
    row(
        "lictor_lb_route_tx_bytes_total",
        Kind::Counter,
        ROUTE,
        "Bytes from clients to a target.",
    ),
    row(
        "lictor_lb_routes",
        Kind::Gauge,
        &[],
        "Routes in the table, built-in ones included.",
    ),
    row(
        "lictor_lb_signal_failures_total",
        Kind::Counter,
        &[],
        "Signals that could not be listened for: a renamed access log stays in use.",
    ),
    row(
        "lictor_lb_skipped_commands",
        Kind::Gauge,
        &[],
        "Lines of route commands now that are none.",
    ),
    row(
        "lictor_lb_skipped_commands_total",
        Kind::Counter,
        &[],
        "Lines of route commands that were found to be none.",
    ),
    row(
        "lictor_lb_skipped_tags",
        Kind::Gauge,
        &[],
        "Tags that make no route now.",
    ),
    row(
        "lictor_lb_skipped_tags_total",
        Kind::Counter,
        &[],
        "Tags that were found to make no route.",
    ),
    row(
        "lictor_lb_source_ended_total",
        Kind::Counter,
        &[],
        "Times that the source of routes ended for good: the table stays as it is until the next start.",
    ),
    row(
        "lictor_lb_span_export_failures_total",
        Kind::Counter,
        &[],
        "Batches of spans that the collector did not take.",
    ),
    row(
        "lictor_lb_spans_lost_total",
        Kind::Counter,
        &[],
        "Spans that no collector has seen: of such batches, and those without room.",
    ),
    row(
        "lictor_lb_table_swaps_total",
        Kind::Counter,
        &[],
        "Routing tables that took effect.",
    ),
    row(
        "lictor_lb_tcp_conn_total",
        Kind::Counter,
        &[],
        "TCP connections accepted.",
    ),
    row(
        "lictor_lb_tcp_connections",
        Kind::Gauge,
        &[],
        "Open TCP connections.",
    ),
    row(
        "lictor_lb_tcp_connfail_total",
        Kind::Counter,
        &[],
        "TCP connections for which no target could be reached.",
    ),
    row(
        "lictor_lb_tcp_denied_total",
        Kind::Counter,
        &[],
        "TCP connections closed by the rules of their target.",
    ),
    row(
        "lictor_lb_tcp_hello_errors_total",
        Kind::Counter,
        &[],
        "Connections closed for lack of a TLS ClientHello with a server name.",
    ),
    row(
        "lictor_lb_tcp_noroute_total",
        Kind::Counter,
        &[],
        "TCP connections without a route or a healthy target.",
    ),
    row(
        "lictor_lb_tcp_sni_conn_total",
        Kind::Counter,
        &[],
        "Connections accepted to be passed on by server name.",
    ),
    row(
        "lictor_lb_tcp_sni_connfail_total",
        Kind::Counter,
        &[],
        "Such connections for which no target could be reached.",
    ),
    row(
        "lictor_lb_tcp_sni_noroute_total",
        Kind::Counter,
        &[],
        "Such connections without a route or a healthy target.",
    ),
    row(
        "lictor_lb_tls_errors_total",
        Kind::Counter,
        &[],
        "Connections closed since their TLS handshake failed.",
    ),
    row(
        "lictor_lb_unavailable_total",
        Kind::Counter,
        &[],
        "Requests for a known route without a healthy target.",
    ),
    row(
        "lictor_lb_upstream_failures_total",
        Kind::Counter,
        &[],
        "Requests and connections that a target did not serve.",
    ),
    row(
        "lictor_lb_upstream_idle_connections",
        Kind::Gauge,
        &[],
        "Connections to targets kept for reuse.",
    ),
    row(
        "lictor_lb_upstream_timeouts_total",
        Kind::Counter,
        &[],
        "Requests that failed because a target took too long.",
    ),
    row(
        "lictor_lb_vault_token_end_seconds",
        Kind::Gauge,
        &["token"],
        "When the token of a Vault expires, seconds since 1970; not there for one that does not.",
    ),
    row(
        "lictor_lb_vault_token_failures_total",
        Kind::Counter,
        &["token"],
        "Renewals of a Vault's token that failed, questions about it without an answer, and warnings that it will expire.",
    ),
    row(
        "lictor_lb_ws_conn",
        Kind::Gauge,
        &[],
        "Open tunnels: WebSockets and other upgrades.",
    ),
];
