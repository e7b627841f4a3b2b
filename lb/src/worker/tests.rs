//! The data path as clients and servers see it: real workers, real sockets on loopback, bytes written and
//! read by hand.

mod harness;

mod drain;
mod h2;
mod hostile;
mod policy;
mod proxying;
mod reloading;
mod retrying;
mod tcp;
mod upgrading;
