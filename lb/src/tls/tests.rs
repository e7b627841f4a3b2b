//! Real handshakes with real clients, against the real acceptor; places that tests play.

mod acme;
mod acme_authority;
pub(crate) mod authority;
mod handshakes;
pub(crate) mod harness;
mod places;
mod targets;
mod vault;
pub(crate) mod web;
