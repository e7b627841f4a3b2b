//! What instructions are counted of: questions to the table, and whole requests.

pub mod pure;
pub mod request;
pub mod valgrind;

/// Where valgrind writes what it counted, among the files of the machine.
pub const LOG: &str = "valgrind.log";
