//! Route commands from an HTTP server that is asked every so often (`registry.custom.*`).
//!
//! An answer that cannot be used leaves what was known. Owns its client; what an answer means is `custom/commands.rs`.

mod commands;

use std::time::Duration;

use api::client::{Client, Config};
use api::tls::Tls;
use tokio::time::Instant;

use super::metrics::Metrics;
use super::{Outs, tell};
use crate::config::registry;

/// The server and how often it is asked.
#[derive(Debug)]
pub struct Custom {
    client: Client,
    path: String,
    poll: Duration,
    /// Entries that make no command, as last said.
    skipped: Vec<String>,
}

impl Custom {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn new(config: &registry::Custom) -> Result<Self, api::ClientError> {
        let address = format!("{}://{}", config.scheme, config.host);
        let url = config.url.reveal();
        let path = url.strip_prefix(&address).unwrap_or(url).to_owned();
        let tls = Tls {
            skip_verify: config.skip_verify,
            ..Tls::default()
        };
        let client = Client::new(&Config {
            tls: Some(Box::new(tls)),
            timeout: config.timeout,
            ..Config::new(address)
        })?;
        Ok(Self {
            client,
            path,
            poll: config.poll,
            skipped: Vec::new(),
        })
    }

    /// Where the server is, without the query: it may hold a secret.
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// Asks for ever. The balancer goes to work with the first good answer, or without one when `patience` is over: fabio
    /// does so at once.
    pub async fn follow(mut self, outs: &Outs, metrics: &Metrics, (patience, retry): (Duration, Duration)) {
        let until = Instant::now() + patience;
        loop {
            let outcome = self.ask(outs, metrics).await;
            metrics.told("custom", outcome.as_ref().err().map(|error| error as _));
            let waiting = outcome.is_err() && !*outs.known.borrow() && Instant::now() < until;
            if !waiting {
                outs.known
                    .send_if_modified(|known| !std::mem::replace(known, true));
            }
            tokio::time::sleep(if waiting { retry } else { self.poll }).await;
        }
    }

    async fn ask(&mut self, outs: &Outs, metrics: &Metrics) -> Result<(), Trouble> {
        let body = self.client.fetch(&self.path).await?;
        let read = commands::read(&body)?;
        tell(&outs.overrides, read.text);
        for reason in read
            .skipped
            .iter()
            .filter(|reason| !self.skipped.contains(reason))
        {
            metrics.skipped(reason);
        }
        self.skipped = read.skipped;
        Ok(())
    }
}

/// Why an answer is of no use.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// There is none.
    #[error(transparent)]
    Client(#[from] api::ClientError),
    /// It is no list of entries.
    #[error("expected a JSON array of route commands: {0}")]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use crate::config::registry::NoRoute;
    use lb::config::Secret;

    use super::*;

    #[tokio::test]
    async fn what_is_said_of_a_server_that_does_not_answer_shows_no_query() {
        // A port that was free a moment ago answers nobody.
        let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = nobody.local_addr().unwrap().to_string();
        drop(nobody);
        let custom = Custom::new(&registry::Custom {
            url: Secret::new(format!("http://{host}/routes?key=s3cret?token=s3cret")),
            host,
            scheme: "http".to_owned(),
            path: String::new(),
            timeout: Duration::from_secs(20),
            poll: Duration::from_secs(1),
            skip_verify: false,
            no_route: NoRoute::Html(String::new()),
        });
        let (outs, _inputs) = Outs::new();
        let trouble = custom.unwrap().ask(&outs, &Metrics::new()).await.unwrap_err();
        let said = trouble.to_string();
        assert!(said.contains("/routes") && !said.contains("s3cret"), "{said}");
    }
}
