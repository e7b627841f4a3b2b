//! What valgrind's cachegrind counts, without its caches.

use std::fs;
use std::path::Path;

/// The words before a program that is to be counted; the count goes to `log` when it ends.
pub fn counting(log: &Path) -> Vec<String> {
    let log = format!("--log-file={}", log.display());
    let words = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
        &log,
    ];
    words.map(str::to_owned).to_vec()
}

/// Instructions of one, from those of a few and those of many.
pub fn each(few: u32, many: u32, refs: impl Fn(u32) -> Result<u64, String>) -> Result<f64, String> {
    let (less, more) = (refs(few)?, refs(many)?);
    Ok((more as f64 - less as f64) / f64::from(many - few))
}

/// Reads what a program was counted to, which has ended.
pub fn read(log: &Path) -> Result<u64, String> {
    let said = fs::read_to_string(log).map_err(|e| format!("{}: {e}", log.display()))?;
    counted(&said).ok_or_else(|| format!("valgrind counted nothing; it said: {said}"))
}

/// The sum of the lines `==17== I   refs:      35,802,624`: each process that it forked has its own.
pub fn counted(said: &str) -> Option<u64> {
    let counts = said.lines().filter_map(|line| {
        let (_, counted) = line.split_once("refs:")?;
        counted.trim().replace(',', "").parse::<u64>().ok()
    });
    counts.reduce(|sum, count| sum + count)
}
