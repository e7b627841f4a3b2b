//! Between two pieces of work the core goes to whoever waits for it.
//!
//! A worker that wakes on the core of a table in the making would wait for the end of a time slice, which is ten times
//! what a request takes. Who yields stays as important as before: it only lets those go first that wait already.

use std::thread::yield_now;
use std::time::{Duration, Instant};

/// How long a piece of work may be.
const PIECE: Duration = Duration::from_micros(50);

/// See the module.
pub(super) struct Breath(Instant);

impl Breath {
    pub(super) fn new() -> Self {
        let mut breath = Self(Instant::now());
        breath.draw();
        breath
    }

    /// Lets others go first.
    pub(super) fn draw(&mut self) {
        yield_now();
        self.0 = Instant::now();
    }

    /// Lets others go first if this piece was long enough.
    pub(super) fn draw_if_due(&mut self) {
        if self.0.elapsed() >= PIECE {
            self.draw();
        }
    }
}
