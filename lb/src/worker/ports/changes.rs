//! From one configuration to the next, while everything runs.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Claimed, Port, Ports, ReloadError, fixed};
use crate::config::{Config, Listener};
use crate::worker::crew::Order;

impl Order {
    /// The same change for each worker.
    pub(super) fn changing(id: u64, listener: &Arc<Listener>) -> impl FnMut() -> Option<Self> {
        let listener = listener.clone();
        move || Some(Self::Change(id, listener.clone()))
    }
}

impl Ports {
    /// See [`super::Reloader::apply`].
    pub(super) async fn apply(&mut self, config: Config) -> Result<Vec<String>, ReloadError> {
        let config = Arc::new(config);
        let plan = Plan::new(&self.fixed, &config);
        let going: Vec<u16> = plan
            .going(&self.fixed)
            .map(|port| port.listener.addr.port())
            .collect();
        let claim = |listener: &Listener| {
            let ours = going.contains(&listener.addr.port());
            Claimed::new(listener, self.crew.size(), ours)
        };
        let mut claimed = plan
            .new
            .iter()
            .map(|listener| claim(listener))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();

        let mut lines = Vec::new();
        self.config = config.clone();
        self.crew.tell(|| Some(Order::Configure(config.clone()))).await;
        let mut before: Vec<Option<Port>> = std::mem::take(&mut self.fixed).into_iter().map(Some).collect();
        for place in &plan.places {
            match place {
                Place::Stays(at, listener) => {
                    let Some(port) = before[*at].take() else { continue };
                    let port = self.change(port, listener, &mut lines).await;
                    self.fixed.push(port);
                }
                Place::New => {
                    let Some(claimed) = claimed.next() else { continue };
                    let listener = &claimed.listener;
                    lines.push(format!("opened {} ({})", listener.addr, listener.proto.as_str()));
                    let open = self.open(claimed).await;
                    // Only somebody who stole the port between claiming and listening can be the cause.
                    match open {
                        Ok(port) => self.fixed.push(port),
                        Err(error) => {
                            self.shared.metrics.ports.failures.add(1);
                            tracing::warn!(%error, "a new listener cannot listen");
                            lines.push(format!("failed: {error}"));
                        }
                    }
                }
            }
        }
        for port in before.into_iter().flatten() {
            lines.push(format!(
                "closed {} ({})",
                port.listener.addr,
                port.listener.proto.as_str()
            ));
            port.halt.cancel();
        }
        self.follow_table().await;
        Ok(lines)
    }

    async fn change(&self, mut port: Port, listener: &Listener, lines: &mut Vec<String>) -> Port {
        let listener = Listener {
            addr: port.listener.addr,
            ..listener.clone()
        };
        if *port.listener != listener {
            lines.push(format!("changed {} ({})", listener.addr, listener.proto.as_str()));
            port.listener = Arc::new(listener);
            self.crew.tell(Order::changing(port.id, &port.listener)).await;
        }
        port
    }
}

/// What becomes of which listener.
struct Plan<'a> {
    /// In the order of the new configuration.
    places: Vec<Place<'a>>,
    /// To be claimed, in that order, too.
    new: Vec<&'a Listener>,
}

enum Place<'a> {
    /// The port at this place before, with these options from now on.
    Stays(usize, &'a Listener),
    New,
}

impl<'a> Plan<'a> {
    /// Listeners are the same where their address is; of several for port 0 each stays one.
    fn new(before: &[Port], config: &'a Config) -> Self {
        let asked: Vec<SocketAddr> = before.iter().map(|port| port.asked).collect();
        let mut taken = vec![false; asked.len()];
        let mut plan = Self {
            places: Vec::new(),
            new: Vec::new(),
        };
        for listener in fixed(config) {
            let stays = (0..asked.len()).find(|at| !taken[*at] && asked[*at] == listener.addr);
            if let Some(at) = stays {
                taken[at] = true;
                plan.places.push(Place::Stays(at, listener));
            } else {
                plan.places.push(Place::New);
                plan.new.push(listener);
            }
        }
        plan
    }

    /// Those that have no place any more.
    fn going<'b>(&self, before: &'b [Port]) -> impl Iterator<Item = &'b Port> {
        let stays = |at: usize| {
            self.places
                .iter()
                .any(|place| matches!(place, Place::Stays(stays, _) if *stays == at))
        };
        before
            .iter()
            .enumerate()
            .filter(move |(at, _)| !stays(*at))
            .map(|(_, port)| port)
    }
}
