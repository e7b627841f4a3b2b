//! What processes cost, from the kernel's own books: nanoseconds on a core by thread, and memory.
//!
//! A process is counted with all that it started. Throughput on a machine that others use says little, time on a core
//! says a lot, so the nanoseconds of `schedstat` are read, not the ticks of `stat`.

use std::collections::BTreeMap;
use std::fs;

/// Nanoseconds by thread. A thread that ended takes its time with it, so readings are compared thread by thread: what is
/// lost is then what it did in between, and nothing is ever negative.
pub struct Reading(pub BTreeMap<u32, Time>);

/// What a thread had of its core, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Time {
    pub on_core: u64,
    /// It could have run, and another did.
    pub waited: u64,
}

impl Reading {
    /// Of a process and all below it, now.
    pub fn of(pid: u32) -> Self {
        let threads = family(pid).into_iter().flat_map(|pid| {
            let tasks = entries(&format!("/proc/{pid}/task"));
            tasks.into_iter().filter_map(move |task| {
                let books = fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat")).ok()?;
                Some((task, time(&books)?))
            })
        });
        Self(threads.collect())
    }

    /// Seconds on a core since an earlier reading.
    pub fn seconds_since(&self, before: &Self) -> f64 {
        self.since(before, |time| time.on_core)
    }

    /// Seconds of waiting for it. Where the process is alone on its core and has one thread that works, they are none.
    pub fn waited_since(&self, before: &Self) -> f64 {
        self.since(before, |time| time.waited)
    }

    fn since(&self, before: &Self, what: fn(&Time) -> u64) -> f64 {
        let spent = self.0.iter().map(|(thread, now)| {
            let then = before.0.get(thread).copied().unwrap_or_default();
            what(now).saturating_sub(what(&then))
        });
        spent.sum::<u64>() as f64 / 1e9
    }
}

/// Resident memory of a process and all below it, in MiB. Pages that they share count for each of them.
pub fn resident_mib(pid: u32) -> f64 {
    let of_each = family(pid).into_iter().filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        resident_kib(&status)
    });
    of_each.sum::<u64>() as f64 / 1024.0
}

/// A process and its descendants. `/proc/PID/task/TID/children` would say the same, where the kernel was built with it.
fn family(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = entries("/proc")
        .into_iter()
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect();
    let mut family = vec![pid];
    let mut looked_at = 0;
    while let Some(&elder) = family.get(looked_at) {
        looked_at += 1;
        let children = parents.iter().filter(|&&(_, parent)| parent == elder);
        family.extend(children.map(|&(child, _)| child));
    }
    family
}

/// Names that are numbers: processes, or threads.
fn entries(folder: &str) -> Vec<u32> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The parent in a line of `/proc/PID/stat`. The name before it is in brackets and may hold brackets and blanks.
pub fn parent(stat: &str) -> Option<u32> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(1)?.parse().ok()
}

/// The first two of the three numbers of `schedstat`.
pub fn time(schedstat: &str) -> Option<Time> {
    let mut numbers = schedstat.split_whitespace().map(|number| number.parse().ok());
    Some(Time {
        on_core: numbers.next()??,
        waited: numbers.next()??,
    })
}

/// What `/proc/PID/status` says of memory.
pub fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
