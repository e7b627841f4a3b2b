//! How many instructions does it take? Figures that repeat on a machine that is busy, so that a regression shows.
//! (`make bench-instructions`)
//!
//! Valgrind counts what a process executes in user space. Everything is done a few times and many times, and the
//! difference divided: what a process does besides, to start and to make its table, falls out. The kernel's share, caches
//! and branches are not in it: fewer instructions are not yet less time.

#![allow(
    dead_code,
    reason = "the comparison with others, whose modules these are, uses the rest"
)]

mod account;
mod certificate;
mod client;
mod counted;
mod http;
mod load;
mod machine;
mod proxy;
mod reading;
mod verdict;

use std::process::ExitCode;

use certificate::Certificate;
use counted::{LOG, pure, request, valgrind};
use machine::{Machine, Outcome};
use proxy::{Duty, Front, Kind, Routes};

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
    let mut machine = Machine::new()?;
    machine.wrapper = valgrind::counting(&machine.path(LOG));
    println!("| | instructions |");
    println!("| --- | --- |");
    for operation in pure::OPERATIONS {
        let each = valgrind::each(pure::FEW, pure::MANY, |times| operation.refs(&machine, times))?;
        println!("| {} | {each:.0} |", operation.name);
    }
    let duty = Duty {
        front: Front::Http,
        routes: Routes::One,
        target: request::serve()?,
        certificate: &Certificate::make(&machine)?,
    };
    for kind in [Kind::Lictor, Kind::Haproxy, Kind::Nginx] {
        for further in request::FURTHER_HEADERS {
            let refs = |times| request::refs(&machine, kind, &duty, further, times);
            let each = valgrind::each(request::FEW, request::MANY, refs)?;
            let name = kind.name();
            println!("| {name}: a request with {further} headers beside Host, and its answer | {each:.0} |");
        }
    }
    Ok(())
}
