//! What rounds say together: medians, and ratios of two contenders within the same round.
//!
//! Pure. A ratio that rounds do not agree upon is not printed, as it would be a number without a meaning.

use std::fmt;

/// The widest that the ends of a ratio may lie apart, as a share of it.
const WIDEST: f64 = 0.5;
/// How often the median may lie outside of the ends that are shown.
const DOUBT: f64 = 0.05;

/// Median and ends of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// Nothing where there is no number, or one that is none.
    pub fn of(mut numbers: Vec<f64>) -> Option<Self> {
        if numbers.iter().any(|number| !number.is_finite()) {
            return None;
        }
        numbers.sort_by(f64::total_cmp);
        let (least, most) = (*numbers.first()?, *numbers.last()?);
        let middle = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            1 => numbers[middle],
            _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
        };
        Some(Self { median, least, most })
    }
}

/// `54 500 (50 200..59 200)`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, least, most] = [self.median, self.least, self.most].map(number);
        if least == most {
            return f.write_str(&median);
        }
        write!(f, "{median} ({least}..{most})")
    }
}

/// What one contender costs in units of another, round by round: the median, and the ends between which it lies with 95 %
/// certainty. Those are the outermost rounds where there are less than nine.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> String {
    let by_round = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
    let mut by_round: Vec<f64> = by_round.collect();
    by_round.sort_by(f64::total_cmp);
    let Some(Spread { median, .. }) = Spread::of(by_round.clone()) else {
        return "no ratio: nothing was measured".to_owned();
    };
    let outer = beyond_doubt(by_round.len());
    let (least, most) = (by_round[outer], by_round[by_round.len() - 1 - outer]);
    if most - least > WIDEST * median {
        return format!("no ratio: it went from {least:.2} to {most:.2}");
    }
    format!("**{median:.2}** ({least:.2}..{most:.2})")
}

/// How many of so many ordered numbers may be left out at each end, so that the median of all that could have been drawn
/// still lies between the rest: as in the sign test, it is as likely above as below each of them.
fn beyond_doubt(count: usize) -> usize {
    let mut exactly = 0.5f64.powf(count as f64);
    let mut at_most = 0.0;
    for left_out in 0..count / 2 {
        at_most += exactly;
        if 2.0 * at_most > DOUBT {
            return left_out.saturating_sub(1);
        }
        exactly *= (count - left_out) as f64 / (left_out + 1) as f64;
    }
    0
}

/// Three digits that count, thousands apart.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    if value.abs() < 1000.0 {
        return format!("{value:.decimals$}");
    }
    let magnitude = 10f64.powf(value.abs().log10().floor() - 2.0);
    apart(&format!("{:.0}", (value / magnitude).round() * magnitude))
}

/// Digits in groups of three.
pub fn apart(digits: &str) -> String {
    let mut apart = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            apart.push(' ');
        }
        apart.push(digit);
    }
    apart
}
