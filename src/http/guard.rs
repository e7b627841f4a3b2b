//! Keeps web pages of other sites out of the API.
//!
//! A page may make its own name resolve to 127.0.0.1 and so read answers as if they were its own
//! (DNS rebinding), or post to us without being able to read the answer. Neither can forge the
//! names that the browser says: where the request goes (`Host`) and which page sends it (`Origin`).

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, StatusCode, header};

use super::Context;
use super::reply::Fault;

/// Refuses requests addressed to a name that is not ours, and changes sent by foreign pages.
///
/// Names are only looked at on loopback. There the machine's own browser is the one way in for
/// strangers; on any other address they need no browser, and users come under names of their own.
pub fn check(context: &Context, request: &Request<Incoming>, on_loopback: bool) -> Result<(), Fault> {
    let identity = &context.identity;
    judge(request, on_loopback, (&identity.node, &identity.domain))
}

/// The same, by what the node and our DNS domain are called.
pub fn judge(
    request: &Request<Incoming>,
    on_loopback: bool,
    (node, domain): (&str, &str),
) -> Result<(), Fault> {
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return Err(Fault::bad("A request goes to one Host, not to several"));
    }
    let authority = request.uri().authority().map(hyper::http::uri::Authority::as_str);
    let host = authority
        .or_else(|| text(request.headers(), &header::HOST))
        .unwrap_or_default();
    let name = host_name(host);
    if on_loopback && !is_ours(name, node, domain) {
        let text = format!(
            "Host {name:?} is none of this agent's names; on loopback it answers to addresses, localhost, \
             names without a dot, its node's name and names under its domain"
        );
        return Err(Fault::new(StatusCode::MISDIRECTED_REQUEST, text));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && is_foreign(request.headers(), host) {
        return Err(Fault::new(StatusCode::FORBIDDEN, "Access is restricted"));
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The name without its port; brackets of an IPv6 address go too.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Addresses, names without a dot (container and machine names: nobody else's page can have one),
/// the node and our DNS domain. A request without `Host` has no page behind it.
fn is_ours(name: &str, node: &str, domain: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let under = |suffix: &str| {
        let suffix = suffix.trim_matches('.').to_ascii_lowercase();
        !suffix.is_empty()
            && name
                .strip_suffix(&suffix)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !name.contains('.') && !name.contains(':')
        || name.parse::<IpAddr>().is_ok()
        || under("localhost")
        || under(domain)
        || node.eq_ignore_ascii_case(&name)
}

fn is_foreign(headers: &HeaderMap, host: &str) -> bool {
    let from_page = text(headers, &header::ORIGIN);
    let elsewhere = from_page.is_some_and(|origin| {
        let origin = origin.split_once("://").map_or(origin, |(_, origin)| origin);
        !origin.eq_ignore_ascii_case(host)
    });
    elsewhere || text(headers, &header::HeaderName::from_static("sec-fetch-site")) == Some("cross-site")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_foreign_page_can_have_are_ours() {
        let ours = |host| is_ours(host_name(host), "n1.lan", "consul");
        for host in [
            "",
            "localhost:8500",
            "LOCALHOST",
            "api.localhost",
            "127.0.0.1:8500",
            "[::1]:8500",
            "10.1.2.3",
            "consul:8500",
            "N1.lan:8500",
            "consul.service.consul",
        ] {
            assert!(ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8500",
            "127.0.0.1.evil.example",
            "evilconsul.example",
            "x.notconsul",
        ] {
            assert!(!ours(host), "{host}");
        }
    }

    #[test]
    fn a_change_sent_by_another_sites_page_is_foreign() {
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert!(is_foreign(
            &with("origin", "http://evil.example"),
            "127.0.0.1:8500"
        ));
        assert!(is_foreign(&with("origin", "null"), "127.0.0.1:8500"));
        assert!(is_foreign(
            &with("sec-fetch-site", "cross-site"),
            "127.0.0.1:8500"
        ));
        assert!(!is_foreign(
            &with("origin", "http://127.0.0.1:8500"),
            "127.0.0.1:8500"
        ));
        assert!(!is_foreign(&HeaderMap::new(), "127.0.0.1:8500"));
    }
}
