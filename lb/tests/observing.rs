//! What is told of the traffic, from outside: a whole balancer, real requests, and real sockets and files where
//! logs, metrics and traces arrive.

// A test panics where it fails; helpers of tests as well.
#![allow(clippy::unwrap_used)]

#[path = "observing/administering.rs"]
mod administering;
#[path = "observing/balancer.rs"]
mod balancer;
#[path = "observing/encrypted.rs"]
mod encrypted;
#[path = "observing/logging.rs"]
mod logging;
#[path = "observing/metrics.rs"]
mod metrics;
#[path = "routing/picture.rs"]
mod picture;
#[path = "observing/tracing.rs"]
mod tracing;
