//! The rows themselves, in the order in which users meet them.

use hyper::Method;

use super::{BodyKind, Row, now};
use crate::http::agent::{check as agent_check, health as agent_health};
use crate::http::{agent, catalog, health, kv, membership, registrator, status};

const GET: &[Method] = &[Method::GET];
const PUT: &[Method] = &[Method::PUT];
const POST: &[Method] = &[Method::POST];
const DELETE: &[Method] = &[Method::DELETE];
/// Consul knows only `PUT` here; old scripts and some libraries send `POST`.
const PUT_OR_POST: &[Method] = &[Method::PUT, Method::POST];
const GET_PUT: &[Method] = &[Method::GET, Method::PUT];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const GET_DELETE: &[Method] = &[Method::GET, Method::DELETE];
const GET_PUT_DELETE: &[Method] = &[Method::GET, Method::PUT, Method::DELETE];
const EVERY: &[Method] = &[Method::GET, Method::POST, Method::PUT, Method::DELETE];

/// Every endpoint that Consul has, and what only we have.
pub(super) const ROWS: &[Row] = &[
    Row::new(GET, "/", "none").run(|ask| now(status::root(&ask))),
    Row::new(GET, "/metrics", "agent:read").run(|ask| now(status::metrics(&ask))),
    Row::new(GET, "/ui/", "none"),
    Row::new(GET, "/v1/agent/self", "agent:read").run(|ask| now(membership::own(&ask))),
    Row::new(GET, "/v1/agent/members", "node:read").run(|ask| now(membership::members(&ask))),
    Row::new(GET, "/v1/agent/services", "service:read").run(|ask| now(agent::services(&ask))),
    Row::new(GET, "/v1/agent/service/", "service:read")
        .run(|ask| Box::pin(agent::service(ask)))
        .waits(),
    Row::new(PUT_OR_POST, "/v1/agent/service/register", "service:write")
        .run(|ask| Box::pin(agent::register(ask)))
        .reads(BodyKind::Json),
    Row::new(PUT_OR_POST, "/v1/agent/service/deregister/", "service:write")
        .run(|ask| Box::pin(agent::deregister(ask))),
    Row::new(PUT, "/v1/agent/service/maintenance/", "service:write")
        .run(|ask| Box::pin(agent::service_maintenance(ask))),
    Row::new(PUT, "/v1/agent/maintenance", "node:write").run(|ask| Box::pin(agent::node_maintenance(ask))),
    Row::new(GET, "/v1/agent/checks", "node:read, service:read").run(|ask| now(agent_check::checks(&ask))),
    Row::new(
        PUT_OR_POST,
        "/v1/agent/check/register",
        "node:write, service:write",
    )
    .run(|ask| Box::pin(agent_check::register(ask)))
    .reads(BodyKind::Json),
    Row::new(
        PUT_OR_POST,
        "/v1/agent/check/deregister/",
        "node:write, service:write",
    )
    .run(|ask| Box::pin(agent_check::deregister(ask))),
    Row::new(PUT, "/v1/agent/check/pass/", "node:write, service:write")
        .run(|ask| Box::pin(agent_check::pass(ask))),
    Row::new(PUT, "/v1/agent/check/warn/", "node:write, service:write")
        .run(|ask| Box::pin(agent_check::warn(ask))),
    Row::new(PUT, "/v1/agent/check/fail/", "node:write, service:write")
        .run(|ask| Box::pin(agent_check::fail(ask))),
    Row::new(PUT, "/v1/agent/check/update/", "node:write, service:write")
        .run(|ask| Box::pin(agent_check::update(ask)))
        .reads(BodyKind::Json),
    Row::new(GET, "/v1/agent/health/service/id/", "service:read").run(|ask| now(agent_health::by_id(&ask))),
    Row::new(GET, "/v1/agent/health/service/name/", "service:read")
        .run(|ask| now(agent_health::by_name(&ask))),
    Row::new(GET, "/v1/agent/metrics", "agent:read").run(|ask| now(status::agent_metrics(&ask))),
    Row::new(GET, "/v1/agent/metrics/stream", "agent:read"),
    Row::new(GET, "/v1/agent/host", "operator:read"),
    Row::new(GET, "/v1/agent/version", "agent:read"),
    Row::new(GET, "/v1/agent/monitor", "agent:read"),
    Row::new(PUT, "/v1/agent/join/", "agent:write"),
    Row::new(PUT, "/v1/agent/leave", "agent:write"),
    Row::new(PUT, "/v1/agent/force-leave/", "operator:write"),
    Row::new(PUT, "/v1/agent/reload", "agent:write"),
    Row::new(PUT, "/v1/agent/token/", "agent:write"),
    Row::new(POST, "/v1/agent/connect/authorize", "service:write"),
    Row::new(GET, "/v1/agent/connect/ca/roots", "none"),
    Row::new(GET, "/v1/agent/connect/ca/leaf/", "service:write"),
    Row::new(PUT_OR_POST, "/v1/catalog/register", "node:write, service:write")
        .run(|ask| Box::pin(catalog::register(ask)))
        .reads(BodyKind::Json),
    Row::new(PUT_OR_POST, "/v1/catalog/deregister", "node:write, service:write")
        .run(|ask| Box::pin(catalog::deregister(ask)))
        .reads(BodyKind::Json),
    Row::new(GET, "/v1/catalog/datacenters", "none").run(|ask| now(catalog::datacenters(&ask))),
    Row::new(GET, "/v1/catalog/nodes", "node:read")
        .run(|ask| Box::pin(catalog::nodes(ask)))
        .waits(),
    Row::new(GET, "/v1/catalog/services", "service:read")
        .run(|ask| Box::pin(catalog::services(ask)))
        .waits(),
    Row::new(GET, "/v1/catalog/service/", "node:read, service:read")
        .run(|ask| Box::pin(catalog::service(ask)))
        .waits(),
    Row::new(GET, "/v1/catalog/node/", "node:read, service:read")
        .run(|ask| Box::pin(catalog::node(ask)))
        .waits(),
    Row::new(GET, "/v1/catalog/node-services/", "node:read, service:read")
        .run(|ask| Box::pin(catalog::node_services(ask)))
        .waits(),
    Row::new(GET, "/v1/catalog/connect/", "node:read, service:read"),
    Row::new(GET, "/v1/catalog/gateway-services/", "service:read"),
    Row::new(GET, "/v1/health/node/", "node:read, service:read")
        .run(|ask| Box::pin(health::node(ask)))
        .waits(),
    Row::new(GET, "/v1/health/checks/", "node:read, service:read")
        .run(|ask| Box::pin(health::checks(ask)))
        .waits(),
    Row::new(GET, "/v1/health/service/", "node:read, service:read")
        .run(|ask| Box::pin(health::service(ask)))
        .waits(),
    Row::new(GET, "/v1/health/state/", "node:read, service:read")
        .run(|ask| Box::pin(health::state(ask)))
        .waits(),
    Row::new(GET, "/v1/health/connect/", "node:read, service:read"),
    Row::new(GET, "/v1/health/ingress/", "node:read, service:read"),
    Row::new(GET, "/v1/kv/", "key:read")
        .run(|ask| Box::pin(kv::get(ask)))
        .waits(),
    Row::new(PUT, "/v1/kv/", "key:write")
        .run(|ask| Box::pin(kv::put(ask)))
        .reads(BodyKind::Value),
    Row::new(DELETE, "/v1/kv/", "key:write").run(|ask| Box::pin(kv::delete(ask))),
    Row::new(PUT, "/v1/session/create", "session:write"),
    Row::new(PUT, "/v1/session/destroy/", "session:write"),
    Row::new(PUT, "/v1/session/renew/", "session:write"),
    Row::new(GET, "/v1/session/info/", "session:read"),
    Row::new(GET, "/v1/session/node/", "session:read"),
    Row::new(GET, "/v1/session/list", "session:read"),
    Row::new(PUT, "/v1/txn", "key:write, node:write, service:write"),
    Row::new(PUT, "/v1/event/fire/", "event:write"),
    Row::new(GET, "/v1/event/list", "event:read"),
    Row::new(GET, "/v1/registrator", "agent:read").run(|ask| Box::pin(registrator::of_agent(ask))),
    Row::new(GET, "/v1/status/leader", "none").run(|ask| now(status::leader(&ask))),
    Row::new(GET, "/v1/status/peers", "none").run(|ask| now(status::peers(&ask))),
    Row::new(GET_POST, "/v1/query", "query:read, query:write"),
    Row::new(GET_PUT_DELETE, "/v1/query/", "query:read, query:write"),
    Row::new(GET, "/v1/coordinate/datacenters", "none"),
    Row::new(GET, "/v1/coordinate/nodes", "node:read"),
    Row::new(GET, "/v1/coordinate/node/", "node:read"),
    Row::new(PUT, "/v1/coordinate/update", "node:write"),
    Row::new(GET, "/v1/operator/raft/configuration", "operator:read"),
    Row::new(DELETE, "/v1/operator/raft/peer", "operator:write"),
    Row::new(POST, "/v1/operator/raft/transfer-leader", "operator:write"),
    Row::new(
        GET_PUT,
        "/v1/operator/autopilot/configuration",
        "operator:read, operator:write",
    ),
    Row::new(GET, "/v1/operator/autopilot/health", "operator:read"),
    Row::new(GET, "/v1/operator/autopilot/state", "operator:read"),
    Row::new(EVERY, "/v1/operator/keyring", "keyring:read, keyring:write"),
    Row::new(GET, "/v1/operator/usage", "operator:read"),
    Row::new(GET_PUT, "/v1/snapshot", "acl:write"),
    Row::new(GET, "/v1/connect/ca/roots", "none"),
    Row::new(
        GET_PUT,
        "/v1/connect/ca/configuration",
        "operator:read, operator:write",
    ),
    Row::new(
        GET_POST,
        "/v1/connect/intentions",
        "intentions:read, intentions:write",
    ),
    Row::new(GET, "/v1/connect/intentions/match", "intentions:read"),
    Row::new(GET, "/v1/connect/intentions/check", "service:read"),
    Row::new(
        GET_PUT_DELETE,
        "/v1/connect/intentions/exact",
        "intentions:read, intentions:write",
    ),
    Row::new(
        GET_PUT_DELETE,
        "/v1/connect/intentions/",
        "intentions:read, intentions:write",
    ),
    Row::new(PUT, "/v1/config", "operator:write"),
    Row::new(GET_DELETE, "/v1/config/", "service:read, operator:write"),
    Row::new(GET_POST, "/v1/discovery-chain/", "service:read"),
    Row::new(PUT, "/v1/acl/bootstrap", "none"),
    Row::new(POST, "/v1/acl/login", "none"),
    Row::new(POST, "/v1/acl/logout", "none"),
    Row::new(GET, "/v1/acl/replication", "acl:read"),
    Row::new(GET, "/v1/acl/policies", "acl:read"),
    Row::new(PUT, "/v1/acl/policy", "acl:write"),
    Row::new(GET_PUT_DELETE, "/v1/acl/policy/", "acl:read, acl:write"),
    Row::new(GET, "/v1/acl/roles", "acl:read"),
    Row::new(PUT, "/v1/acl/role", "acl:write"),
    Row::new(GET_PUT_DELETE, "/v1/acl/role/", "acl:read, acl:write"),
    Row::new(GET, "/v1/acl/tokens", "acl:read"),
    Row::new(PUT, "/v1/acl/token", "acl:write"),
    Row::new(GET_PUT_DELETE, "/v1/acl/token/", "acl:read, acl:write"),
    Row::new(GET, "/v1/acl/auth-methods", "acl:read"),
    Row::new(PUT, "/v1/acl/auth-method", "acl:write"),
    Row::new(GET_PUT_DELETE, "/v1/acl/auth-method/", "acl:read, acl:write"),
    Row::new(GET, "/v1/acl/binding-rules", "acl:read"),
    Row::new(PUT, "/v1/acl/binding-rule", "acl:write"),
    Row::new(GET_PUT_DELETE, "/v1/acl/binding-rule/", "acl:read, acl:write"),
    Row::new(GET, "/v1/acl/policy/name/", "acl:read"),
    Row::new(GET, "/v1/acl/role/name/", "acl:read"),
    Row::new(GET, "/v1/acl/token/self", "none"),
    Row::new(POST, "/v1/acl/rules/translate", "acl:read"),
    Row::new(GET, "/v1/acl/rules/translate/", "acl:read"),
    Row::new(PUT, "/v1/acl/create", "acl:write"),
    Row::new(PUT, "/v1/acl/update", "acl:write"),
    Row::new(PUT, "/v1/acl/destroy/", "acl:write"),
    Row::new(PUT, "/v1/acl/clone/", "acl:write"),
    Row::new(GET, "/v1/acl/info/", "none"),
    Row::new(GET, "/v1/acl/list", "acl:read"),
    Row::new(GET, "/v1/internal/ui/services", "node:read, service:read"),
    Row::new(GET, "/v1/internal/ui/nodes", "node:read, service:read"),
    Row::new(GET, "/v1/internal/ui/node/", "node:read, service:read"),
    Row::new(
        GET,
        "/v1/internal/ui/gateway-services-nodes/",
        "node:read, service:read",
    ),
    Row::new(POST, "/v1/internal/acl/authorize", "none"),
    Row::new(GET, "/v1/internal/federation-states", "operator:read"),
    Row::new(
        GET,
        "/v1/internal/federation-states/mesh-gateways",
        "operator:read",
    ),
    Row::new(GET, "/v1/internal/federation-state/", "operator:read"),
];
