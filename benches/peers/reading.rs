//! What the programs that ask have to say, as numbers.
//!
//! Pure. Whatever does not say that all went well is an error.

use crate::verdict::Spread;

/// What was asked and how long it took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// Requests, or what else the case counts.
    pub count: f64,
    pub seconds: f64,
    /// Milliseconds to an answer that half of them kept to.
    pub p50: f64,
    /// The same, ninety-nine in a hundred.
    pub p99: f64,
}

/// Reads the line `RESULT <requests> <failed> <duration> <p50> <p99>`, times in microseconds.
pub fn wrk(said: &str) -> Result<Tally, String> {
    let numbers: Vec<f64> = said
        .lines()
        .find_map(|line| line.strip_prefix("RESULT "))
        .into_iter()
        .flat_map(str::split_whitespace)
        .filter_map(|number| number.parse().ok())
        .collect();
    let [count, failed, duration, p50, p99] = numbers[..] else {
        return Err(format!("no result in what it said: {said}"));
    };
    if failed > 0.0 || count == 0.0 {
        return Err(format!("{failed} of {count} requests failed; it said: {said}"));
    }
    Ok(Tally {
        count,
        seconds: duration / 1e6,
        p50: p50 / 1e3,
        p99: p99 / 1e3,
    })
}

/// Reads the summary of h2load, and its log: begin, status and duration of each request, the latter in microseconds.
pub fn h2load(said: &str, log: &str, seconds: f64) -> Result<Tally, String> {
    let counts = said.lines().find_map(|line| line.strip_prefix("requests: "));
    let count = |what: &str| -> Option<f64> {
        let counted = counts?.split(", ").find_map(|count| count.strip_suffix(what))?;
        counted.trim().parse().ok()
    };
    let [Some(done), Some(failed), Some(errored), Some(timeout)] =
        [" done", " failed", " errored", " timeout"].map(count)
    else {
        return Err(format!("no counts in what it said: {said}"));
    };
    let unfit = failed + errored + timeout;
    if unfit > 0.0 || done == 0.0 {
        return Err(format!("{unfit} of {done} requests failed; it said: {said}"));
    }
    let times = log
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse().ok());
    Ok(Tally::of(done, seconds, times.collect()))
}

/// Reads `<bytes> <seconds>` of curl, and counts MiB.
pub fn curl(said: &str, bytes: u64) -> Result<Tally, String> {
    let numbers: Vec<f64> = said
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    match numbers[..] {
        [loaded, seconds] if loaded == bytes as f64 => Ok(Tally {
            count: loaded / f64::from(1 << 20),
            seconds,
            p50: f64::NAN,
            p99: f64::NAN,
        }),
        _ => Err(format!("{bytes} bytes were wanted, curl says: {said}")),
    }
}

impl Tally {
    /// Of times in microseconds that somebody took of each.
    pub fn of(count: f64, seconds: f64, mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        // The least time that so many in a hundred kept to.
        let kept = |hundredths: usize| {
            let place = (times.len() * hundredths).div_ceil(100).saturating_sub(1);
            times.get(place).map_or(f64::NAN, |&time| time as f64 / 1e3)
        };
        Self {
            count,
            seconds,
            p50: kept(50),
            p99: kept(99),
        }
    }

    /// Of times by the tenth of a second: p99 is the median of what it was in each, or each of those that were our `own`.
    pub fn of_tenths(seconds: f64, tenths: Vec<Vec<u64>>, own: impl Fn(usize) -> bool) -> Self {
        let of_one = |tenth: &Vec<u64>| (!tenth.is_empty()).then(|| Self::of(0.0, 0.1, tenth.clone()).p99);
        let owned = (0..).zip(&tenths).filter(|(at, _)| own(*at));
        let owned = Spread::of(owned.filter_map(|(_, tenth)| of_one(tenth)).collect());
        let p99 = owned.or_else(|| Spread::of(tenths.iter().filter_map(of_one).collect()));
        let times: Vec<u64> = tenths.into_iter().flatten().collect();
        Self {
            p99: p99.map_or(f64::NAN, |spread| spread.median),
            ..Self::of(times.len() as f64, seconds, times)
        }
    }
}
