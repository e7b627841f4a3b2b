//! Templates of Go's `text/template`, over the inspect answer: `-tags '{{.Config.Hostname}}'` and what containers say.
//!
//! Pure and bounded: a template may be as odd as a stranger's label can be. It makes at most [`MOST_OUTPUT`] bytes, and
//! all of one [`Subject`] take at most [`MOST_STEPS`] steps. What Go would refuse is an [`Error`] here; what Go would do is done, as far as an inspect
//! answer can show it. Nothing is fetched, nothing called.
//!
//! | file | |
//! | --- | --- |
//! | `lex.rs` | text to tokens |
//! | `parse.rs` | tokens to a tree |
//! | `eval.rs` | the tree over a value |
//! | `budget.rs` | what they may take |
//! | `functions.rs` | Go's functions and those of the original |
//! | `format.rs` | `printf` |
//! | `value.rs` | what is computed with, and how it is shown |
//! | `inspect.rs` | Go's names for the parts of an inspect answer |

mod budget;
mod eval;
mod format;
mod functions;
mod inspect;
mod lex;
mod parse;
mod value;

use std::fmt;
use std::str::FromStr;

use budget::{BYTES_A_STEP, Budget};
use parse::Program;
use value::Value;

/// Bytes that a template, or one function in it, may make.
const MOST_OUTPUT: usize = 64 << 10;
/// Nodes and commands that templates of one subject may visit together: a container has as many labels as it likes.
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
}

/// What templates are run over: one container, as the engine describes it.
pub(crate) struct Subject<'a> {
    /// `None` where it is not at hand.
    answer: Option<&'a serde_json::Value>,
    /// Read for the first template and kept for the others: it is as long as a stranger makes it.
    read: Option<Value>,
    budget: Budget,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(answer: Option<&'a serde_json::Value>) -> Self {
        Self {
            answer,
            read: None,
            budget: Budget::default(),
        }
    }

    /// The same with nothing spent, for what is not the container's own: it shall not lack what that wasted.
    pub(crate) fn afresh(self) -> Self {
        Self {
            budget: Budget::default(),
            ..self
        }
    }

    /// What a text comes to.
    ///
    /// # Errors
    /// What Go would not parse or execute, and what would be too much.
    pub(crate) fn make(&mut self, text: &str) -> Result<String, Error> {
        self.budget.spend(text.len() / BYTES_A_STEP)?;
        self.run(&text.parse()?)
    }

    /// What a template comes to.
    ///
    /// # Errors
    /// What Go would not execute, and what would be too much.
    pub(crate) fn run(&mut self, template: &Template) -> Result<String, Error> {
        let Some(program) = &template.program else {
            return Ok(template.text.clone());
        };
        let answer = self
            .answer
            .ok_or_else(|| Error::new("the engine's answer is not at hand"))?;
        let data = self
            .read
            .get_or_insert_with(|| value::read(answer, &inspect::CONTAINER_SHAPE));
        let made = eval::run(program, data, &mut self.budget)?;
        self.budget.spend(made.len() / BYTES_A_STEP)?;
        Ok(made)
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
