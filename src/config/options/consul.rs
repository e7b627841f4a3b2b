//! Rows of Consul's agent: flags, with the keys that mean the same in its configuration files.

use super::own::LEVELS;
use super::{Command, Kind, Owner, Row};

const fn row(name: &'static str) -> Row {
    Row::new(Owner::Consul, &[Command::Agent], name)
}

const fn later(name: &'static str, kind: Kind, default: &'static str) -> Row {
    row(name).is(kind, default, "").not_yet()
}

const fn section(name: &'static str) -> Row {
    later(name, Kind::Tree, "")
}

const ONE_NODE: &str = "this version is one node that leads itself: there is nobody to talk to";
const IN_MEMORY: &str = "this version keeps everything in memory and writes no files";
const AT_HOME: &str = "Lictor never calls home";
const NO_UI: &str = "this version has no web interface of its own";

/// What works, and what may be given without effect.
pub const ROWS: &[Row] = &[
    row("dev").is(
        Kind::Bool,
        "false",
        "One node, in memory, its own leader, on loopback. The only way to run so far.",
    ),
    row("node")
        .keys(&["node_name"])
        .is(Kind::Text, "", "Name of this node; default: the host's name."),
    row("node-id").keys(&["node_id"]).is(
        Kind::Text,
        "",
        "UUID of this node; default: a new one at each start.",
    ),
    row("datacenter").is(Kind::Text, "dc1", "Name of the datacenter."),
    row("domain").is(Kind::Text, "consul", "DNS domain that services are found under."),
    row("bind").keys(&["bind_addr"]).is(
        Kind::Ip,
        "127.0.0.1",
        "Address of this node towards other nodes; told, not bound, while it is the only one.",
    ),
    row("client").keys(&["client_addr"]).is(
        Kind::Text,
        "127.0.0.1",
        "Addresses that HTTP and DNS listen on, separated by blanks.",
    ),
    row("advertise").keys(&["advertise_addr"]).is(
        Kind::Ip,
        "",
        "Address of this node as others reach it; default: that of -bind.",
    ),
    row("http-port")
        .keys(&["ports.http"])
        .is(Kind::Port, "8500", "Port of the HTTP API; -1: none."),
    row("dns-port")
        .keys(&["ports.dns"])
        .is(Kind::Port, "8600", "Port of DNS, UDP and TCP; -1: none."),
    row("config-file").is(Kind::Paths, "", "Configuration to read, .json or .hcl."),
    row("config-dir").is(
        Kind::Paths,
        "",
        "Directory whose .json and .hcl files are read in order of name.",
    ),
    row("log-level").at_once().keys(&["log_level"]).is(
        Kind::OneOf(LEVELS),
        "info",
        "The least important messages to log.",
    ),
    row("data-dir")
        .keys(&["data_dir"])
        .is(Kind::Text, "", "Directory for what must outlive a restart.")
        .ignored(IN_MEMORY),
    row("server")
        .is(Kind::Bool, "false", "Be a server.")
        .ignored(ONE_NODE),
    row("bootstrap")
        .is(Kind::Bool, "false", "Lead alone from the start.")
        .ignored(ONE_NODE),
    row("bootstrap-expect").keys(&["bootstrap_expect"]).is(
        Kind::Number,
        "0",
        "Servers to wait for; this version is always its only one.",
    ),
    row("ui")
        .is(Kind::Bool, "false", "Serve the web interface.")
        .ignored(NO_UI),
    row("ui_config")
        .is(Kind::Tree, "", "Settings of the web interface.")
        .ignored(NO_UI),
    row("server-port")
        .keys(&["ports.server"])
        .is(Kind::Port, "8300", "Port of servers.")
        .ignored(ONE_NODE),
    row("serf-lan-port")
        .keys(&["ports.serf_lan"])
        .is(Kind::Port, "8301", "Gossip port.")
        .ignored(ONE_NODE),
    row("serf-wan-port")
        .keys(&["ports.serf_wan"])
        .is(Kind::Port, "8302", "Gossip port.")
        .ignored(ONE_NODE),
    row("serf-lan-bind")
        .keys(&["serf_lan"])
        .is(Kind::Ip, "", "Gossip address.")
        .ignored(ONE_NODE),
    row("serf-wan-bind")
        .keys(&["serf_wan"])
        .is(Kind::Ip, "", "Gossip address.")
        .ignored(ONE_NODE),
    row("raft-protocol")
        .keys(&["raft_protocol"])
        .is(Kind::Number, "3", "")
        .ignored(ONE_NODE),
    row("protocol").is(Kind::Number, "2", "").ignored(ONE_NODE),
    row("rejoin")
        .keys(&["rejoin_after_leave"])
        .is(Kind::Bool, "false", "")
        .ignored(ONE_NODE),
    row("performance")
        .is(Kind::Tree, "", "Raft timing.")
        .ignored(ONE_NODE),
    row("gossip_lan")
        .is(Kind::Tree, "", "Gossip timing.")
        .ignored(ONE_NODE),
    row("gossip_wan")
        .is(Kind::Tree, "", "Gossip timing.")
        .ignored(ONE_NODE),
    row("autopilot")
        .is(Kind::Tree, "", "Care for servers.")
        .ignored(ONE_NODE),
    row("disable_coordinates")
        .is(Kind::Bool, "false", "")
        .ignored(ONE_NODE),
    row("reconnect_timeout")
        .is(Kind::Duration, "72h", "")
        .ignored(ONE_NODE),
    row("leave_on_terminate")
        .is(Kind::Bool, "false", "")
        .ignored(ONE_NODE),
    row("skip_leave_on_interrupt")
        .is(Kind::Bool, "true", "")
        .ignored(ONE_NODE),
    row("disable-host-node-id")
        .keys(&["disable_host_node_id"])
        .is(Kind::Bool, "true", "")
        .ignored("the node id never derives from the host"),
    row("disable-keyring-file")
        .keys(&["disable_keyring_file"])
        .is(Kind::Bool, "false", "")
        .ignored(IN_MEMORY),
    row("disable_update_check")
        .is(Kind::Bool, "true", "")
        .ignored(AT_HOME),
    row("disable_anonymous_signature")
        .is(Kind::Bool, "true", "")
        .ignored(AT_HOME),
    row("disable_remote_exec")
        .is(Kind::Bool, "true", "")
        .ignored("there is no remote exec to disable"),
];

/// Known to Consul, not to this version; the default is what this version does instead.
pub const LATER: &[Row] = &[
    later("advertise-wan", Kind::Ip, "").keys(&["advertise_addr_wan"]),
    later("advertise_addr_ipv4", Kind::Ip, ""),
    later("advertise_addr_ipv6", Kind::Ip, ""),
    later("allow-write-http-from", Kind::List, "").keys(&["http_config.allow_write_http_from"]),
    later("alt-domain", Kind::Text, "").keys(&["alt_domain"]),
    later("check_output_max_size", Kind::Number, "4096"),
    later("check_update_interval", Kind::Duration, "5m"),
    later("config-format", Kind::OneOf(&["hcl", "json"]), ""),
    later("default-query-time", Kind::Duration, "300s").keys(&["default_query_time"]),
    later("discard_check_output", Kind::Bool, "false"),
    later("discovery_max_stale", Kind::Duration, "0s"),
    later("enable-local-script-checks", Kind::Bool, "false").keys(&["enable_local_script_checks"]),
    later("enable-script-checks", Kind::Bool, "false").keys(&["enable_script_checks"]),
    later("enable_agent_tls_for_checks", Kind::Bool, "false"),
    later("enable_central_service_config", Kind::Bool, "false"),
    later("enable_debug", Kind::Bool, "false"),
    later("encrypt", Kind::Text, ""),
    later("encrypt_verify_incoming", Kind::Bool, "true"),
    later("encrypt_verify_outgoing", Kind::Bool, "true"),
    later("grpc-port", Kind::Port, "-1").keys(&["ports.grpc"]),
    later("grpc-tls-port", Kind::Port, "-1").keys(&["ports.grpc_tls"]),
    later("hcl", Kind::Text, ""),
    later("https-port", Kind::Port, "-1").keys(&["ports.https"]),
    later("join", Kind::List, "").keys(&["start_join"]),
    later("join-wan", Kind::List, "").keys(&["start_join_wan"]),
    later("log-file", Kind::Text, "").keys(&["log_file"]),
    later("log-json", Kind::Bool, "false").keys(&["log_json"]),
    later("log-rotate-bytes", Kind::Number, "0").keys(&["log_rotate_bytes"]),
    later("log-rotate-duration", Kind::Duration, "24h").keys(&["log_rotate_duration"]),
    later("log-rotate-max-files", Kind::Number, "0").keys(&["log_rotate_max_files"]),
    later("max-query-time", Kind::Duration, "600s").keys(&["max_query_time"]),
    later("node-meta", Kind::List, "").keys(&["node_meta"]),
    later("non-voting-server", Kind::Bool, "false").keys(&["non_voting_server"]),
    later("pid-file", Kind::Text, "").keys(&["pid_file"]),
    later("primary-gateway", Kind::List, "").keys(&["primary_gateways"]),
    later("primary_datacenter", Kind::Text, ""),
    later("recursor", Kind::List, "").keys(&["recursors"]),
    later("retry-interval", Kind::Duration, "30s").keys(&["retry_interval"]),
    later("retry-interval-wan", Kind::Duration, "30s").keys(&["retry_interval_wan"]),
    later("retry-join", Kind::List, "").keys(&["retry_join"]),
    later("retry-join-wan", Kind::List, "").keys(&["retry_join_wan"]),
    later("retry-max", Kind::Number, "0").keys(&["retry_max"]),
    later("retry-max-wan", Kind::Number, "0").keys(&["retry_max_wan"]),
    later("segment", Kind::Text, ""),
    later("serf-lan-allowed-cidrs", Kind::List, "").keys(&["serf_lan_allowed_cidrs"]),
    later("serf-wan-allowed-cidrs", Kind::List, "").keys(&["serf_wan_allowed_cidrs"]),
    later("session_ttl_min", Kind::Duration, ""),
    later("syslog", Kind::Bool, "false").keys(&["enable_syslog"]),
    later("syslog_facility", Kind::Text, "LOCAL0"),
    later("translate_wan_addrs", Kind::Bool, "false"),
    later("ui-content-path", Kind::Text, "/ui/").keys(&["ui_content_path"]),
    later("ui-dir", Kind::Text, "").keys(&["ui_dir"]),
    later("verify_incoming", Kind::Bool, "false"),
    later("verify_incoming_https", Kind::Bool, "false"),
    later("verify_incoming_rpc", Kind::Bool, "false"),
    later("verify_outgoing", Kind::Bool, "false"),
    later("verify_server_hostname", Kind::Bool, "false"),
    later("ca_file", Kind::Text, ""),
    later("ca_path", Kind::Text, ""),
    later("cert_file", Kind::Text, ""),
    later("key_file", Kind::Text, ""),
    later("server_name", Kind::Text, ""),
    later("tls_cipher_suites", Kind::Text, ""),
    later("tls_min_version", Kind::Text, "tls12"),
    later("tls_prefer_server_cipher_suites", Kind::Bool, "false"),
    later("acl.enabled", Kind::Bool, "false"),
    later("connect.enabled", Kind::Bool, "false"),
    later("ports.expose_max_port", Kind::Port, "21755"),
    later("ports.expose_min_port", Kind::Port, "21500"),
    later("ports.sidecar_max_port", Kind::Port, "21255"),
    later("ports.sidecar_min_port", Kind::Port, "21000"),
    section("acl"),
    section("addresses"),
    section("audit"),
    section("auto_config"),
    section("auto_encrypt"),
    section("cache"),
    section("check"),
    section("checks"),
    section("config_entries"),
    section("connect"),
    section("dns_config"),
    section("http_config"),
    section("limits"),
    section("segments"),
    section("service"),
    section("services"),
    section("tagged_addresses"),
    section("telemetry"),
    section("tls"),
    section("unix_sockets"),
    section("watches"),
];
