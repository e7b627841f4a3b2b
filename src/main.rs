//! The `lictor` program.

mod check;
mod http;
mod identity;
mod leader;
mod local;
mod store;
mod sync;

fn main() {}
