//! An agent that speaks Consul's HTTP API, be it Consul's own or another Lictor's.
//!
//! Only this process knows the state of the containers, so their check is sent as a TTL check that
//! practically never runs out and is told what to say: registrations outlive the registrator, as
//! its users expect, and do so in the state they were in.

use std::time::Duration;

use api::client::Config;
use api::{Client, ClientError};
use catalog::check::{Definition, Probe};
use catalog::{Registration, ServiceSpec, Status};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Abilities, Error, Lists, Offer, Registry};

/// Ten years: the state of a container is told, not kept alive.
const AS_GOOD_AS_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// An agent reached over HTTP.
#[derive(Clone, Debug)]
pub struct Consul {
    client: Client,
}

impl Consul {
    /// Registers with the agent that `config` leads to.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        Ok(Self {
            client: Client::new(config)?,
        })
    }

    /// Tells the agent what the container's check says.
    async fn tell(&self, wanted: &Registration) -> Result<(), Error> {
        for check in wanted
            .checks
            .iter()
            .filter(|check| check.probe == Probe::Container)
        {
            let status = check.initial.unwrap_or(Status::Critical);
            self.client.update_check(&check.id, status, &check.output).await?;
        }
        Ok(())
    }
}

impl Registry for Consul {
    fn name(&self) -> String {
        self.client.address().to_owned()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            lists: Lists::Services,
            ..Abilities::default()
        }
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        // No leader is an answer too: the agent is there and will find one.
        async { Ok(self.client.leader().await.map(drop)?) }.boxed()
    }

    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>> {
        async {
            let listed = self.client.agent_services().await?;
            let bare = |service| Registration {
                service: ServiceSpec::from(service),
                checks: Vec::new(),
            };
            Ok(Some(listed.into_values().map(bare).collect()))
        }
        .boxed()
    }

    fn register<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async {
            let wanted = &wanted.registration;
            self.client.register(&as_told(wanted)).await?;
            self.tell(wanted).await
        }
        .boxed()
    }

    fn refresh<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        self.tell(&wanted.registration).boxed()
    }

    fn deregister<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async {
            match self.client.deregister(key).await {
                Err(error) if !is_unknown(&error) => Err(error.into()),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}

/// The registration with the container's check in a form that any agent can hold.
fn as_told(wanted: &Registration) -> Registration {
    let checks = wanted.checks.iter().map(|check| match check.probe {
        Probe::Container => Definition {
            probe: Probe::Ttl { ttl: AS_GOOD_AS_EVER },
            ..check.clone()
        },
        _ => check.clone(),
    });
    Registration {
        service: wanted.service.clone(),
        checks: checks.collect(),
    }
}

/// Whether an agent says that it has no such service; some versions say so with 500.
fn is_unknown(error: &ClientError) -> bool {
    let says_so = |text: &str| text.contains("Unknown service");
    error.is_not_found() || matches!(error, ClientError::Status { text, .. } if says_so(text))
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Status { .. } | ClientError::Decode { .. } => Self::Refused(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}
