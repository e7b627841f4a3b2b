//! What does Lictor cost beside HAProxy and nginx, on this machine, in the same minutes? (`make bench`)
//!
//! `cargo bench --bench peers -- [--list] [--rounds=5] [--seconds=5] [case…]` prints a table for each case, ready for
//! docs/performance.md. Load and backend share one core, the proxy under test has another one. Time on a core is the
//! figure to look at; the rest moves with whatever else the machine does.

mod account;
mod backend;
mod case;
mod certificate;
mod client;
mod http;
mod load;
mod machine;
mod proxy;
mod reading;
mod report;
mod round;
mod verdict;

use std::process::ExitCode;

use case::{CASES, Case};
use machine::Outcome;
use round::{Plan, Stage};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for case in CASES {
            println!("{:12} {}", case.name, case.title);
        }
        return ExitCode::SUCCESS;
    }
    match plan(&arguments).and_then(|(plan, cases)| compare(plan, &cases)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("\n{failed} cases failed.");
            ExitCode::FAILURE
        }
        Err(fault) => {
            println!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for: all cases, where it names none.
fn plan(arguments: &[String]) -> Outcome<(Plan, Vec<&'static Case>)> {
    let mut plan = Plan {
        rounds: 5,
        seconds: 5,
    };
    let mut cases = Vec::new();
    for argument in arguments {
        match argument.split_once('=') {
            Some(("--rounds", number)) => plan.rounds = at_least_one(argument, number)?,
            Some(("--seconds", number)) => plan.seconds = at_least_one(argument, number)?,
            // cargo says so to every benchmark.
            None if argument == "--bench" => {}
            _ => {
                let named = CASES.iter().find(|case| case.name == argument);
                cases.push(
                    named.ok_or_else(|| format!("{argument} is no case; --list tells which there are"))?,
                );
            }
        }
    }
    if cases.is_empty() {
        cases.extend(CASES);
    }
    Ok((plan, cases))
}

fn at_least_one(argument: &str, number: &str) -> Outcome<u32> {
    let number = number.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| format!("{argument}: a number above 0 is wanted"))
}

/// Prints the cases one after the other and says how many failed; one that fails does not keep the others from running.
fn compare(plan: Plan, cases: &[&Case]) -> Outcome<usize> {
    let stage = Stage::set()?;
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    println!(
        "{}; {} rounds of {} s each;",
        report::machine(stage.machine.cores),
        plan.rounds,
        plan.seconds
    );
    println!(
        "`cargo bench --bench peers -- --rounds={} --seconds={} {}`",
        plan.rounds,
        plan.seconds,
        names.join(" ")
    );
    let mut failed = 0;
    for case in cases {
        match stage.run(case, plan) {
            Ok(rows) => println!("\n{}", report::table(case, &rows)),
            Err(fault) => {
                failed += 1;
                println!("\n### {}\n\nfailed: {fault}", case.title);
            }
        }
    }
    Ok(failed)
}
