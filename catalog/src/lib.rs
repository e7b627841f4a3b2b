//! The truth about services, and how it may change.
//!
//! A pure crate: no runtime, socket, clock or dice. Whoever owns a [`State`] feeds it
//! [`Command`]s through [`State::apply`], the only way truth changes, and hands clones of it to
//! readers; a clone costs tens of nanoseconds because every table is a persistent map.
//!
//! By noun, not by layer: a thing's type, its transition rules and the questions about it share a
//! file. Nothing here knows HTTP, Docker or who is asking.
//!
//! | file | |
//! | --- | --- |
//! | `node.rs` | a node, its addresses and meta |
//! | `service.rs` | what is asked for, what is recorded, and an instance: node + service + checks |
//! | `check.rs` | a check, its status, worst-of, maintenance |
//! | `kv.rs` | an entry: flags, prefixes, compare-and-set |
//! | `command.rs` | every way truth may change, with its reply |
//! | `spelling.rs` | services whose names DNS cannot spell |
//! | `state.rs` | the tables; `apply` dispatches, stamps indexes, collects topics |
//! | `duration.rs` | times as Go spells them, in checks and options alike |
//! | `topic.rs` | what a reader can wait for and a write can touch |

pub mod check;
pub mod command;
pub mod duration;
pub mod kv;
pub mod node;
pub mod service;
pub mod spelling;
pub mod state;
pub mod topic;

pub use crate::check::{Check, Status};
pub use crate::command::{Command, Refused, Reply};
pub use crate::node::Node;
pub use crate::service::{Instance, InstanceKey, Picture, Registration, Service, ServiceSpec};
pub use crate::state::{Answer, Applied, State};
pub use crate::topic::{Interest, Topic};

/// Position of a change in the one sequence of changes; what HTTP shows as `X-Consul-Index`.
/// 0 means "nothing yet".
pub type Index = u64;
