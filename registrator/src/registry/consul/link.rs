//! What services and keys of a Consul have in common: a client, the ear that hears what it loses, and words for what it
//! refuses.

use api::client::Config;
use api::{Client, ClientError};
use hyper::StatusCode;

use super::ear::Ear;
use crate::registry::Error;

/// Bytes of a request's address that servers, and proxies before them, are sure to read.
const LONGEST_URL: usize = 8 << 10;
/// Characters of an error that are worth telling.
const LONGEST_ERROR: usize = 512;

/// An agent, and what is known of the way to it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) ear: Ear,
    has_token: bool,
}

impl Link {
    /// How users call the registry: its URI, whose kind is `consul` or `consulkv`.
    pub(super) fn called(&self, kind: &str) -> String {
        called(kind, self.client.address())
    }

    pub(super) fn new(config: &Config) -> Result<Self, ClientError> {
        Ok(Self {
            client: Client::new(config)?,
            ear: Ear::default(),
            has_token: config.token.as_ref().is_some_and(|token| !token.is_empty()),
        })
    }

    /// What came of a request that takes this right, such as `service:write on "web"`.
    pub(super) fn told<T>(&self, answer: Result<T, ClientError>, right: &str) -> Result<T, Error> {
        answer.map_err(|error| {
            if is_absence(&error) {
                self.ear.missed();
                return Error::Unreachable(error.to_string());
            }
            let mut text = error.to_string();
            if let Some((end, _)) = text.char_indices().nth(LONGEST_ERROR) {
                text.truncate(end);
                text.push('…');
            }
            Error::Refused(match self.remedy(&error, right) {
                Some(remedy) => format!("{text}; {remedy}"),
                None => text,
            })
        })
    }

    /// What would help against a refusal.
    fn remedy(&self, error: &ClientError, right: &str) -> Option<String> {
        match error {
            ClientError::Status { code, text } if *code == StatusCode::FORBIDDEN => {
                Some(match self.has_token {
                    _ if text.contains("ACL not found") => {
                        "it does not know the token that CONSUL_HTTP_TOKEN names".to_owned()
                    }
                    true => format!("the token of CONSUL_HTTP_TOKEN lacks {right}"),
                    false => {
                        format!("no token is sent, and it takes one with {right}: set CONSUL_HTTP_TOKEN")
                    }
                })
            }
            ClientError::Status { code, .. } if *code == StatusCode::UNAUTHORIZED => Some(
                "what stands before it asks who we are: set CONSUL_HTTP_AUTH to user:password".to_owned(),
            ),
            _ => None,
        }
    }
}

/// Whether nobody answered, or only somebody who stands before a server that is away, or one who cannot do anything for
/// want of a leader.
pub(super) fn is_absence(error: &ClientError) -> bool {
    match error {
        ClientError::Status { code, text } => {
            matches!(
                *code,
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            ) || ["No cluster leader", "No known Consul servers"]
                .iter()
                .any(|words| text.contains(words))
        }
        // One that cannot be sent, or that is hung up on half read, will never arrive.
        ClientError::Transport { url, .. } => url.len() <= LONGEST_URL,
        ClientError::Timeout { .. } => true,
        ClientError::Decode { .. } | ClientError::Address { .. } | ClientError::Tls { .. } => false,
    }
}

fn called(kind: &str, address: &str) -> String {
    match address.split_once("://") {
        Some(("unix", path)) => format!("{kind}-unix://{path}"),
        Some(("https", host)) if kind == "consul" => format!("consul-tls://{host}"),
        Some((_, host)) => format!("{kind}://{host}"),
        None => format!("{kind}://{address}"),
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;

    /// A request that nobody can send must not make the registry count as away: all that waits would be tried again at
    /// each sign of life.
    #[tokio::test]
    async fn an_address_too_long_to_be_sent_is_refused_and_in_few_words() {
        let link = Link::new(&Config::new("http://127.0.0.1:9")).unwrap();
        for (length, away) in [(10, true), (1 << 20, false)] {
            let id = "x".repeat(length);
            let error = link
                .told(link.client.deregister(&id).await, "nothing")
                .unwrap_err();
            assert_eq!(matches!(error, Error::Unreachable(_)), away, "{length}");
            assert!(error.to_string().len() < 600, "{length}");
        }
        let hung_up = ClientError::Transport {
            method: Method::PUT,
            url: "x".repeat(9 << 10),
            source: "Broken pipe".into(),
        };
        assert!(!is_absence(&hung_up));
    }

    #[test]
    fn a_registry_is_called_by_the_uri_that_users_gave() {
        assert_eq!(called("consul", "http://a:8500"), "consul://a:8500");
        assert_eq!(called("consul", "https://a:8501"), "consul-tls://a:8501");
        assert_eq!(called("consul", "unix:///run/c"), "consul-unix:///run/c");
        assert_eq!(called("consulkv", "unix:///run/c"), "consulkv-unix:///run/c");
        assert_eq!(called("consulkv", "https://a:8501"), "consulkv://a:8501");
    }
}
