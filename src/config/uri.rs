//! Where a registrator alone writes to: `<scheme>://<host>[:<port>][/<path>]`.

/// What registrator knows and this version does not.
const LATER: &[&str] = &[
    "consul-unix",
    "consul-tls",
    "consulkv",
    "consulkv-unix",
    "etcd",
    "etcd-tls",
    "skydns2",
    "zookeeper",
];

/// A registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uri {
    /// A Consul agent, by `host:port`; `None`: as `CONSUL_HTTP_ADDR` says, else on this host.
    Consul(Option<String>),
}

impl Uri {
    /// Reads what a user typed.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let example = "expected for example consul://127.0.0.1:8500";
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(format!("bad adapter uri: {text:?} has no scheme; {example}"));
        };
        if LATER.contains(&scheme) {
            return Err(format!(
                "{scheme}:// is known to registrator but not supported by this version of lictor; {example}"
            ));
        }
        if scheme != "consul" {
            return Err(format!("unrecognized adapter: {text}; {example}"));
        }
        // A path means nothing to this scheme, as ever.
        let host = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
        if host.is_empty() {
            return Ok(Self::Consul(None));
        }
        let address = with_port(host, 8500);
        address
            .map(|address| Self::Consul(Some(address)))
            .ok_or_else(|| format!("bad adapter uri: {text:?}; {example}"))
    }
}

/// `host` or `host:port` as it is; `None` if it is neither.
pub fn authority(text: &str) -> Option<String> {
    with_port(text, 0).map(|_| text.to_owned())
}

/// `host:port`, with a port added where there is none; `None` if it is not an address at all.
pub fn with_port(address: &str, port: u16) -> Option<String> {
    let authority: hyper::http::uri::Authority = address.parse().ok()?;
    if authority.host().is_empty() || address.contains('@') {
        return None;
    }
    match (
        authority.port_u16(),
        address
            .rsplit_once(']')
            .map_or(address, |(_, tail)| tail)
            .contains(':'),
    ) {
        (Some(_), _) => Some(address.to_owned()),
        (None, false) => Some(format!("{address}:{port}")),
        // A colon, but no port behind it.
        (None, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consul_uri_may_leave_out_port_and_host() {
        for (text, address) in [
            ("consul://10.0.0.1:8501", Some("10.0.0.1:8501")),
            ("consul://consul.example/path", Some("consul.example:8500")),
            ("consul://[::1]:1", Some("[::1]:1")),
            ("consul://[::1]", Some("[::1]:8500")),
            ("consul:", None),
            ("consul://", None),
        ] {
            assert_eq!(
                Uri::parse(text),
                Ok(Uri::Consul(address.map(str::to_owned))),
                "{text}"
            );
        }
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        assert!(
            Uri::parse("etcd://h/p")
                .unwrap_err()
                .starts_with("etcd:// is known to registrator but not")
        );
        assert!(
            Uri::parse("redis://h")
                .unwrap_err()
                .starts_with("unrecognized adapter: redis://h")
        );
        assert!(Uri::parse("localhost").unwrap_err().contains("has no scheme"));
        assert!(Uri::parse("consul://h:99999").is_err());
    }
}
