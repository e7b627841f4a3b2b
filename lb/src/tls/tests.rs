//! Real handshakes with real clients, against the real acceptor.

pub(crate) mod authority;
mod handshakes;
mod harness;
