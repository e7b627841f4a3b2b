//! What the programs that ask have to say, as numbers.
//!
//! Pure. Whatever does not say that all went well is an error.

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
