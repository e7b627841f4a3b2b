//! The `lictor` program.

mod check;
mod cli;
mod config;
mod dns;
mod identity;
mod leader;
mod local;
mod store;
mod sync;

fn main() {}
