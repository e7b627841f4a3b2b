//! The configuration for people and programs that ask the balancer for it (`/api/config`): fabio's JSON, by its Go field
//! names, durations in nanoseconds. What must not be shown is three stars, also inside of URLs.
//!
//! Options that fabio does not have stand beside its own under `Lictor`, by their names.

use std::time::Duration;

use lb::config::{Acme, AuthKind, AuthScheme, CertKind, CertSource, Listener, STARS, Ui, masked};
use serde_json::{Map, Value, json};

use super::options::{self, Owner, Row, Status};
use super::reader::Reader;
use super::registry::{NoRoute, Registry};
use super::values;

/// All of it. Inside the agent there is no `registry`: routes come from its own catalog.
pub fn of(read: &Reader, lb: &lb::Config, registry: Option<&Registry>) -> Value {
    let text = |name: &'static str| read.text(name);
    json!({
        "Log": {
            "AccessFormat": text("log.access.format"),
            "AccessTarget": text("log.access.target"),
            "RoutesFormat": format!("{:?}", lb.routes_log).to_ascii_lowercase(),
            "Level": if read.has("log.level") { text("log.level") } else { String::new() },
        },
        "ProfileMode": "",
        "ProfilePath": "",
        "Listen": lb.listeners.iter().map(|each| listener(each, &lb.certs)).collect::<Vec<_>>(),
        "Metrics": metrics(read, lb),
        "BGP": bgp(),
        "UI": lb.ui.as_ref().map(|each| ui(each, read, &lb.certs)),
        "Registry": registry.map(|registry| self::registry(registry, read, lb)),
        "Proxy": proxy(read, lb),
        "Runtime": {"GOGC": 0, "GOMAXPROCS": lb.workers},
        "GlobCacheSize": 0,
        "Insecure": false,
        "GlobMatchingDisabled": lb.glob_disabled,
        "Lictor": own(read),
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn some_nanos(time: Option<Duration>) -> u64 {
    time.map_or(0, nanos)
}

fn stars(secret: &str) -> &str {
    if secret.is_empty() { "" } else { STARS }
}

fn listener(each: &Listener, certs: &[CertSource]) -> Value {
    let tls = each.tls.as_ref();
    let source = tls.and_then(|tls| certs.iter().find(|source| source.name == tls.source));
    let ciphers = tls
        .map(|tls| tls.ciphers.as_slice())
        .filter(|ciphers| !ciphers.is_empty());
    json!({
        "CertSource": cert_source(source),
        "Addr": address(each),
        "Proto": each.proto.as_str(),
        "TLSCiphers": ciphers,
        "ReadTimeout": some_nanos(each.read_timeout),
        "WriteTimeout": some_nanos(each.write_timeout),
        "IdleTimeout": some_nanos(each.idle_timeout),
        "ProxyHeaderTimeout": some_nanos(each.proxy_header),
        "Refresh": some_nanos(each.refresh),
        "TLSMinVersion": tls.and_then(|tls| tls.min).unwrap_or(0),
        "TLSMaxVersion": tls.and_then(|tls| tls.max).unwrap_or(0),
        "StrictMatch": tls.is_some_and(|tls| tls.strict),
        "ProxyProto": each.proxy_header.is_some(),
    })
}

/// fabio writes no host for all interfaces.
fn address(each: &Listener) -> String {
    if each.addr.ip().is_unspecified() {
        format!(":{}", each.addr.port())
    } else {
        each.addr.to_string()
    }
}

fn cert_source(source: Option<&CertSource>) -> Value {
    let (kind, cert, key) = match source.map(|source| &source.kind) {
        None => ("", String::new(), ""),
        Some(CertKind::File { cert, key }) => ("file", cert.clone(), key.as_str()),
        Some(CertKind::Path(path)) => ("path", path.clone(), ""),
        Some(CertKind::Http(url)) => ("http", masked(url), ""),
        Some(CertKind::Consul(url)) => ("consul", masked(url.reveal()), ""),
        Some(CertKind::Vault(path)) => ("vault", path.clone(), ""),
        Some(CertKind::VaultPki(path)) => ("vault-pki", path.clone(), ""),
        Some(CertKind::Acme(Acme { directory, .. })) => ("acme", masked(directory), ""),
    };
    let header = source.and_then(|source| source.header.as_ref());
    json!({
        "Header": header.map(|(name, _)| json!({name.as_str(): [STARS]})),
        "Name": source.map_or("", |source| &*source.name),
        "Type": kind,
        "CertPath": cert,
        "KeyPath": key,
        "ClientCAPath": source.and_then(|source| source.client_ca.as_deref()).map(masked).unwrap_or_default(),
        "CAUpgradeCN": source.and_then(|source| source.ca_upgrade_cn.as_deref()).unwrap_or_default(),
        "VaultFetchToken": source.and_then(|source| source.vault_fetch_token.as_deref()).unwrap_or_default(),
        "Refresh": some_nanos(source.and_then(|source| source.refresh)),
    })
}

fn metrics(read: &Reader, lb: &lb::Config) -> Value {
    let metrics = &lb.metrics;
    json!({
        "Target": read.text("metrics.target"),
        "Prefix": metrics.prefix,
        "Names": metrics.names,
        "Interval": nanos(metrics.interval),
        "Timeout": 0,
        "Retry": 0,
        "GraphiteAddr": metrics.graphite.as_deref().unwrap_or_default(),
        "StatsDAddr": metrics.statsd.as_deref().unwrap_or_default(),
        "DogstatsdAddr": metrics.dogstatsd.as_deref().unwrap_or_default(),
        "Circonus": {"APIKey": "", "APIApp": "", "APIURL": "", "CheckID": "", "BrokerID": "", "SubmissionURL": ""},
        "Prometheus": {"Subsystem": metrics.subsystem, "Path": metrics.path, "Buckets": metrics.buckets},
    })
}

/// Switched off, as it always is.
fn bgp() -> Value {
    json!({
        "BGPEnabled": false, "Asn": 0, "AnycastAddresses": null, "RouterID": "", "ListenPort": 0,
        "ListenAddresses": null, "Peers": null, "NextHop": "", "EnableGRPC": false, "GRPCListenAddress": "",
        "GRPCTLS": false, "CertFile": "", "KeyFile": "", "GOBGPDCfgFile": "",
    })
}

/// How links would look is shown also where there are none, as in fabio.
fn ui(each: &Ui, read: &Reader, certs: &[CertSource]) -> Value {
    use lb::config::Access;
    json!({
        "RoutingTable": {"Source": {
            "LinkEnabled": each.source_links.is_some(),
            "NewTab": values::boolean(&read.text("ui.routingtable.source.newtab")) == Ok(true),
            "Scheme": read.text("ui.routingtable.source.scheme"),
            "Host": read.text("ui.routingtable.source.host"),
            "Port": read.text("ui.routingtable.source.port"),
        }},
        "Color": each.color,
        "Title": each.title,
        "Access": match each.access {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
            Access::Default if each.listener.addr.ip().is_loopback() => "rw",
            Access::Default if each.token.is_some() || each.auth.is_some() => "rw",
            Access::Default => "ro",
        },
        "Path": each.path,
        "Listen": listener(&each.listener, certs),
    })
}

fn registry(registry: &Registry, read: &Reader, lb: &lb::Config) -> Value {
    let html = |no_route: &NoRoute| match no_route {
        NoRoute::Html(html) => html.clone(),
        NoRoute::File(_) => String::new(),
    };
    let file = |no_route: &NoRoute| match no_route {
        NoRoute::Html(_) => String::new(),
        NoRoute::File(path) => path.clone(),
    };
    let custom = &registry.custom;
    json!({
        "Backend": registry.backend.as_str(),
        "Timeout": nanos(registry.timeout),
        "Retry": nanos(registry.retry),
        "Static": {"NoRouteHTML": html(&registry.fixed.no_route), "Routes": registry.fixed.routes},
        "File": {"NoRouteHTMLPath": file(&registry.file.no_route), "RoutesPath": registry.file.path},
        "Custom": {
            "Host": custom.host,
            "Path": custom.path,
            "QueryParams": stars(&read.text("registry.custom.queryparams")),
            "Scheme": custom.scheme,
            "NoRouteHTML": html(&custom.no_route),
            "PollInterval": nanos(custom.poll),
            "Timeout": nanos(custom.timeout),
            "CheckTLSSkipVerify": custom.skip_verify,
        },
        "Consul": consul(registry, read, lb),
    })
}

fn consul(registry: &Registry, read: &Reader, lb: &lb::Config) -> Value {
    use super::registry::Consistency;
    let consul = &registry.consul;
    let tls = consul.tls.clone().unwrap_or_default();
    let (cert, key) = tls.pair.unwrap_or_default();
    let register = &consul.register;
    let admin = lb.ui.as_ref().map(|ui| &ui.listener);
    json!({
        "Addr": consul.addr,
        "Scheme": if consul.tls.is_some() { "https" } else { "http" },
        "Token": stars(consul.token.as_ref().map_or("", |token| token.reveal())),
        "KVPath": format!("/{}", consul.overrides.routes),
        "NoRouteHTMLPath": format!("/{}", consul.overrides.no_route),
        "TagPrefix": lb.tag_prefix,
        "Namespace": consul.namespace,
        "ServiceAddr": match read.text("registry.consul.register.addr") {
            unset if unset.is_empty() => admin.map(address).unwrap_or_default(),
            addr => addr,
        },
        "ServiceName": read.text("registry.consul.register.name"),
        "CheckScheme": if admin.is_some_and(|admin| admin.tls.is_some()) { "https" } else { "http" },
        "ChecksRequired": format!("{:?}", lb.checks_required).to_ascii_lowercase(),
        "TLS": {
            "KeyFile": key,
            "CertFile": cert,
            "CAFile": tls.ca_file.unwrap_or_default(),
            "CAPath": tls.ca_path.unwrap_or_default(),
            "InsecureSkipVerify": tls.skip_verify,
        },
        "ServiceTags": (!register.tags.is_empty()).then_some(&register.tags),
        "ServiceStatus": lb.accepted.iter().map(|status| status.as_str()).collect::<Vec<_>>(),
        "CheckInterval": nanos(register.interval),
        "CheckTimeout": nanos(register.timeout),
        "ServiceMonitors": consul.monitors,
        "PollInterval": some_nanos(consul.poll),
        "Register": register.enabled,
        "CheckTLSSkipVerify": register.skip_verify,
        "RequireConsistent": consul.consistency == Consistency::Consistent,
        "AllowStale": consul.consistency == Consistency::Stale,
    })
}

fn proxy(read: &Reader, lb: &lb::Config) -> Value {
    let headers = &lb.headers;
    let (tls, tls_value) = headers.tls.clone().unwrap_or_default();
    let sts = headers.sts;
    let schemes: Map<String, Value> = lb
        .auth
        .iter()
        .map(|each| (each.name.to_string(), auth(each)))
        .collect();
    json!({
        "GZIPContentTypes": lb.gzip.types.as_ref().map(|types| types.as_str()),
        "AuthSchemes": schemes,
        "Strategy": read.text("proxy.strategy"),
        "Matcher": read.text("proxy.matcher"),
        "LocalIP": headers.local_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        "ClientIPHeader": headers.client_ip.as_deref().unwrap_or_default(),
        "TLSHeader": tls,
        "TLSHeaderValue": tls_value,
        "RequestID": headers.request_id.as_deref().unwrap_or_default(),
        "STSHeader": {
            "MaxAge": sts.map_or(0, |sts| sts.max_age),
            "Subdomains": sts.is_some_and(|sts| sts.subdomains),
            "Preload": sts.is_some_and(|sts| sts.preload),
        },
        "NoRouteStatus": lb.no_route_status,
        "MaxConn": lb.max_idle_per_target,
        "ShutdownWait": nanos(lb.shutdown_wait),
        "DeregisterGracePeriod": nanos(lb.grace),
        "DialTimeout": nanos(lb.dial_timeout),
        "ResponseHeaderTimeout": some_nanos(lb.response_header_timeout),
        "KeepAliveTimeout": some_nanos(lb.keep_alive),
        "IdleConnTimeout": nanos(lb.idle_conn_timeout),
        // Every part of an answer is sent on as it comes.
        "FlushInterval": -1,
        "GlobalFlushInterval": -1,
        // No limits.
        "GRPCMaxRxMsgSize": 0,
        "GRPCMaxTxMsgSize": 0,
        "GRPCGShutdownTimeout": nanos(lb.grpc_shutdown),
    })
}

fn auth(each: &AuthScheme) -> Value {
    match &each.kind {
        AuthKind::Basic {
            file, realm, refresh, ..
        } => json!({
            "Name": &*each.name,
            "Type": "basic",
            "Basic": {"Realm": realm, "File": file, "Refresh": some_nanos(*refresh)},
        }),
        AuthKind::External {
            endpoint,
            set_headers,
            append_headers,
            timeout,
        } => json!({
            "Name": &*each.name,
            "Type": "external",
            "External": {
                "Endpoint": masked(endpoint),
                "SetAuthHeaders": set_headers,
                "AppendAuthHeaders": append_headers,
                "Timeout": nanos(*timeout),
            },
        }),
    }
}

/// The balancer's options that fabio does not have, and its tracing, which fabio no longer has.
fn own(read: &Reader) -> Value {
    let ours = |row: &&Row| {
        let balancers = row.owner == Owner::Lictor && row.serves(options::Command::Lb)
            || row.name.starts_with("tracing.");
        balancers && row.status == Status::Supported && row.name != "cfg-check"
    };
    let shown = |row: &'static Row| {
        let text = read.text(row.name);
        let text = match row.secret {
            true => stars(&text).to_owned(),
            false => masked(&text),
        };
        (row.name.to_owned(), Value::String(text))
    };
    let rows = options::all().filter(ours).filter(|row| read.has(row.name));
    Value::Object(rows.map(shown).collect())
}
