//! From one configuration to the next, while everything runs.

use std::net::SocketAddr;
use std::sync::Arc;

use super::lasting;
use super::{Claimed, ListenError, Offer, Port, Ports, ReloadError};
use crate::config::{Config, Listener};
use crate::policy::Policy;
use crate::tls::TlsError;
use crate::worker::crew::Order;

/// What takes the place of the listeners. Claimed and made, so nothing can refuse it any more.
struct Next {
    /// In the order of the new configuration.
    places: Vec<Place>,
    following: Vec<Offer>,
}

enum Place {
    /// The port at this place before goes on, with this offer.
    Stays(usize, Offer),
    New(Claimed),
}

impl Ports {
    /// See [`super::Reloader::apply`].
    pub(super) async fn apply(&mut self, config: Config) -> Result<Vec<String>, ReloadError> {
        let policy = Arc::new(Policy::new(&config)?);
        let offers = self.offers(&config)?;
        let next = match self.claim(offers) {
            Ok(next) => next,
            Err(error) => {
                self.sources_as_before();
                return Err(error.into());
            }
        };
        let config = Arc::new(config);
        let mut lines = Vec::new();
        self.config = config.clone();
        let order = || Some(Order::Configure(config.clone(), policy.clone()));
        self.crew.tell(order).await;
        self.adopt(policy);
        self.put_in_place(next.places, &mut lines).await;
        self.follow_with(next.following).await;
        lines.extend(lasting::lines(&self.shared.config, &config));
        Ok(lines)
    }

    /// The new listeners with their TLS. Certificate sources are the new ones from here on, or as before an error.
    fn offers(&self, config: &Config) -> Result<Vec<Offer>, ListenError> {
        let stores = &self.shared.stores;
        stores.reconfigure(&config.certs)?;
        Offer::all(config, stores).map_err(|error| {
            self.sources_as_before();
            error.into()
        })
    }

    fn sources_as_before(&self) {
        // They were there a moment ago; a file of theirs that has gone since is tried again by its own task.
        let again: Result<(), TlsError> = self.shared.stores.reconfigure(&self.config.certs);
        if let Err(error) = again {
            tracing::debug!(%error, "certificate sources of before");
        }
    }

    /// Listeners are the same where their address is; of several for port 0 each stays one.
    fn claim(&self, offers: Vec<Offer>) -> Result<Next, ListenError> {
        let (following, fixed): (Vec<_>, Vec<_>) = offers.into_iter().partition(Offer::is_dynamic);
        let mut left: Vec<Option<SocketAddr>> = self.fixed.iter().map(|port| Some(port.asked)).collect();
        let stay = |offer: Offer| {
            let at = left.iter().position(|asked| *asked == Some(offer.listener.addr));
            if let Some(at) = at {
                left[at] = None;
            }
            (at, offer)
        };
        let fixed: Vec<(Option<usize>, Offer)> = fixed.into_iter().map(stay).collect();
        let mut going: Vec<u16> = self
            .fixed
            .iter()
            .zip(&left)
            .filter(|(_, left)| left.is_some())
            .map(|(port, _)| port.offer.listener.addr.port())
            .collect();
        // A listener of its own takes a port over from those that follow the table.
        going.extend(self.dynamic.keys().map(SocketAddr::port));
        let places = fixed.into_iter().map(|(at, offer)| match at {
            Some(at) => Ok(Place::Stays(at, offer)),
            None => {
                let ours = going.contains(&offer.listener.addr.port());
                Ok(Place::New(Claimed::new(&offer, self.crew.size(), ours)?))
            }
        });
        Ok(Next {
            places: places.collect::<Result<_, ListenError>>()?,
            following,
        })
    }

    async fn put_in_place(&mut self, places: Vec<Place>, lines: &mut Vec<String>) {
        let mut before: Vec<Option<Port>> = std::mem::take(&mut self.fixed).into_iter().map(Some).collect();
        for place in places {
            match place {
                Place::Stays(at, offer) => {
                    if let Some(port) = before[at].take() {
                        let port = self.change(port, &offer, lines).await;
                        self.fixed.push(port);
                    }
                }
                Place::New(claimed) => {
                    let said = said(&claimed.offer.listener);
                    match self.open(claimed).await {
                        Ok(port) => {
                            lines.push(format!("listening on {said}"));
                            self.fixed.push(port);
                        }
                        // Somebody took the port between claiming and listening.
                        Err(error) => {
                            self.shared.metrics.ports.failures.add(1);
                            tracing::warn!(addr = %said, %error, "a new listener cannot listen");
                            lines.push(format!("cannot listen on {said}: {error}"));
                        }
                    }
                }
            }
        }
        for port in before.into_iter().flatten() {
            lines.push(format!("closing {}", said(&port.offer.listener)));
            port.halt.cancel();
        }
    }

    /// The acceptor is always made anew, as its certificate source may be another one of the same name.
    async fn change(&self, mut port: Port, offer: &Offer, lines: &mut Vec<String>) -> Port {
        let offer = offer.at(port.offer.listener.addr);
        if port.offer.listener != offer.listener {
            lines.push(format!("other options for {}", said(&offer.listener)));
        }
        port.offer = Arc::new(offer);
        let order = || Some(Order::Change(port.id, port.offer.clone()));
        self.crew.tell(order).await;
        port
    }

    /// Lets other listeners follow the table.
    async fn follow_with(&mut self, following: Vec<Offer>) {
        self.following = following;
        let wanted = self.wanted(&self.shared.table.load());
        let mut unsaid = Vec::new();
        for (addr, port) in std::mem::take(&mut self.dynamic) {
            let port = match wanted.get(&addr) {
                Some(offer) => self.change(port, offer, &mut unsaid).await,
                None => port,
            };
            self.dynamic.insert(addr, port);
        }
        self.follow_table().await;
    }
}

fn said(listener: &Listener) -> String {
    format!("{} ({})", listener.addr, listener.proto.as_str())
}
