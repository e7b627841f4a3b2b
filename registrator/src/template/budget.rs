//! What templates may still take. Every step, and whatever is not done in a step's time, is paid for before it is done.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use super::{Error, MOST_STEPS};

/// What a function is given or makes of this much counts as one step.
pub(super) const BYTES_A_STEP: usize = 64;
/// The same of a text that is searched: an expression may have to be followed in thousands of places at once.
pub(super) const SEARCHED_A_STEP: usize = 4;

/// Longer than any expression that people write.
const LONGEST_EXPRESSION: usize = 256;
/// What an expression may grow to. `a{0,9000}b` would be 1 MiB, and 20 s over 64 KiB of text.
const LARGEST_EXPRESSION: usize = 256 << 10;
/// Steps that the shortest expression takes to compile; about 0.5 ms, and each byte more a hundredth of that.
const TO_COMPILE: usize = 1000;
const TO_COMPILE_A_BYTE: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Budget {
    spent: usize,
    /// Compiled once, however often they are asked for: as many as can be paid for.
    expressions: BTreeMap<String, Regex>,
}

impl Budget {
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Error> {
        self.spent = self.spent.saturating_add(steps);
        match self.spent {
            ..=MOST_STEPS => Ok(()),
            _ => Err(Error::new(format!(
                "takes more than the {MOST_STEPS} steps that templates of a container have together"
            ))),
        }
    }

    pub(super) fn expression(&mut self, text: &str) -> Result<Regex, Error> {
        if let Some(known) = self.expressions.get(text) {
            return Ok(known.clone());
        }
        if text.len() > LONGEST_EXPRESSION {
            let why = format!("a regular expression longer than {LONGEST_EXPRESSION} bytes");
            return Err(Error::new(why));
        }
        self.spend(TO_COMPILE + TO_COMPILE_A_BYTE * text.len())?;
        let made = RegexBuilder::new(text).size_limit(LARGEST_EXPRESSION).build();
        let made = made.map_err(|error| Error::new(error.to_string().lines().last().unwrap_or_default()))?;
        self.expressions.insert(text.to_owned(), made.clone());
        Ok(made)
    }
}
