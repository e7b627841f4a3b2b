//! From options to the balancer's configuration, for the agent and for `lictor lb`. Names of node, datacenter and
//! domain are not among them.

use std::net::IpAddr;

use lb::config as balancer;

use super::fault::Fault;
use super::reader::Reader;
use super::{sockaddr, values};

/// All of it.
pub fn section(read: &mut Reader) -> lb::Config {
    let defaults = lb::Config::default();
    let (certs, all_certs) = read.items("proxy.cs", balancer::parse_certs);
    let (auth, all_auth) = read.items("proxy.auth", balancer::parse_auth);
    // A name that is missing among those that mean something may be that of one that does not.
    let known_certs = all_certs.then_some(&*certs);
    let known_auth = all_auth.then_some(&*auth);
    let listeners = listeners(read, known_certs);
    let ui = ui(read, known_certs, known_auth);
    let admin = ui
        .as_ref()
        .map(|ui| ui.listener.addr)
        .filter(|addr| addr.port() != 0);
    if let Some(admin) = admin.filter(|admin| listeners.iter().any(|listener| listener.addr == *admin)) {
        let text = format!("proxy.addr and ui.addr both ask for {admin}");
        read.fault(Fault::Conflict(text));
    }
    lb::Config {
        listeners,
        ui,
        strategy: read
            .meant("proxy.strategy", balancer::parse_strategy)
            .unwrap_or_default(),
        matcher: read
            .meant("proxy.matcher", balancer::parse_matcher)
            .unwrap_or_default(),
        no_route_status: read
            .meant("proxy.noroutestatus", balancer::parse_no_route_status)
            .unwrap_or(defaults.no_route_status),
        dial_timeout: read.value("proxy.dialtimeout", values::duration),
        response_header_timeout: read.value("proxy.responseheadertimeout", values::patience),
        idle_conn_timeout: read.value("proxy.idleconntimeout", values::duration),
        keep_alive: read.value("proxy.keepalivetimeout", values::patience),
        grpc_shutdown: read.value("proxy.grpcshutdowntimeout", values::duration),
        max_idle_per_target: read.value("proxy.maxconn", values::count),
        shutdown_wait: read.value("proxy.shutdownwait", values::duration),
        grace: read.value("proxy.deregistergraceperiod", values::duration),
        glob_disabled: read.value("glob.matching.disabled", values::boolean),
        tag_prefix: read.value("registry.consul.tagprefix", values::text),
        accepted: read
            .meant("registry.consul.service.status", balancer::parse_statuses)
            .unwrap_or_default(),
        checks_required: read
            .meant("registry.consul.checksRequired", balancer::parse_checks_required)
            .unwrap_or_default(),
        headers: headers(read),
        gzip: read
            .meant("proxy.gzip.contenttype", balancer::parse_gzip)
            .unwrap_or_default(),
        edge: edge(read),
        retries: balancer::Retries {
            attempts: read.value("proxy.retry.attempts", values::attempts),
            budget: read.value("proxy.retry.budget", values::share),
        },
        outliers: outliers(read),
        access_log: access_log(read),
        routes_log: routes_log(read),
        metrics: metrics(read),
        traces: traces(read),
        trusted: read
            .meant("proxy.trusted", balancer::parse_networks)
            .unwrap_or_default(),
        host_routes: read
            .meant("proxy.hostroutes", balancer::parse_host_routes)
            .unwrap_or_default(),
        domains: read.value("proxy.domain", values::domains),
        workers: workers(read).unwrap_or(defaults.workers),
        certs,
        auth,
        ..defaults
    }
}

fn listeners(read: &mut Reader, certs: Option<&[balancer::CertSource]>) -> Vec<balancer::Listener> {
    let interfaces = read.interfaces();
    let around = balancer::Around {
        certs,
        address: &|text| sockaddr::expand(text, &interfaces),
        read_timeout: read.value("proxy.readtimeout", values::patience),
        write_timeout: read.value("proxy.writetimeout", values::patience),
    };
    let listeners = read.parts("proxy.addr", |text| balancer::parse_listeners(text, &around));
    listeners.unwrap_or_default()
}

fn ui(
    read: &mut Reader,
    certs: Option<&[balancer::CertSource]>,
    auth: Option<&[balancer::AuthScheme]>,
) -> Option<balancer::Ui> {
    let interfaces = read.interfaces();
    let around = balancer::Around {
        certs,
        address: &|text| sockaddr::expand(text, &interfaces),
        ..balancer::Around::nothing()
    };
    let defaults = balancer::Ui::default();
    let listener = read.meant("ui.addr", |text| match text.trim() {
        "" => Ok(None),
        text => balancer::parse_admin(text, &around).map(Some),
    });
    let scheme = read.optional("ui.auth", values::text);
    if let Some(scheme) = &scheme
        && auth.is_some_and(|all| all.iter().all(|known| *known.name != **scheme))
    {
        read.fault(Fault::Conflict(format!(
            "ui.auth: proxy.auth has no scheme {scheme:?}"
        )));
    }
    let links = balancer::SourceLinks {
        new_tab: read.value("ui.routingtable.source.newtab", values::boolean),
        scheme: read.value("ui.routingtable.source.scheme", values::scheme),
        host: read.value("ui.routingtable.source.host", values::text),
        port: read.value("ui.routingtable.source.port", values::text),
    };
    let ui = balancer::Ui {
        listener: listener.clone().flatten().unwrap_or(defaults.listener),
        access: read
            .meant("ui.access", balancer::parse_access)
            .unwrap_or_default(),
        color: read.value("ui.color", values::text),
        title: read.value("ui.title", values::text),
        path: read.meant("ui.path", balancer::parse_ui_path).unwrap_or_default(),
        token: read.optional("ui.token", values::text).map(balancer::Secret::new),
        auth: scheme,
        source_links: read
            .value("ui.routingtable.source.linkenabled", values::boolean)
            .then_some(links),
    };
    let source = ui.listener.tls.as_ref().map(|tls| &tls.source);
    let asking = certs
        .unwrap_or_default()
        .iter()
        .find(|each| Some(&each.name) == source);
    if let Some(name) = asking
        .filter(|each| each.client_ca.is_some())
        .map(|each| &each.name)
    {
        read.note(format!(
            "ui.addr: certificate source {name:?} has clientca, so nobody without a client certificate gets an answer: \
             not the check of the balancer's own service, which stays critical, and no orchestrator that asks for /health \
             or /ready"
        ));
    }
    // An empty address switches it off.
    (listener != Some(None)).then_some(ui)
}

fn headers(read: &mut Reader) -> balancer::Headers {
    let name = balancer::parse_header_name;
    let client_ip = read.meant("proxy.header.clientip", name).flatten();
    // These two say it already; fabio, too, leaves them as they are.
    let client_ip = client_ip.filter(|name| !matches!(name.as_str(), "X-Forwarded-For" | "X-Real-Ip"));
    let tls = read.meant("proxy.header.tls", name).flatten();
    let tls_value = read.meant("proxy.header.tls.value", balancer::parse_header_value);
    let max_age = read.value("proxy.header.sts.maxage", values::number_to(i64::from(u32::MAX)));
    let sts = balancer::Sts {
        max_age: u32::try_from(max_age).unwrap_or(0),
        subdomains: read.value("proxy.header.sts.subdomains", values::boolean),
        preload: read.value("proxy.header.sts.preload", values::boolean),
    };
    balancer::Headers {
        client_ip,
        client_cert: read.meant("proxy.header.clientcert", name).flatten(),
        tls: tls.map(|name| (name, tls_value.unwrap_or_default())),
        request_id: read.meant("proxy.header.requestid", name).flatten(),
        sts: (sts.max_age > 0).then_some(sts),
        local_ip: local_ip(read),
    }
}

/// What is written, nothing where that is nothing, or else the first address that is good for others.
fn local_ip(read: &mut Reader) -> Option<IpAddr> {
    let interfaces = read.interfaces();
    let written = read.meant("proxy.localip", |text| match text.trim() {
        "" => Ok(None),
        text => {
            let bad = |why: String| balancer::BadValue {
                problem: format!("failed to parse local ip: {text}"),
                right: why,
            };
            let text = sockaddr::expand(text, &interfaces).map_err(bad)?;
            text.parse()
                .map(Some)
                .map_err(|_| bad("it is an IP address".to_owned()))
        }
    });
    if read.is_written("proxy.localip") {
        return written.flatten();
    }
    let good = interfaces
        .iter()
        .find(|one| one.up && sockaddr::is_global(one.ip));
    good.map(|one| one.ip)
}

fn edge(read: &mut Reader) -> balancer::Edge {
    let body = read.meant("proxy.limit.body", balancer::parse_bytes);
    let streams = read.value("proxy.limit.streams", values::streams);
    balancer::Edge {
        header_timeout: read.value("proxy.limit.header", values::patience),
        connections: Some(read.value("proxy.limit.conns", values::count)).filter(|count| *count > 0),
        total: Some(read.value("proxy.limit.total", values::count)).filter(|count| *count > 0),
        stall: read.value("proxy.limit.stall", values::pause),
        rate: read.value("proxy.limit.rate", values::rate),
        streams,
        body: body.filter(|bytes| *bytes > 0),
    }
}

fn outliers(read: &mut Reader) -> balancer::Outliers {
    let outliers = balancer::Outliers {
        failures: read.value("proxy.outlier.failures", |text| {
            text.parse()
                .map_err(|_| "expected a whole number, 0 or more".to_owned())
        }),
        time: read.value("proxy.outlier.time", values::pause),
        max_time: read.value("proxy.outlier.maxtime", values::pause),
        max_share: read.value("proxy.outlier.max", values::share),
        slow_start: read.value("proxy.outlier.slowstart", values::duration),
    };
    if outliers.time > outliers.max_time {
        let text = "proxy.outlier.time must not be above proxy.outlier.maxtime";
        read.fault(Fault::Conflict(text.to_owned()));
    }
    outliers
}

fn access_log(read: &mut Reader) -> Option<balancer::AccessLog> {
    let size = read.meant("log.access.maxsize", balancer::parse_bytes);
    let size = size.filter(|bytes| *bytes > 0);
    let keep = read.value("log.access.keep", |text| {
        text.parse()
            .map_err(|_| "expected a whole number, 0 or more".to_owned())
    });
    let target = read.meant("log.access.target", |text| match text.trim() {
        "" => Ok(None),
        text => balancer::parse_log_target(text, size, keep).map(Some),
    });
    let format = read
        .meant("log.access.format", balancer::parse_log_format)
        .unwrap_or_default();
    target
        .flatten()
        .map(|target| balancer::AccessLog { format, target })
}

fn routes_log(read: &mut Reader) -> balancer::RoutesLog {
    let word = |text: &str| match text {
        "delta" => Ok(balancer::RoutesLog::Delta),
        "all" => Ok(balancer::RoutesLog::All),
        "detail" => Ok(balancer::RoutesLog::Detail),
        _ => Err("expected delta, all or detail".to_owned()),
    };
    let former = read.optional("proxy.log.routes", word);
    let format = read.value("log.routes.format", word);
    if former.is_some() {
        read.note("proxy.log.routes is the former name of log.routes.format, which it overrides");
    }
    former.unwrap_or(format)
}

fn metrics(read: &mut Reader) -> balancer::Metrics {
    use balancer::MetricsTarget as Target;
    let defaults = balancer::Metrics::default();
    let targets = read
        .parts("metrics.target", balancer::parse_metrics_targets)
        .unwrap_or_default();
    let names = read.value("metrics.names", values::text);
    let names = balancer::parse_names(&names).unwrap_or_else(|bad| {
        // fabio has not read it since 1.6: an old one that never worked must not stop a start.
        let origin = read.asked(&["metrics.names"]);
        read.note(format!("{origin} has no effect, and the default holds: {bad}"));
        defaults.names
    });
    let mut remote = |name: &'static str, target: Target, word: &str| {
        let addr = read.meant(name, |text| match text {
            "" => Ok(None),
            text => balancer::parse_remote(text).map(Some),
        });
        if addr == Some(None) && targets.contains(&target) {
            read.fault(Fault::Conflict(format!("metrics.target {word} needs {name}")));
        }
        addr.flatten()
    };
    let graphite = remote("metrics.graphite.addr", Target::Graphite, "graphite");
    let statsd = remote("metrics.statsd.addr", Target::StatsdRaw, "statsd_raw");
    let dogstatsd = remote("metrics.dogstatsd.addr", Target::Dogstatsd, "dogstatsd");
    balancer::Metrics {
        graphite,
        statsd,
        dogstatsd,
        prefix: read
            .meant("metrics.prefix", |text| match text {
                "default" => Ok(defaults.prefix.clone()),
                text => balancer::parse_prefix(text),
            })
            .unwrap_or_default(),
        names,
        interval: read.value("metrics.interval", values::pause),
        subsystem: read.value("metrics.prometheus.subsystem", values::text),
        path: read.value("metrics.prometheus.path", |text| match text {
            text if text.starts_with('/') => Ok(text.to_owned()),
            _ => Err("expected a path, for example /metrics".to_owned()),
        }),
        buckets: read
            .meant("metrics.prometheus.buckets", balancer::parse_buckets)
            .unwrap_or_default(),
        targets,
    }
}

fn traces(read: &mut Reader) -> balancer::Traces {
    let endpoint = read.meant("tracing.otlp.endpoint", |text| match text {
        "" => Ok(None),
        text => balancer::parse_collector(text).map(Some),
    });
    let header = read.meant("tracing.otlp.header", |text| match text {
        "" => Ok(None),
        text => balancer::parse_header(text).map(Some),
    });
    let rate = read.value("tracing.SamplerRate", |text| match text.parse::<f64>() {
        Ok(rate) if !rate.is_nan() => Ok(rate.clamp(0.0, 1.0)),
        _ => Err("expected a number from 0 to 1".to_owned()),
    });
    let endpoint = endpoint.flatten();
    // Who names a collector and no rate wants to see something there, as with every exporter of OTLP.
    let wants_all = endpoint.is_some() && !read.is_written("tracing.SamplerRate");
    balancer::Traces {
        endpoint,
        header: header.flatten(),
        service: read.value("tracing.ServiceName", values::text),
        rate: if wants_all { 1.0 } else { rate },
    }
}

/// Of ours first, then of Go's, where anything below 1 means a thread per core.
fn workers(read: &mut Reader) -> Option<usize> {
    let own = read.optional("proxy.workers", values::number_from(1));
    let go = read.value("runtime.gomaxprocs", values::number_from(i64::MIN));
    let count = own.or((go > 0).then_some(go))?;
    usize::try_from(count).ok()
}
