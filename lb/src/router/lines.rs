//! The log of what a new table changes, in fabio's language.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::table::{Difference, Route, Weights};

/// Lines that were there and are not, and the other way round.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub gone: BTreeSet<String>,
    pub came: BTreeSet<String>,
}

impl Lines {
    /// With those of routes as they were and as they are. A line for each of a hundred thousand routes is much
    /// memory for a moment, so there is none where nobody reads it.
    pub(super) fn with(mut self, differences: &[Difference]) -> Self {
        if !tracing::enabled!(tracing::Level::INFO) {
            return self;
        }
        let lines = |route: &Option<Arc<Route>>| {
            route
                .iter()
                .flat_map(|route| route.lines(Weights::Asked))
                .collect()
        };
        for Difference { before, now } in differences {
            let (before, now): (Vec<String>, Vec<String>) = (lines(before), lines(now));
            self.gone.extend(before);
            self.came.extend(now);
        }
        self
    }

    pub(super) fn say(&self) {
        for line in self.gone.difference(&self.came) {
            tracing::info!(route = %line, "- route");
        }
        for line in self.came.difference(&self.gone) {
            tracing::info!(route = %line, "+ route");
        }
    }
}
