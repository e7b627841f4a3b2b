//! `etcd` and `skydns2`: keys of etcd, below a path or a DNS domain.
//!
//! Who writes and how TLS is spoken may be said in the URI or in the environment, where no list of processes shows it.
//! The URI counts.

use std::path::PathBuf;

use api::tls::Tls;
use lb::config::Secret;
use percent_encoding::percent_decode_str;

use super::{Variables, hosts, parts};

const PORT: u16 = 2379;

/// Servers of one etcd, and where to write in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Etcd {
    /// `host:port` of each; at least one.
    pub endpoints: Vec<String>,
    /// What the keys begin with, without a slash at either end; may be empty. For SkyDNS the domain.
    pub path: String,
    /// Name and password.
    pub user: Option<(String, Secret)>,
    /// `None`: in the clear.
    pub tls: Option<Tls>,
    /// `None`: by the version of the server.
    pub api: Option<Api>,
}

/// An API of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/v2/keys`.
    V2,
    /// The gateway of v3.
    V3,
}

impl Etcd {
    /// Reads what follows `etcd:`.
    pub(super) fn parse(rest: &str, variables: Variables<'_>) -> Result<Self, String> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = parts(rest);
        if path.contains('@') {
            return Err(": an '@' in its path; a slash in a password is written %2F".to_owned());
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let mut read = Self {
            endpoints: match host {
                "" => vec![format!("127.0.0.1:{PORT}")],
                list => hosts(list, PORT)?,
            },
            path: path.trim_matches('/').to_owned(),
            user: match user {
                Some(user) => Some(credentials(user)?),
                None => variables("ETCD_USERNAME").map(|user| {
                    let password = variables("ETCD_PASSWORD").unwrap_or_default();
                    (user, Secret::new(password))
                }),
            },
            ..Self::default()
        };
        let file = |name| variables(name).map(PathBuf::from);
        let mut tls = Tls {
            ca_file: file("ETCD_CA_CERT_FILE"),
            cert_file: file("ETCD_CERT_FILE"),
            key_file: file("ETCD_KEY_FILE"),
            ..Tls::default()
        };
        let mut in_the_clear = tls == Tls::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match (name, value.as_str()) {
                ("api", "2") => read.api = Some(Api::V2),
                ("api", "3") => read.api = Some(Api::V3),
                ("tls", "true") => in_the_clear = false,
                ("tls", "false") => in_the_clear = true,
                ("ca", path) if !path.is_empty() => tls.ca_file = Some(path.into()),
                ("cert", path) if !path.is_empty() => tls.cert_file = Some(path.into()),
                ("key", path) if !path.is_empty() => tls.key_file = Some(path.into()),
                _ => {
                    return Err(format!(
                        ": {pair:?} is none of api=2, api=3, tls=true, tls=false, ca=<file>, cert=<file>, key=<file>"
                    ));
                }
            }
            in_the_clear &= !matches!(name, "ca" | "cert" | "key");
        }
        if !in_the_clear {
            read.tls = Some(tls);
        }
        Ok(read)
    }

    /// Reads what follows `skydns2:`, whose path is a DNS domain.
    pub(super) fn parse_domain(rest: &str, variables: Variables<'_>) -> Result<Self, String> {
        let etcd = Self::parse(rest, variables)?;
        if etcd.path.is_empty() {
            return Err(": the path is a DNS domain, and there is none".to_owned());
        }
        Ok(etcd)
    }
}

fn credentials(text: &str) -> Result<(String, Secret), String> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok((decoded(user)?, Secret::new(decoded(password)?)))
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    Ok(text
        .map_err(|_| ": what it encodes with % is no UTF-8".to_owned())?
        .into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Result<Etcd, String> {
        Etcd::parse(rest, &|_| None)
    }

    #[test]
    fn several_servers_and_a_path_that_may_be_missing() {
        let etcd = read("//a,b:1/x/y/").unwrap();
        assert_eq!(etcd.endpoints, ["a:2379", "b:1"]);
        assert_eq!(etcd.path, "x/y");
        let here = read("").unwrap();
        assert_eq!(
            (here.endpoints, here.path),
            (vec!["127.0.0.1:2379".to_owned()], String::new())
        );
        assert_eq!((here.user, here.tls, here.api), (None, None, None));
        assert!(read("//a,/x").is_err());
        let domain = |rest| Etcd::parse_domain(rest, &|_| None);
        assert!(domain("//a/").unwrap_err().contains("DNS domain"));
        assert_eq!(domain("//a/skydns.local").unwrap().path, "skydns.local");
    }

    #[test]
    fn user_and_password_stand_before_the_servers_or_in_the_environment() {
        let reg = |password: &str| Some(("reg".to_owned(), Secret::new(password)));
        assert_eq!(read("//reg:p%40ss:w%2Frd@a,b/x").unwrap().user, reg("p@ss:w/rd"));
        assert_eq!(read("//reg@a").unwrap().user, reg(""));
        let slash = read("//reg:p/w@a").unwrap_err();
        assert!(slash.contains("%2F") && !slash.contains("p/w"), "{slash}");
        let variables = |name: &str| match name {
            "ETCD_USERNAME" => Some("reg".to_owned()),
            "ETCD_PASSWORD" => Some("secret".to_owned()),
            _ => None,
        };
        assert_eq!(Etcd::parse("//a", &variables).unwrap().user, reg("secret"));
        assert_eq!(Etcd::parse("//reg:own@a", &variables).unwrap().user, reg("own"));
    }

    #[test]
    fn tls_and_the_api_are_chosen_behind_a_question_mark() {
        assert_eq!(read("//a/x?api=2").unwrap().api, Some(Api::V2));
        let all = read("//a?api=3&ca=/ca.pem&cert=/c.pem&key=/k%20.pem").unwrap();
        assert_eq!(all.api, Some(Api::V3));
        let tls = Tls {
            ca_file: Some("/ca.pem".into()),
            cert_file: Some("/c.pem".into()),
            key_file: Some("/k .pem".into()),
            ..Tls::default()
        };
        assert_eq!(all.tls, Some(tls));
        assert_eq!(read("//a?tls=true").unwrap().tls, Some(Tls::default()));
        for odd in ["api=1", "api", "tls=maybe", "ca=", "verify=false"] {
            let refused = read(&format!("//a?{odd}")).unwrap_err();
            assert!(refused.contains(odd) && refused.contains("api=3"), "{refused}");
        }
        let variables = |name: &str| (name == "ETCD_CA_CERT_FILE").then(|| "/ca.pem".to_owned());
        let told = Etcd::parse("//a", &variables).unwrap().tls;
        assert_eq!(told.and_then(|tls| tls.ca_file), Some("/ca.pem".into()));
    }
}
