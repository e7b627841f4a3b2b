//! `consul`, `consul-tls`, `consul-unix`: a Consul agent. `consulkv`, `consulkv-unix`: keys of its server.
//!
//! The environment says what Consul's own clients let it say; a URI counts where both speak.

use std::path::PathBuf;

use api::tls::Tls;
use lb::config::Secret;
use percent_encoding::percent_decode_str;

use super::{Variables, parts, with_port};
use crate::config::values;

const PORT: u16 = 8500;

/// A Consul agent, and what it asks of those who write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consul {
    /// `http://host:port`, `https://host:port` or `unix://` and the path of a socket.
    pub address: String,
    /// With `https`.
    pub tls: Option<Tls>,
    /// `CONSUL_HTTP_TOKEN`.
    pub token: Option<Secret>,
    /// `CONSUL_HTTP_TOKEN_FILE`, which counts more.
    pub token_file: Option<PathBuf>,
    /// `CONSUL_HTTP_AUTH`: user and password.
    pub login: Option<(String, Secret)>,
}

impl Consul {
    /// Reads what follows the colon of `consul:`, `consul-tls:` or `consul-unix:`.
    pub(super) fn parse(scheme: &str, rest: &str, variables: Variables<'_>) -> Result<Self, String> {
        // Where it is no socket, a path means nothing, as ever.
        let (host, _) = parts(rest);
        let secure = switch("CONSUL_HTTP_SSL", variables)?.unwrap_or(false);
        let verify = switch("CONSUL_HTTP_SSL_VERIFY", variables)?.unwrap_or(true);
        let protocol = if secure { "https" } else { "http" };
        let at = |protocol| {
            let host = match host {
                "" => format!("127.0.0.1:{PORT}"),
                host => with_port(host, PORT).ok_or_else(String::new)?,
            };
            Ok::<_, String>(format!("{protocol}://{host}"))
        };
        let told = variables("CONSUL_HTTP_ADDR").filter(|_| host.is_empty());
        let address = match (scheme, told) {
            ("consul-unix", _) => format!("unix://{}", socket(rest)?),
            ("consul-tls", _) => at("https")?,
            (_, None) => at(protocol)?,
            (_, Some(told)) => match told.split_once("://") {
                None => format!("{protocol}://{told}"),
                // Who asked for TLS does not get less.
                Some(("http", host)) => format!("{protocol}://{host}"),
                Some(_) => told,
            },
        };
        let file = |name| variables(name).map(PathBuf::from);
        let tls = Tls {
            ca_file: file("CONSUL_CACERT"),
            ca_path: file("CONSUL_CAPATH"),
            // By the second names it went before 2017.
            cert_file: file("CONSUL_CLIENT_CERT").or_else(|| file("CONSUL_TLSCERT")),
            key_file: file("CONSUL_CLIENT_KEY").or_else(|| file("CONSUL_TLSKEY")),
            server_name: variables("CONSUL_TLS_SERVER_NAME"),
            // A scheme that says TLS was always verified.
            skip_verify: !verify && scheme != "consul-tls",
        };
        Ok(Self {
            tls: address.starts_with("https://").then_some(tls),
            address,
            token: variables("CONSUL_HTTP_TOKEN").map(Secret::new),
            token_file: file("CONSUL_HTTP_TOKEN_FILE"),
            login: variables("CONSUL_HTTP_AUTH").map(|text| {
                let (user, password) = text.split_once(':').unwrap_or((&text, ""));
                (user.to_owned(), Secret::new(password))
            }),
        })
    }

    /// The same for keys, with the prefix of all of them, which is kept as it is but for the slash before it.
    pub(super) fn parse_kv(
        scheme: &str,
        rest: &str,
        variables: Variables<'_>,
    ) -> Result<(Self, String), String> {
        let (server, prefix) = if scheme == "consulkv-unix" {
            let (path, prefix) = rest.split_once(':').ok_or_else(|| {
                ": it names no prefix of keys, as consulkv-unix:///run/consul.sock:/services does".to_owned()
            })?;
            let prefix = prefix.strip_prefix('/').unwrap_or(prefix);
            (Self::parse("consul-unix", path, variables)?, prefix)
        } else {
            (Self::parse("consul", rest, variables)?, parts(rest).1)
        };
        let prefix = prefix.split(['?', '#']).next().unwrap_or_default();
        let prefix = percent_decode_str(prefix).decode_utf8();
        let prefix = prefix.map_err(|_| ": the prefix of keys is no UTF-8".to_owned())?;
        match &*prefix {
            "" => Err(
                ": the path is the prefix of keys, and there is none, as in consulkv://h/services".to_owned(),
            ),
            prefix if prefix.starts_with('/') => Err(": a key cannot begin with a slash".to_owned()),
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

/// A variable that is on or off.
fn switch(name: &str, variables: Variables<'_>) -> Result<Option<bool>, String> {
    let read = |text: String| values::boolean(&text).map_err(|why| format!(": {name} is {text:?}, {why}"));
    variables(name).map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(scheme: &str, rest: &str) -> Result<String, String> {
        Consul::parse(scheme, rest, &|_| None).map(|consul| consul.address)
    }

    /// What a URI means where the environment says this.
    fn with(environment: &[(&str, &str)], scheme: &str, rest: &str) -> Result<Consul, String> {
        let said = |name: &str| environment.iter().find(|(known, _)| *known == name);
        Consul::parse(scheme, rest, &|name| {
            said(name).map(|(_, value)| (*value).to_owned())
        })
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
            assert_eq!(read("consul", rest), Ok(format!("http://{address}")), "{rest}");
            assert_eq!(
                read("consul-tls", rest),
                Ok(format!("https://{address}")),
                "{rest}"
            );
        }
        assert!(read("consul", "//h:99999").is_err());
    }

    #[test]
    fn the_environment_says_where_a_uri_without_a_host_leads() {
        for (told, secure, address) in [
            ("c:1", "false", "http://c:1"),
            ("c:1", "true", "https://c:1"),
            ("http://c:1", "0", "http://c:1"),
            ("http://c:1", "1", "https://c:1"),
            ("https://c:1", "false", "https://c:1"),
            ("unix:///run/c.sock", "false", "unix:///run/c.sock"),
        ] {
            let environment = [("CONSUL_HTTP_ADDR", told), ("CONSUL_HTTP_SSL", secure)];
            let address = Ok(address.to_owned());
            let read = |rest| with(&environment, "consul", rest).map(|consul| consul.address);
            assert_eq!(read(""), address, "{told} {secure}");
            assert_eq!(read("//"), address, "{told} {secure}");
        }
        let own = |secure| {
            with(
                &[("CONSUL_HTTP_ADDR", "c:1"), ("CONSUL_HTTP_SSL", secure)],
                "consul",
                "//h",
            )
        };
        assert_eq!(own("f").unwrap().address, "http://h:8500");
        assert_eq!(own("t").unwrap().address, "https://h:8500");
        let odd = with(&[("CONSUL_HTTP_SSL", "maybe")], "consul", "//h").unwrap_err();
        assert_eq!(odd, r#": CONSUL_HTTP_SSL is "maybe", expected true or false"#);
    }

    #[test]
    fn the_environment_says_who_writes_and_whom_to_trust() {
        let environment = [
            ("CONSUL_HTTP_SSL", "true"),
            ("CONSUL_HTTP_TOKEN", "t"),
            ("CONSUL_HTTP_TOKEN_FILE", "/t"),
            ("CONSUL_HTTP_AUTH", "reg:pass:word"),
            ("CONSUL_HTTP_SSL_VERIFY", "false"),
            ("CONSUL_CACERT", "/ca"),
            ("CONSUL_CAPATH", "/cas"),
            ("CONSUL_CLIENT_CERT", "/cert"),
            ("CONSUL_TLSCERT", "/older"),
            ("CONSUL_TLSKEY", "/key"),
            ("CONSUL_TLS_SERVER_NAME", "server.dc1.consul"),
        ];
        let tls = |skip_verify| Tls {
            ca_file: Some("/ca".into()),
            ca_path: Some("/cas".into()),
            cert_file: Some("/cert".into()),
            key_file: Some("/key".into()),
            server_name: Some("server.dc1.consul".to_owned()),
            skip_verify,
        };
        let consul = with(&environment, "consul", "//h").unwrap();
        assert_eq!(consul.tls, Some(tls(true)));
        assert_eq!(consul.token, Some(Secret::new("t")));
        assert_eq!(consul.token_file, Some("/t".into()));
        assert_eq!(consul.login, Some(("reg".to_owned(), Secret::new("pass:word"))));
        // Whoever writes consul-tls is never served by just anybody, as ever.
        let strict = with(&environment, "consul-tls", "//h").unwrap();
        assert_eq!(strict.tls, Some(tls(false)));
        let socket = with(&environment, "consul-unix", "///s").unwrap();
        assert_eq!(socket.tls, None);
        let named = with(&[("CONSUL_HTTP_AUTH", "reg")], "consul", "//h").unwrap();
        assert_eq!(named.login, Some(("reg".to_owned(), Secret::new(""))));
    }

    #[test]
    fn sockets_and_prefixes_are_where_registrator_has_them() {
        assert_eq!(
            read("consul-unix", "///run/c.sock"),
            Ok("unix:///run/c.sock".to_owned())
        );
        assert!(read("consul-unix", "//").is_err());
        let kv = |scheme, rest| {
            Consul::parse_kv(scheme, rest, &|_| None).map(|(consul, prefix)| (consul.address, prefix))
        };
        for (rest, prefix) in [
            ("//h/a/b", "a/b"),
            // As the original: what it wrote is looked for by others.
            ("//h/a/", "a/"),
            ("//h/a%20b", "a b"),
            ("//h/a?x=1", "a"),
        ] {
            let expected = ("http://h:8500".to_owned(), prefix.to_owned());
            assert_eq!(kv("consulkv", rest), Ok(expected), "{rest}");
        }
        let unix = |prefix: &str| Ok(("unix:///run/c.sock".to_owned(), prefix.to_owned()));
        assert_eq!(kv("consulkv-unix", "///run/c.sock:/a"), unix("a"));
        assert_eq!(kv("consulkv-unix", "///run/c.sock:/a:b"), unix("a:b"));
        assert!(kv("consulkv", "//h").unwrap_err().contains("prefix of keys"));
        assert!(
            kv("consulkv", "//h//a")
                .unwrap_err()
                .contains("cannot begin with a slash")
        );
        for rest in ["//h/", "//h/?x"] {
            assert!(kv("consulkv", rest).is_err(), "{rest}");
        }
        for rest in ["///run/c.sock", "///run/c.sock:", "///run/c.sock:/"] {
            assert!(
                kv("consulkv-unix", rest).unwrap_err().contains("prefix of keys"),
                "{rest}"
            );
        }
    }
}
