//! What every request asks of the table: its route, and a target of that.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;

use catalog::Picture;
use lb::Config;
use lb::config::Strategy;
use lb::table::{Asker, Builder, Table};

use super::{LOG, valgrind};
use crate::machine::{Machine, Outcome};

/// The word that makes this program perform one operation: `--only <name> <times>`.
pub const ONLY: &str = "--only";
/// Tables are made of maps with random seeds, so that making one takes a little more or less each time: it takes many
/// lookups for that not to matter.
pub const FEW: u32 = 1_000;
pub const MANY: u32 = 501_000;

pub struct Operation {
    pub name: &'static str,
    /// Prepares and performs so many; what is prepared does not depend on how many those are.
    perform: fn(u32),
}

pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "a route by host, of 10",
        perform: |times| by_host(10, times),
    },
    Operation {
        name: "a route by host, of 10 000",
        perform: |times| by_host(10_000, times),
    },
    Operation {
        name: "a route by path, of 10",
        perform: |times| by_path(10, times),
    },
    Operation {
        name: "a route by path, of 10 000",
        perform: |times| by_path(10_000, times),
    },
    Operation {
        name: "a target of 10, at random",
        perform: |times| pick(&Strategy::Rnd, times),
    },
    Operation {
        name: "a target of 10, in turn",
        perform: |times| pick(&Strategy::Rr, times),
    },
    Operation {
        name: "a target of 10, the less loaded of two",
        perform: |times| pick(&Strategy::P2c, times),
    },
    Operation {
        name: "a target of 10, by address",
        perform: |times| pick(&Strategy::Ip, times),
    },
];

impl Operation {
    /// Instructions of a process that performs it so many times.
    pub fn refs(&self, machine: &Machine, times: u32) -> Outcome<u64> {
        let this = std::env::current_exe().map_err(|e| format!("this program is nowhere: {e}"))?;
        let mut command = machine.on_proxy_core(&this.display().to_string());
        command.args([ONLY, self.name, &times.to_string()]);
        let ended = command.stdout(Stdio::inherit()).status();
        let ended = ended.map_err(|e| format!("valgrind cannot be started: {e}"))?;
        if !ended.success() {
            return Err(format!("{}: {ended}", self.name));
        }
        valgrind::read(&machine.path(LOG))
    }
}

/// In the process that is counted.
pub fn perform(name: &str, times: &str) -> Outcome<()> {
    let operation = OPERATIONS.iter().find(|operation| operation.name == name);
    let operation = operation.ok_or_else(|| format!("{name} is no operation"))?;
    let times: u32 = times.parse().map_err(|e| format!("{times}: {e}"))?;
    (operation.perform)(times);
    Ok(())
}

fn by_host(count: u32, times: u32) {
    let hosts: Vec<String> = (0..count).map(|n| format!("h{n}.example.com")).collect();
    let table = table(
        hosts
            .iter()
            .map(|host| format!("route add s {host}/ http://10.0.0.1:80/")),
    );
    for host in scattered(&hosts, times) {
        let route = table.http(black_box(host), "/", false);
        black_box(route.expect("every host has its route"));
    }
}

fn by_path(count: u32, times: u32) {
    let paths: Vec<String> = (0..count).map(|n| format!("/p{n}/")).collect();
    let table = table(
        paths
            .iter()
            .map(|path| format!("route add s {path} http://10.0.0.1:80/")),
    );
    for path in scattered(&paths, times) {
        let route = table.http("www.example.com", black_box(path), false);
        black_box(route.expect("every path has its route"));
    }
}

fn pick(strategy: &Strategy, times: u32) {
    let table = table((0..10).map(|n| format!("route add web / http://10.0.0.{n}:80/")));
    let route = table
        .http("www.example.com", "/", false)
        .expect("there is one route");
    for n in 0..times {
        // The dice of the worker are not what is counted.
        let random = || u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let asker = Asker {
            worker: 0,
            client: IpAddr::V4(Ipv4Addr::from_bits(n)),
            headers: None,
            random: &random,
        };
        let choice = route.choice(strategy, black_box(&asker));
        black_box(route.pick(choice, &[]).expect("there are ten targets"));
    }
}

fn table(commands: impl Iterator<Item = String>) -> Table {
    let commands: Vec<String> = commands.collect();
    Builder::table_of(Config::default(), &Picture::default(), &commands.join("\n"))
}

/// All of them, over and over, in steps that no small number divides.
fn scattered(all: &[String], times: u32) -> impl Iterator<Item = &String> {
    (0..times as usize).map(|n| &all[n.wrapping_mul(7919) % all.len()])
}
