//! Consul's HTTP vocabulary, and a client for it.
//!
//! Five parties speak it: the agent's own HTTP server, the balancer and the registrator when their
//! catalog is somebody else's Consul, our command line, and the tests. What a thing *means* is in
//! `catalog`; here is only how it is spelt, asked for and waited for.
//!
//! | file | |
//! | --- | --- |
//! | `wire.rs` `wire/*` | JSON exactly as Consul spells it; conversions to and from catalog types |
//! | `client.rs` `client/*` | one HTTP client: address, token, datacenter |
//! | `connect.rs` | its connections: TCP, Unix sockets, TLS on top |
//! | `blocking.rs` | index, wait, back-off, reset when the index goes backwards |
//! | `tls.rs` | whom clients trust, and who they say they are |
//! | `watch.rs` | blocking loops → `watch::Sender` of a foreign catalog's picture |

pub mod blocking;
pub mod client;
mod connect;
pub mod tls;
pub mod watch;
pub mod wire;

pub use crate::client::{Client, ClientError, Consistency, Query};
