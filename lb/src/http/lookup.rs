//! Which route a request takes. How its path is read and which routes give way is one decision: a reading that leads to
//! a route which then gives way says nothing about where the request goes. Pure.

use std::sync::Arc;

use hyper::http::HeaderValue;

use super::path::{self, Path};
use crate::table::{Options, Route, Table};

/// The route of a request, of those that `accept` takes; its path takes the reading that holds.
pub(crate) fn find<'a>(
    table: &'a Table,
    host: &str,
    path: &mut Path<'_>,
    is_tls: bool,
    accept: impl Fn(&Route) -> bool,
) -> Option<&'a Arc<Route>> {
    path.settle(|path| {
        let route = table.http_where(host, path, is_tls, &accept)?;
        Some((Arc::as_ptr(route), route.path.contains(';')))
    });
    table.http_where(host, &path.decoded, is_tls, accept)
}

/// Would following the redirect of this route ask for the same again? A query makes no difference, and what
/// names no host stays on this one.
pub(crate) fn leads_back(route: &Route, scheme: impl Fn() -> HeaderValue, host: &str, path: &str) -> bool {
    let Some(Options {
        redirect: Some(redirect),
        strip,
        prepend,
        ..
    }) = route.targets.first().map(|target| &*target.options)
    else {
        return false;
    };
    let rewritten = path::rewrite(path, strip.as_deref(), prepend.as_deref());
    let location = redirect.location(host, &rewritten, None);
    let there = location.split_once('?').map_or(&*location, |(there, _)| there);
    let there = match there.split_once("://") {
        Some((named, rest)) if named.as_bytes() == scheme().as_bytes() => rest.strip_prefix(host),
        Some(_) => None,
        None => Some(there),
    };
    there == Some(path)
}
