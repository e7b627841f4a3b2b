//! The data path as clients and servers see it: real workers, real sockets on loopback, bytes written and
//! read by hand.

mod harness;
mod secure;

mod clients;
mod drain;
mod failing;
mod h2;
mod hostile;
mod listening;
mod policy;
mod proof;
mod proxying;
mod real;
mod reloading;
mod retrying;
mod smuggling;
mod tcp;
mod upgrading;
mod upstreams;
