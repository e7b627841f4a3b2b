//! Templates of Go's `text/template`, over the inspect answer: `-tags '{{.Config.Hostname}}'` and what containers say.
//!
//! Pure and bounded: a template may be as odd as a stranger's label can be, and costs at most [`MOST_OUTPUT`] bytes
//! and [`MOST_STEPS`] steps. What Go would refuse is an [`Error`] here; what Go would do is done, as far as an inspect
//! answer can show it. Nothing is fetched, nothing called.
//!
//! | file | |
//! | --- | --- |
//! | `lex.rs` | text to tokens |
//! | `parse.rs` | tokens to a tree |
//! | `eval.rs` | the tree over a value |
//! | `functions.rs` | Go's functions and those of the original |
//! | `format.rs` | `printf` |
//! | `value.rs` | what is computed with, and how it is shown |
//! | `inspect.rs` | Go's names for the parts of an inspect answer |

mod eval;
mod format;
mod functions;
mod inspect;
mod lex;
mod parse;
mod value;

use std::fmt;
use std::str::FromStr;

use parse::Program;

/// Bytes that a template, or one function in it, may make.
const MOST_OUTPUT: usize = 64 << 10;
/// Nodes and commands that one run may visit.
const MOST_STEPS: usize = 100_000;
/// Templates that may use each other, one within the other.
const MOST_CALLS: usize = 32;

/// A text, parsed once: one without `{{` stands for itself.
#[derive(Clone, Default, PartialEq)]
pub struct Template {
    text: String,
    program: Option<Program>,
}

/// Why a template cannot be read or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: {0}")]
pub struct Error(String);

impl Error {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl Template {
    /// Whether it stands for itself, whatever container it is asked of.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.program.is_none()
    }

    /// What it comes to for a container; `answer` is the engine's, `None` where it is not at hand.
    ///
    /// # Errors
    /// What Go would not execute, and what would be too much.
    pub(crate) fn run(&self, answer: Option<&serde_json::Value>) -> Result<String, Error> {
        let Some(program) = &self.program else {
            return Ok(self.text.clone());
        };
        let answer = answer.ok_or_else(|| Error::new("the engine's answer is not at hand"))?;
        eval::run(program, &value::read(answer, &inspect::CONTAINER_SHAPE))
    }
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > MOST_OUTPUT {
            return Err(Error::new(format!("longer than {MOST_OUTPUT} bytes")));
        }
        let program = text.contains("{{").then(|| parse::parse(text)).transpose()?;
        let text = text.to_owned();
        Ok(Self { text, program })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

fn within_limit(text: &str) -> Result<(), Error> {
    match text.len() {
        ..=MOST_OUTPUT => Ok(()),
        _ => Err(Error::new(format!("makes more than {MOST_OUTPUT} bytes"))),
    }
}

#[cfg(test)]
pub(crate) mod tests;
