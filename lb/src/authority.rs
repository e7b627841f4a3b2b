//! `host:port`, as URLs and `Host` headers write it. Pure; whether it is a good one, others say.

/// The host, brackets of an IPv6 address kept, and what follows the colon behind it. An IPv6 address without brackets has
/// no port.
pub(crate) fn split(authority: &str) -> (&str, Option<&str>) {
    // Asked for every request, and few name a port: a search for a character takes longer than this.
    let Some(colon) = authority.bytes().rposition(|byte| byte == b':') else {
        return (authority, None);
    };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    if host.contains(':') && !host.ends_with(']') {
        return (authority, None);
    }
    (host, Some(port))
}

/// The host without port and brackets.
pub(crate) fn name(authority: &str) -> &str {
    let (host, _) = split(authority);
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    literal.unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_ends_at_its_port_and_an_address_without_brackets_has_none() {
        for (authority, host, port, bare) in [
            ("a.com:443", "a.com", Some("443"), "a.com"),
            ("a.com", "a.com", None, "a.com"),
            ("a.com:", "a.com", Some(""), "a.com"),
            (":80", "", Some("80"), ""),
            ("10.0.0.1:443", "10.0.0.1", Some("443"), "10.0.0.1"),
            ("[::1]:443", "[::1]", Some("443"), "::1"),
            ("[::1]", "[::1]", None, "::1"),
            ("::1", "::1", None, "::1"),
            ("[::1", "[::1", None, "[::1"),
            ("a:b:c", "a:b:c", None, "a:b:c"),
        ] {
            assert_eq!(
                (split(authority), name(authority)),
                ((host, port), bare),
                "{authority}"
            );
        }
    }
}
