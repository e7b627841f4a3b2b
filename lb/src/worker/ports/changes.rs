//! From one configuration to the next, while everything runs.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Claimed, ListenError, Offer, Port, Ports, ReloadError};
use crate::config::{Config, Listener};
use crate::current::Current;
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
        let current = Current::new(Arc::new(config))?;
        self.shared
            .stores
            .reconfigure(&current.config.certs)
            .map_err(ListenError::Tls)?;
        let (current, next) = self.next(current).inspect_err(|_| self.sources_as_before())?;
        let mut lines = Vec::new();
        self.shared.stores.settle();
        self.adopt(current).await;
        self.put_in_place(next.places, &mut lines).await;
        self.follow_with(next.following).await;
        Ok(lines)
    }

    /// All that could still refuse: TLS by the sources that are the new ones by now, and ports.
    fn next(&self, current: Current) -> Result<(Current, Next), ReloadError> {
        let stores = &self.shared.stores;
        let offers = Offer::all(&current.config, stores).map_err(ListenError::Tls)?;
        let next = self.claim(offers)?;
        Ok((current.over_tls(stores).map_err(ReloadError::Admin)?, next))
    }

    fn sources_as_before(&self) {
        // They were there a moment ago; a file of theirs that has gone since is tried again by its own task.
        let again: Result<(), TlsError> = self.shared.stores.reconfigure(&self.config().certs);
        if let Err(error) = again {
            tracing::debug!(%error, "certificate sources of before");
        }
        // Nobody comes back to what was refused: a Vault's token would be kept for it.
        self.shared.stores.settle();
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
        self.absent.clear();
        for place in places {
            match place {
                Place::Stays(at, offer) => {
                    if let Some(port) = before[at].take() {
                        let port = self.change(port, &offer, lines).await;
                        self.fixed.push(port);
                    }
                }
                Place::New(claimed) => lines.push(self.open_new(claimed).await),
            }
        }
        for port in before.into_iter().flatten() {
            lines.push(format!("closing {}", said(&port.offer.listener)));
            port.halt.cancel();
        }
    }

    /// It was claimed, but somebody may have begun to listen there since: then it is tried again.
    pub(super) async fn open_new(&mut self, claimed: Claimed) -> String {
        let offer = claimed.offer.at(claimed.asked);
        let said = said(&claimed.offer.listener);
        match self.open(claimed).await {
            Ok(port) => {
                self.fixed.push(port);
                format!("listening on {said}")
            }
            Err(error) => {
                self.shared.metrics.ports.reload_failures.add(1);
                tracing::warn!(addr = %said, %error, "a new listener cannot listen; trying again");
                self.absent.push(offer);
                format!("cannot listen on {said}, trying again: {error}")
            }
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
