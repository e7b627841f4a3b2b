//! Real handshakes with real clients, against the real acceptor; places that tests play.

pub(crate) mod authority;
mod handshakes;
pub(crate) mod harness;
mod places;
mod vault;
pub(crate) mod web;
