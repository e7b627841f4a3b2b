//! How many instructions does it take? Figures that repeat on a machine that is busy, so that a regression shows.
//! (`make bench-instructions`)
//!
//! Valgrind counts what a process executes in user space. Everything is done a few times and many times, and the
//! difference divided: what a process does besides, to start and to make its table, falls out. The kernel's share, caches
//! and branches are not in it: fewer instructions are not yet less time.

#[path = "../peers/http.rs"]
#[allow(dead_code, reason = "the comparison with others uses the rest")]
mod http;
#[path = "../peers/machine.rs"]
#[allow(dead_code, reason = "the comparison with others uses the rest")]
mod machine;
mod pure;
mod request;
mod valgrind;

use std::process::ExitCode;

use machine::{Machine, Outcome};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // This program is also the one that is counted.
    let done = match &arguments[..] {
        [only, name, times, ..] if only == pure::ONLY => pure::perform(name, times),
        _ => count(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            println!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn count() -> Outcome<()> {
    let machine = Machine::new()?;
    println!("| | instructions |");
    println!("| --- | --- |");
    for operation in pure::OPERATIONS {
        let each = valgrind::each(pure::FEW, pure::MANY, |times| operation.refs(&machine, times))?;
        println!("| {} | {each:.0} |", operation.name);
    }
    let target = request::serve()?;
    for further in request::FURTHER_HEADERS {
        let each = valgrind::each(request::FEW, request::MANY, |times| {
            request::refs(&machine, target, further, times)
        })?;
        println!("| a request with {further} headers beside Host, and its answer | {each:.0} |");
    }
    Ok(())
}
