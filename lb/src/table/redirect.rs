//! `redirect=<code>,<url>`: a status and where to go, `$host` and `$path` standing for the request's.

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 300 to 399.
    pub code: u16,
    /// As written in the tag.
    pub url: Box<str>,
}

/// Why an option is no redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRedirect {
    /// Not one comma between two parts.
    #[error("redirect is not code,url")]
    Form,
    /// The code is no number from 300 to 399.
    #[error("redirect code is not 300 to 399")]
    Code,
    /// It leads to something that is no place on the web, `javascript:` for one.
    #[error("redirect URL is neither http, https nor without a scheme")]
    Scheme,
}

impl Redirect {
    /// Reads `301,https://$host$path`.
    pub fn parse(text: &str) -> Result<Self, BadRedirect> {
        let (code, url) = text.split_once(',').ok_or(BadRedirect::Form)?;
        if url.contains(',') {
            return Err(BadRedirect::Form);
        }
        Self::to(code, url)
    }

    /// A redirect there.
    pub fn to(code: &str, url: &str) -> Result<Self, BadRedirect> {
        if url.is_empty() {
            return Err(BadRedirect::Form);
        }
        let before_path = url.split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((scheme, _)) = before_path.split_once(':')
            && !["http", "https"]
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return Err(BadRedirect::Scheme);
        }
        match code.parse() {
            // Rust would accept a sign in front of the number.
            Ok(number @ 300..=399) if !code.starts_with('+') => Ok(Self {
                code: number,
                url: url.into(),
            }),
            _ => Err(BadRedirect::Code),
        }
    }

    /// The Location for a request to `host` (as sent, with its port) for `path` (after strip and
    /// prepend, as encoded by the client) and `query`. The redirect's own query wins; the
    /// request's is kept where `$path` is.
    #[must_use]
    pub fn location(&self, host: &str, path: &str, query: Option<&str>) -> String {
        let (before, own_query) = match self.url.split_once('?') {
            Some((before, own)) => (before, Some(own)),
            None => (&*self.url, None),
        };
        let mut location = before.replacen("$host", host, 1);
        let takes_path = location.contains("$path");
        if takes_path {
            // More than one would name a host, and browsers take a backslash for a slash.
            let path = path.trim_start_matches(['/', '\\']);
            location = if location.contains("/$path") {
                location.replacen("/$path", &format!("/{path}"), 1)
            } else {
                location.replacen("$path", &format!("/{path}"), 1)
            };
        } else if let Some((_, rest)) = location.split_once("://")
            && !rest.contains('/')
        {
            location.push('/');
        }
        if let Some(query) = own_query.or(query.filter(|_| takes_path)) {
            location.push('?');
            location.push_str(query);
        }
        location
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(url: &str, path: &str, query: Option<&str>) -> String {
        Redirect::parse(&format!("301,{url}"))
            .unwrap()
            .location("a.com:81", path, query)
    }

    #[test]
    fn host_path_and_query_of_the_request_go_where_the_url_wants_them() {
        assert_eq!(location("https://b.com/x", "/y", Some("q=1")), "https://b.com/x");
        assert_eq!(location("https://b.com", "/y", None), "https://b.com/");
        assert_eq!(
            location("https://b.com$path", "/y%2Fz", Some("q=1")),
            "https://b.com/y%2Fz?q=1"
        );
        assert_eq!(location("https://b.com/$path", "/y", None), "https://b.com/y");
        assert_eq!(location("https://b.com/x/$path", "/y", None), "https://b.com/x/y");
        assert_eq!(
            location("https://$host/$path?mine", "/y", Some("q=1")),
            "https://a.com:81/y?mine"
        );
        assert_eq!(location("https://$host$path", "/", None), "https://a.com:81/");
        assert_eq!(location("/new", "/old", None), "/new");
    }

    #[test]
    fn a_path_of_slashes_cannot_name_another_host() {
        for path in ["//evil.com", "/\\evil.com", "\\/\\evil.com", "/\\/evil.com"] {
            assert_eq!(location("$path", path, None), "/evil.com", "{path}");
            assert_eq!(location("/$path", path, None), "/evil.com", "{path}");
        }
    }

    #[test]
    fn a_redirect_leads_to_the_web_and_nowhere_else() {
        for good in [
            "HTTP://a",
            "https://$host$path",
            "/x:y",
            "$path",
            "?a:b",
            "//b.com/",
            "new",
        ] {
            assert!(Redirect::to("301", good).is_ok(), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "data:text/html;x",
            "ftp://a/",
            "$host:80/",
            ":x",
            "vbscript:/",
        ] {
            assert_eq!(Redirect::to("301", bad), Err(BadRedirect::Scheme), "{bad}");
        }
    }

    #[test]
    fn anything_but_a_code_and_a_url_is_refused() {
        for bad in ["", "301", "301,", ",http://x", "301,http://x,y", "301, "] {
            assert!(bad == "301, " || Redirect::parse(bad).is_err(), "{bad}");
        }
        for bad in [
            "200,http://x",
            "400,http://x",
            "+301,http://x",
            "abc,http://x",
            "99999,http://x",
        ] {
            assert_eq!(Redirect::parse(bad), Err(BadRedirect::Code), "{bad}");
        }
    }
}
