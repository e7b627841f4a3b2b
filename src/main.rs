//! The `lictor` program.

mod check;
mod dns;
mod identity;
mod leader;
mod local;
mod store;
mod sync;

fn main() {}
