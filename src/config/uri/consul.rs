//! `consul`, `consul-tls`, `consul-unix`: a Consul agent. `consulkv`, `consulkv-unix`: keys of its server.

use lb::config::Secret;

use super::{Variables, parts, with_port};

const PORT: u16 = 8500;

/// A Consul agent, and what it asks of those who write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consul {
    /// Where it is.
    pub at: At,
    /// `CONSUL_HTTP_TOKEN`.
    pub token: Option<Secret>,
}

/// Where a Consul agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// `host:port`, or what `CONSUL_HTTP_ADDR` says.
    Http(String),
    /// `host:port`, behind TLS.
    Tls(String),
    /// Path of a socket.
    Unix(String),
}

impl Consul {
    /// Reads what follows the colon of `consul:`, `consul-tls:` or `consul-unix:`.
    pub(super) fn parse(scheme: &str, rest: &str, variables: Variables<'_>) -> Result<Self, String> {
        // Where it is no socket, a path means nothing, as ever.
        let (host, _) = parts(rest);
        let address = || match host {
            "" => Ok(format!("127.0.0.1:{PORT}")),
            host => with_port(host, PORT).ok_or_else(String::new),
        };
        let at = match scheme {
            "consul-unix" => At::Unix(socket(rest)?.to_owned()),
            "consul-tls" => At::Tls(address()?),
            _ => match variables("CONSUL_HTTP_ADDR").filter(|_| host.is_empty()) {
                Some(told) => At::Http(told),
                None => At::Http(address()?),
            },
        };
        Ok(Self {
            at,
            token: variables("CONSUL_HTTP_TOKEN").map(Secret::new),
        })
    }

    /// The same for keys, with the prefix of all of them.
    pub(super) fn parse_kv(
        scheme: &str,
        rest: &str,
        variables: Variables<'_>,
    ) -> Result<(Self, String), String> {
        let (server, prefix) = if scheme == "consulkv-unix" {
            let (path, prefix) = rest
                .rsplit_once(':')
                .ok_or_else(|| ": it ends with a colon and the prefix of keys".to_owned())?;
            (Self::parse("consul-unix", path, variables)?, prefix)
        } else {
            (Self::parse("consul", rest, variables)?, parts(rest).1)
        };
        match prefix.trim_matches('/') {
            "" => Err(": the path is the prefix of keys, and there is none".to_owned()),
            prefix => Ok((server, prefix.to_owned())),
        }
    }
}

fn socket(rest: &str) -> Result<&str, String> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.starts_with('/') {
        Ok(path)
    } else {
        Err(": it names no socket, as consul-unix:///run/consul.sock does".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(scheme: &str, rest: &str) -> Result<At, String> {
        Consul::parse(scheme, rest, &|_| None).map(|consul| consul.at)
    }

    #[test]
    fn a_consul_uri_may_leave_out_port_and_host() {
        for (rest, address) in [
            ("//10.0.0.1:8501", "10.0.0.1:8501"),
            ("//consul.example/path", "consul.example:8500"),
            ("//[::1]:1", "[::1]:1"),
            ("//[::1]", "[::1]:8500"),
            ("", "127.0.0.1:8500"),
            ("//", "127.0.0.1:8500"),
        ] {
            assert_eq!(read("consul", rest), Ok(At::Http(address.to_owned())), "{rest}");
            assert_eq!(
                read("consul-tls", rest),
                Ok(At::Tls(address.to_owned())),
                "{rest}"
            );
        }
        assert!(read("consul", "//h:99999").is_err());
    }

    #[test]
    fn the_environment_says_where_a_uri_without_a_host_leads_and_with_which_token() {
        let variables = |name: &str| match name {
            "CONSUL_HTTP_ADDR" => Some("c:1".to_owned()),
            "CONSUL_HTTP_TOKEN" => Some("t".to_owned()),
            _ => None,
        };
        let consul = Consul::parse("consul", "", &variables).unwrap();
        assert_eq!(
            (consul.at, consul.token),
            (At::Http("c:1".to_owned()), Some(Secret::new("t")))
        );
        let consul = Consul::parse("consul", "//h", &variables).unwrap();
        assert_eq!(consul.at, At::Http("h:8500".to_owned()));
    }

    #[test]
    fn sockets_and_prefixes_are_where_registrator_has_them() {
        assert_eq!(
            read("consul-unix", "///run/c.sock"),
            Ok(At::Unix("/run/c.sock".to_owned()))
        );
        assert!(read("consul-unix", "//").is_err());
        let kv = |scheme, rest| Consul::parse_kv(scheme, rest, &|_| None).map(|(at, prefix)| (at.at, prefix));
        let http = At::Http("h:8500".to_owned());
        assert_eq!(kv("consulkv", "//h/a/b"), Ok((http, "a/b".to_owned())));
        let unix = At::Unix("/run/c.sock".to_owned());
        assert_eq!(
            kv("consulkv-unix", "///run/c.sock:/a"),
            Ok((unix, "a".to_owned()))
        );
        assert!(kv("consulkv", "//h").unwrap_err().contains("prefix of keys"));
        assert!(kv("consulkv", "//h/").is_err());
        assert!(kv("consulkv-unix", "///run/c.sock").is_err());
    }
}
