//! Asks the same question for ever, each time waiting for the answer to change.
//!
//! [`Stepper`] is the rule, pure: which index to ask with, whether an answer is news, how long to
//! pause. [`follow`] is its loop. Must never spin: a server that does not hold its answers, or
//! whose index runs wild, is asked at a walking pace.

use std::time::Duration;

use catalog::{Answer, Index};
use tokio::time::Instant;

use crate::client::{ClientError, Query};

/// Pause before asking again a server that answered at once though nothing had changed.
const WALK: Duration = Duration::from_secs(1);
/// An answer that took this long was held.
const HELD: Duration = Duration::from_millis(50);
/// Pause after a first failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Pauses do not grow beyond this, so that a server that returns is found soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What to do about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whether it may say anything new.
    pub changed: bool,
    /// To keep before the next question.
    pub pause: Duration,
}

/// Where a chain of blocking questions stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stepper {
    index: Index,
    failures: u32,
}

impl Stepper {
    /// Index to ask with; 0 asks for an answer at once. That is what a failure is followed by: the server may have begun
    /// anew, and would hold a question after an index that it reaches who knows when.
    #[must_use]
    pub fn index(&self) -> Index {
        if self.failures > 0 { 0 } else { self.index }
    }

    /// Questions without an answer since the last one that had one.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// An answer came with `index` after `took`.
    pub fn answered(&mut self, index: Index, took: Duration) -> Step {
        let after_failure = std::mem::take(&mut self.failures) > 0;
        // 0 would mean "answer at once" and make us spin; no change ever has that index.
        let index = index.max(1);
        let before = std::mem::replace(&mut self.index, index);
        if index < before {
            // Restored from a snapshot, or another server: what we know of the order is void.
            self.index = 0;
            return Step {
                changed: true,
                pause: HELD,
            };
        }
        // A server that began anew meanwhile may be at this very index with other things to say.
        let changed = index > before || after_failure;
        let pause = if changed || took >= HELD {
            Duration::ZERO
        } else {
            WALK
        };
        Step { changed, pause }
    }

    /// There was no answer. `dice` in 0..1 spreads the pauses of many clients: between half of the
    /// pause and all of it. The index is remembered: one that is lower afterwards tells of a server that began anew.
    pub fn failed(&mut self, dice: f64) -> Duration {
        let doublings = self.failures.min(16);
        self.failures += 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        pause.mul_f64(0.5 + 0.5 * dice.clamp(0.0, 1.0))
    }
}

/// What became of a question.
#[derive(Debug)]
pub enum Heard<T> {
    /// An answer that says something new.
    News(Answer<T>),
    /// An answer that does not.
    Same,
    /// No answer.
    Failed(ClientError),
}

/// Asks with `query` until dropped and hands on what becomes of each question. A failure is followed by a pause, longer
/// each time; so is news that `take` cannot make sense of, which it says by `false`: it is asked for again.
///
/// With `every`, answers are not held but asked for that often, and all of them are news.
pub async fn follow<T, A, F>(
    query: Query,
    every: Option<Duration>,
    ask: A,
    mut take: impl FnMut(Heard<T>) -> bool,
) where
    A: Fn(Query) -> F,
    F: Future<Output = Result<Answer<T>, ClientError>>,
{
    let mut stepper = Stepper::default();
    loop {
        let asked = Instant::now();
        let index = if every.is_some() { 0 } else { stepper.index() };
        let question = Query {
            index,
            ..query.clone()
        };
        let pause = match ask(question).await {
            Ok(answer) => {
                let before = stepper.clone();
                let step = stepper.answered(answer.index, asked.elapsed());
                let news = step.changed || every.is_some();
                if take(if news { Heard::News(answer) } else { Heard::Same }) {
                    every.unwrap_or(step.pause)
                } else {
                    stepper = before;
                    stepper.failed(rand::random())
                }
            }
            Err(error) => {
                take(Heard::Failed(error));
                stepper.failed(rand::random())
            }
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_greater_index_is_news_and_the_same_one_is_not() {
        let mut stepper = Stepper::default();
        assert_eq!(stepper.index(), 0);
        assert_eq!(
            stepper.answered(7, Duration::ZERO),
            Step {
                changed: true,
                pause: Duration::ZERO
            }
        );
        assert_eq!(stepper.index(), 7);
        assert_eq!(
            stepper.answered(7, LONG),
            Step {
                changed: false,
                pause: Duration::ZERO
            }
        );
        assert!(stepper.answered(8, LONG).changed);
    }

    #[test]
    fn an_index_that_goes_backwards_is_news_and_starts_over() {
        let mut stepper = Stepper::default();
        stepper.answered(90, LONG);
        assert!(stepper.answered(3, LONG).changed);
        assert_eq!(stepper.index(), 0);
        assert!(stepper.answered(3, Duration::ZERO).changed);
        assert_eq!(stepper.index(), 3);
    }

    #[test]
    fn a_server_that_does_not_hold_its_answers_is_asked_at_a_walking_pace() {
        let mut stepper = Stepper::default();
        stepper.answered(0, Duration::ZERO);
        assert_eq!(stepper.index(), 1);
        assert_eq!(
            stepper.answered(0, Duration::ZERO),
            Step {
                changed: false,
                pause: WALK
            }
        );
    }

    #[test]
    fn pauses_after_failures_double_up_to_a_bound_and_an_answer_ends_them() {
        let mut stepper = Stepper::default();
        stepper.answered(5, LONG);
        let pauses: Vec<_> = (0..9).map(|_| stepper.failed(1.0).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10000, 10000, 10000]);
        // What the same index stands for may be something else now.
        assert_eq!(stepper.index(), 0);
        let step = stepper.answered(5, Duration::ZERO);
        assert_eq!(
            (step.changed, step.pause, stepper.index()),
            (true, Duration::ZERO, 5)
        );
        assert_eq!(stepper.failed(0.0), Duration::from_millis(125));
    }
}
