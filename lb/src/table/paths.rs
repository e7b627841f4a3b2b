//! Which of a host's routes wants a path. Pure.

use std::sync::Arc;

use super::glob::Glob;
use super::route::Route;
use crate::config::Matcher;

/// The paths of one host.
#[derive(Debug)]
pub(super) enum Paths {
    /// Ascending by path, so that every path that `path` starts with is met on the way from the
    /// greatest one not above it through its parents: longest first. Lower case where case is `fold`ed.
    Prefix { fold: bool, steps: Box<[Step]> },
    /// Descending by pattern, as fabio tries them.
    Glob(Box<[(Glob, Arc<Route>)]>),
}

#[derive(Debug)]
pub(super) struct Step {
    path: Arc<str>,
    /// The longest other path that this one starts with.
    parent: Option<usize>,
    route: Arc<Route>,
}

impl Paths {
    pub(super) fn new<'a>(
        matcher: Matcher,
        routes: impl DoubleEndedIterator<Item = (&'a Arc<str>, &'a Arc<Route>)>,
    ) -> Self {
        if matcher == Matcher::Glob {
            let patterns = routes.rev();
            return Self::Glob(
                patterns
                    .filter_map(|(path, route)| Some((Glob::parse(path).ok()?, route.clone())))
                    .collect(),
            );
        }
        let mut steps: Box<[Step]> = routes
            .map(|(path, route)| Step {
                path: path.clone(),
                parent: None,
                route: route.clone(),
            })
            .collect();
        let mut open: Vec<usize> = Vec::new();
        for index in 0..steps.len() {
            while let Some(last) = open.last()
                && !steps[index].path.starts_with(&*steps[*last].path)
            {
                open.pop();
            }
            steps[index].parent = open.last().copied();
            open.push(index);
        }
        let fold = matcher == Matcher::IPrefix;
        Self::Prefix { fold, steps }
    }

    pub(super) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        match self {
            Self::Glob(routes) => routes
                .iter()
                .find(|(glob, _)| glob.matches(path))
                .map(|(_, route)| route),
            Self::Prefix { fold, steps } => {
                let fold = |byte: u8| if *fold { byte.to_ascii_lowercase() } else { byte };
                let request = || path.bytes().map(fold);
                let mut at = steps
                    .partition_point(|step| step.path.bytes().le(request()))
                    .checked_sub(1);
                while let Some(index) = at {
                    let step = &steps[index];
                    if step.path.len() <= path.len()
                        && step.path.bytes().zip(request()).all(|(own, sent)| own == sent)
                    {
                        return Some(&step.route);
                    }
                    at = step.parent;
                }
                None
            }
        }
    }
}
