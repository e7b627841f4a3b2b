//! What rounds say together: medians, and ratios of two contenders within the same round.
//!
//! Pure. A ratio that moved too much from round to round is not printed, as it would be a number without a meaning.

use std::fmt;

/// The widest that ratios may lie apart, as a share of their median.
const WIDEST: f64 = 0.5;

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

/// What one contender costs in units of another, round by round.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> String {
    let by_round = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    match Spread::of(by_round) {
        None => "no ratio: nothing was measured".to_owned(),
        Some(spread) if spread.most - spread.least > WIDEST * spread.median => {
            format!("no ratio: it went from {:.2} to {:.2}", spread.least, spread.most)
        }
        Some(spread) => format!(
            "**{:.2}** ({:.2}..{:.2})",
            spread.median, spread.least, spread.most
        ),
    }
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
