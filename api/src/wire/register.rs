//! What an agent is asked to vouch for: bodies of `agent/service/register` and
//! `agent/check/register`, read with Consul's rules and written for an outside Consul. Pure.

mod check;
mod service;

pub use self::check::{CheckBody, CheckRequest, check};
pub use self::service::{ServiceBody, service};
pub(super) use self::service::{check_meta, ports_of, tagged, weights};
