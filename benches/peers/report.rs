//! The tables, as they go into docs/performance.md.

use std::fs;

use crate::case::Case;
use crate::verdict::{Spread, ratio};

/// What one measurement of one contender gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Of whatever the case counts, in a second.
    pub rate: f64,
    /// Milliseconds.
    pub p50: f64,
    pub p99: f64,
    /// Seconds on a core for as many of them as the unit says.
    pub cost: f64,
    /// MiB.
    pub resident: f64,
    /// Share of the time in which it could have run, and something else did.
    pub waited: f64,
    /// Share of the changes of its table that took effect; 1 where there are none.
    pub took_effect: f64,
}

/// A contender and its samples, one a round.
pub struct Row {
    pub name: String,
    pub samples: Vec<Sample>,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Rate,
    P50,
    P99,
    Cost,
    Resident,
}

/// What a case counts.
pub struct Unit {
    /// How its rate is headed.
    pub rate: &'static str,
    /// How its cost is headed.
    pub cost: &'static str,
    /// How many of them that is the cost of.
    pub cost_of: f64,
}

/// Percent of the time that a proxy may wait for its core before it is said.
const QUIET: f64 = 5.0;

const COLUMNS: [Figure; 5] = [
    Figure::Rate,
    Figure::P50,
    Figure::P99,
    Figure::Cost,
    Figure::Resident,
];

impl Figure {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Rate => sample.rate,
            Self::P50 => sample.p50,
            Self::P99 => sample.p99,
            Self::Cost => sample.cost,
            Self::Resident => sample.resident,
        }
    }

    fn heading(self, unit: &Unit) -> &'static str {
        match self {
            Self::Rate => unit.rate,
            Self::P50 => "p50 ms",
            Self::P99 => "p99 ms",
            Self::Cost => unit.cost,
            Self::Resident => "RSS MiB",
        }
    }
}

/// One case: what each contender reached, and how the first compares with the others.
pub fn table(case: &Case, rows: &[Row]) -> String {
    let mut lines = vec![format!("### {}\n", case.title)];
    let headings = COLUMNS.map(|column| column.heading(&case.unit));
    lines.push(format!("| | {} |", headings.join(" | ")));
    lines.push(format!("|{}", " --- |".repeat(COLUMNS.len() + 1)));
    for row in rows {
        let cells = COLUMNS.map(|column| {
            let spread = Spread::of(figures(row, column));
            spread.map_or_else(|| "-".to_owned(), |spread| spread.to_string())
        });
        lines.push(format!("| {} | {} |", row.name, cells.join(" | ")));
    }
    let Some((first, others)) = rows.split_first() else {
        return lines.join("\n");
    };
    lines.push(format!(
        "\n| ratio | {} |",
        case.judged
            .iter()
            .map(|f| f.heading(&case.unit))
            .collect::<Vec<_>>()
            .join(" | ")
    ));
    lines.push(format!("|{}", " --- |".repeat(case.judged.len() + 1)));
    for other in others {
        let ratios: Vec<String> = case
            .judged
            .iter()
            .map(|&figure| ratio(&figures(first, figure), &figures(other, figure)))
            .collect();
        lines.push(format!(
            "| {} to {} | {} |",
            first.name,
            other.name,
            ratios.join(" | ")
        ));
    }
    lines.extend(interference(rows));
    lines.join("\n")
}

/// Said where a core was not that of the proxy alone: such figures are not for the record.
fn interference(rows: &[Row]) -> Option<String> {
    let waited = |row: &Row| Spread::of(row.samples.iter().map(|sample| sample.waited * 100.0).collect());
    let most = rows.iter().filter_map(|row| Some((waited(row)?.median, row)));
    let (share, row) = most.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (share > QUIET).then(|| {
        format!(
            "\nNot quiet: {} waited for its core {share:.0} % of the time, while others or its own threads had it.",
            row.name
        )
    })
}

fn figures(row: &Row, figure: Figure) -> Vec<f64> {
    row.samples.iter().map(|sample| figure.of(sample)).collect()
}

/// The machine, in one line: a number without it says little.
pub fn machine(cores: usize) -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores; Linux {}", kernel.trim())
}
