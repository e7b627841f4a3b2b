//! How often a request has been forwarded by balancers of this kind: `CDN-Loop` (RFC 8586). Pure.
//!
//! A target may be a listener of ours, of another balancer that leads back to us, or of something between. Each of us
//! adds its name, and a request that has too many of them is going round. `Via` would say the same, but servers change
//! their answers for it: nginx, for one, does not compress them. Who forges the header harms that request alone.

use hyper::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::forward::fold;

/// See the module.
pub(crate) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// Our name in it, the same for all: the next one may be another process.
const OURS: HeaderValue = HeaderValue::from_static("lictor");
/// Balancers that a request may pass; more than any chain of them has that is meant.
const MOST: usize = 8;

/// Whether a request has passed as many of us as it may.
pub(crate) fn are_spent(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CDN_LOOP).iter();
    let names = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|element| element.split(|byte| *byte == b';').next().unwrap_or_default());
    let ours = names.filter(|name| name.trim_ascii().eq_ignore_ascii_case(OURS.as_bytes()));
    ours.take(MOST).count() == MOST
}

/// One more.
pub(crate) fn count(headers: &mut HeaderMap) {
    fold(headers, CDN_LOOP, &OURS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_add_up_beside_those_of_others_in_whatever_lines() {
        let mut headers = HeaderMap::new();
        headers.append(CDN_LOOP, HeaderValue::from_static("cloudflare; loops=1"));
        for hop in 0..MOST {
            assert!(!are_spent(&headers), "{hop}");
            count(&mut headers);
        }
        assert!(are_spent(&headers));
        let line = format!("cloudflare; loops=1{}", ", lictor".repeat(MOST));
        assert_eq!(headers.get_all(CDN_LOOP).iter().collect::<Vec<_>>(), [&*line]);

        headers.clear();
        for number in 0..MOST {
            assert!(!are_spent(&headers), "{number}");
            headers.append(CDN_LOOP, HeaderValue::from_static("other,  LICTOR ;x=y, foo"));
        }
        assert!(are_spent(&headers));
        let others = format!("{0}, x{0}, {0}x", "lictors, ".repeat(MOST));
        headers.insert(CDN_LOOP, others.parse().unwrap());
        assert!(!are_spent(&headers));
    }
}
