//! What may follow a body (RFC 9110, 6.5). Pure.
//!
//! Some servers put trailers among the headers. So what a client may not say in a head, or what a head has said for it,
//! it may not say behind its body either, where no rule would look again. Whatever else follows goes on.

use std::sync::Arc;

use hyper::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{PROXY, UNTOUCHABLE, forward, reads_as};
use crate::policy::Policy;
use crate::table::Options;

/// Who a client is; whoever let it in has looked at the head.
const CREDENTIALS: [HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];

/// Names that are settled when the body of a request ends.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub policy: Arc<Policy>,
    /// Of the target that gets it.
    pub options: Arc<Options>,
}

impl Settled {
    /// Takes them out of the list that announces trailers.
    pub(crate) fn announce(&self, headers: &mut HeaderMap) {
        announce(headers, |name| !self.has(name));
    }

    /// Takes them off.
    pub(crate) fn keep(&self, trailers: &mut HeaderMap) {
        keep(trailers, |name| !self.has(name));
    }

    fn has(&self, name: &HeaderName) -> bool {
        let is_any = |names: &[HeaderName]| names.iter().any(|settled| reads_as(name, settled));
        let Options {
            auth,
            request_headers,
            ..
        } = &*self.options;
        concerns_one_connection(name)
            || is_any(&forward::VOUCHED)
            || is_any(&CREDENTIALS)
            || is_any(self.policy.stamp.names())
            || auth
                .as_deref()
                .is_some_and(|scheme| is_any(self.policy.set_by(scheme)))
            || request_headers.iter().any(|rule| reads_as(name, rule.name()))
    }
}

/// Of an answer: takes what concerns one connection only out of the list that announces trailers.
pub(crate) fn announce_answer(headers: &mut HeaderMap) {
    announce(headers, |name| !concerns_one_connection(name));
}

/// Of an answer: takes off what concerns one connection only.
pub(crate) fn keep_answer(trailers: &mut HeaderMap) {
    keep(trailers, |name| !concerns_one_connection(name));
}

fn concerns_one_connection(name: &HeaderName) -> bool {
    *name == PROXY || UNTOUCHABLE.iter().any(|ours| reads_as(name, ours))
}

fn keep(trailers: &mut HeaderMap, may: impl Fn(&HeaderName) -> bool) {
    let off: Vec<HeaderName> = trailers.keys().filter(|name| !may(name)).cloned().collect();
    for name in off {
        trailers.remove(name);
    }
}

fn announce(headers: &mut HeaderMap, may: impl Fn(&HeaderName) -> bool) {
    if !headers.contains_key(header::TRAILER) {
        return;
    }
    let lists = headers
        .get_all(header::TRAILER)
        .iter()
        .filter_map(|list| list.to_str().ok());
    let may = |name: &&str| HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| may(&name));
    let names: Vec<&str> = lists
        .flat_map(|list| list.split(',').map(str::trim))
        .filter(may)
        .collect();
    match HeaderValue::try_from(names.join(", ")) {
        Ok(list) if !list.is_empty() => headers.insert(header::TRAILER, list),
        _ => headers.remove(header::TRAILER),
    };
}
