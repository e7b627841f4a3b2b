//! What services and keys of a Consul have in common: a client, the ear that hears what it loses, and words for what it
//! refuses.

use api::client::Config;
use api::{Client, ClientError};
use hyper::StatusCode;

use super::ear::Ear;
use crate::registry::Error;

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
            Error::Refused(match self.remedy(&error, right) {
                Some(remedy) => format!("{error}; {remedy}"),
                None => error.to_string(),
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
        ClientError::Transport { .. } | ClientError::Timeout { .. } => true,
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
    use super::*;

    #[test]
    fn a_registry_is_called_by_the_uri_that_users_gave() {
        assert_eq!(called("consul", "http://a:8500"), "consul://a:8500");
        assert_eq!(called("consul", "https://a:8501"), "consul-tls://a:8501");
        assert_eq!(called("consul", "unix:///run/c"), "consul-unix:///run/c");
        assert_eq!(called("consulkv", "unix:///run/c"), "consulkv-unix:///run/c");
        assert_eq!(called("consulkv", "https://a:8501"), "consulkv://a:8501");
    }
}
