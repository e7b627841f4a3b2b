//! What only a restart changes. A new configuration is taken over without it, and its asker is told.

use crate::config::Config;

/// A property as its users know it, and whether it is the same in two configurations.
type Row = (&'static str, fn(&Config, &Config) -> bool);

const LASTING: &[Row] = &[
    ("ui.*", |a, b| a.ui == b.ui),
    ("log.access.*", |a, b| a.access_log == b.access_log),
    ("log.routes.format", |a, b| a.routes_log == b.routes_log),
    ("metrics.*", |a, b| a.metrics == b.metrics),
    ("tracing.*", |a, b| a.traces == b.traces),
    ("proxy.matcher", |a, b| a.matcher == b.matcher),
    ("glob.matching.disabled", |a, b| {
        a.glob_disabled == b.glob_disabled
    }),
    ("proxy.deregistergraceperiod", |a, b| a.grace == b.grace),
    // It is obeyed, but the process itself waits no longer than it meant to at its start.
    ("proxy.shutdownwait", |a, b| a.shutdown_wait >= b.shutdown_wait),
    ("proxy.hostroutes", |a, b| a.host_routes == b.host_routes),
    ("proxy.domain", |a, b| a.domains == b.domains),
    ("proxy.workers", |a, b| a.workers == b.workers),
    ("registry.consul.tagprefix", |a, b| a.tag_prefix == b.tag_prefix),
    ("registry.consul.kvpath", |a, b| a.kv_path == b.kv_path),
    ("registry.consul.service.status", |a, b| a.accepted == b.accepted),
    ("registry.consul.checksRequired", |a, b| {
        a.checks_required == b.checks_required
    }),
];

/// A line for everything that differs in `after` and stays as it was in `start`, with which the process began.
pub(super) fn lines(start: &Config, after: &Config) -> impl Iterator<Item = String> {
    let differs = |row: &&Row| !row.1(start, after);
    LASTING
        .iter()
        .filter(differs)
        .map(|(property, _)| format!("{property}: needs a restart"))
}
