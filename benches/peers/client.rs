//! Clients of our own, for what no tool does. They run in this process, which is on the core of the load.

pub mod echo;
pub mod handshakes;
pub mod idle;
pub mod paced;
pub mod registry;
