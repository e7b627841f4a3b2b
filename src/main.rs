//! The `lictor` program.

mod store;

fn main() {}
