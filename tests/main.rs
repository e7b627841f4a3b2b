//! The product from outside: the real binary, the real Docker Engine, real redis and nginx.
//!
//! One binary, because each further one is a link of the whole agent. Every test starts what it needs through
//! `harness`, under names of its own, and everything it started ends with it; all of them may run at once.

mod harness;

/// Checks of every kind: programs inside containers, gRPC, heartbeats.
mod checks;
/// Client libraries in Python; `lictor lb` and `lictor registrator` against a foreign catalog.
mod compat;
/// Where containers are reached, by network and binding; a host whose address changes.
mod containers;
/// Names asked with `dig`; a critical check takes an instance out of DNS and out of the table.
mod dns;
/// `docker stop` and `docker kill` under traffic.
mod drain;
/// Podman in Docker's place; programs inside containers; engines that cannot be named.
mod engines;
/// What a registrator tells: explain, dry runs, health, metrics, a log for programs.
mod explain;
/// What becomes of containers, engines and registrators on a bad day.
mod fates;
/// A foreign catalog as the source of routes, its loss and return; files; the balancer as a service.
mod feed;
/// Entries outlive their registrator, or do not, as they are told to.
mod lifecycle;
/// Containers come, go and show in the catalog; an engine that is missing or comes late.
mod registration;
/// Registries of other kinds than Consul: each key and value, as registrator writes it.
mod registries;
/// Three hundred containers, a cut event stream and an engine that restarts.
mod restart;
/// Bad input of every kind gets its clear error and harms nobody else.
mod robustness;
/// Every instance replaced, ten times, under mixed load.
mod rolling;
/// Host names and tags lead to containers.
mod routing;
/// Rows of the scenarios that take a real engine or several parts to be shown.
mod scenarios;
/// A thousand starts and stops with everything killed meanwhile.
mod soak;
/// Tasks of a swarm: what its routing mesh publishes, and what their host does.
mod swarm;
/// Signals, a log that is rotated, files that run out.
mod system;
