//! Bodies of answers of ours that people read. Pure.

use hyper::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::config::Sts;

/// Type of a page.
pub(crate) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What a client shows that does not follow redirects by itself, as in fabio.
pub(crate) fn redirect(status: StatusCode, location: &str) -> String {
    let reason = status.canonical_reason().unwrap_or("Redirect");
    format!("<a href=\"{}\">{reason}</a>.\n\n", escaped(location))
}

/// Only to GET and HEAD is there a body to read (RFC 9110, 15.4).
pub(crate) fn redirect_has_body(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Text as it may stand in a page, in an attribute too.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// `Strict-Transport-Security`, as fabio spells it.
pub(crate) fn sts(sts: &Sts) -> HeaderValue {
    let mut text = format!("max-age={}", sts.max_age);
    if sts.subdomains {
        text.push_str("; includeSubdomains");
    }
    if sts.preload {
        text.push_str("; preload");
    }
    HeaderValue::try_from(text).expect("made of visible ASCII")
}

/// Sets it on an answer over TLS. A target's own gives way: clients heed the first of several only (RFC 6797, 8.1), and
/// fabio writes its own first.
pub(crate) fn set_sts(headers: &mut HeaderMap, value: &HeaderValue) {
    headers.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_cannot_leave_its_attribute() {
        assert_eq!(
            redirect(StatusCode::MOVED_PERMANENTLY, "/a?b=\"><script>'&"),
            "<a href=\"/a?b=&#34;&gt;&lt;script&gt;&#39;&amp;\">Moved Permanently</a>.\n\n"
        );
    }

    #[test]
    fn hsts_is_spelled_as_fabio_spells_it() {
        let spelled = |subdomains, preload| {
            sts(&Sts {
                max_age: 31536000,
                subdomains,
                preload,
            })
        };
        assert_eq!(spelled(false, false), "max-age=31536000");
        assert_eq!(
            spelled(true, true),
            "max-age=31536000; includeSubdomains; preload"
        );
    }
}
