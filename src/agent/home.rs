//! Where others reach this host, for the registrator: as somebody said, else as the kernel finds the way out. The
//! latter is asked again whenever the kernel says that something changed, and now and then in any case.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use registrator::{Home, Registrator, RunError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::net;
use crate::net::changes::Changes;

/// One new lease is several changes; in between there may be no address at all.
const SETTLED: Duration = Duration::from_millis(500);
/// From one look to the next where the kernel says nothing.
const SLOW: Duration = Duration::from_secs(60);

/// What somebody said of where this host is reached.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// Address of the node, where others reach that.
    pub(super) node: Option<IpAddr>,
    /// For ports that are published on IPv6.
    pub(super) ipv6: Option<Ipv6Addr>,
    /// `-ip`, which stands for all of them.
    pub(super) ip: bool,
    /// What serves where nothing else is known: a loopback address, if somebody asked for one.
    pub(super) otherwise: Option<IpAddr>,
}

impl Said {
    pub(super) fn home(self) -> Home {
        let found = || net::host_address_v6().filter(|_| !self.ip);
        Home {
            address: self.node.or_else(net::host_address).or(self.otherwise),
            v6: self.ipv6.or_else(found),
        }
    }

    /// What the user should hear of a host that nobody reaches.
    pub(super) fn note(self, option: &str) -> Option<String> {
        let known = self.home().address;
        let fate = match known.filter(|address| !self.ip && address.is_loopback()) {
            Some(address) => {
                format!("registered at {address}, which leads nobody else here, until it has one")
            }
            None if known.is_none() && !self.ip => "registered once it has one".to_owned(),
            None => return None,
        };
        Some(format!(
            "this host has no default route: ports that containers publish are {fate}; {option} says where others \
             reach this host"
        ))
    }
}

/// Runs `registrator`, and tells it when this host is reached elsewhere.
///
/// # Errors
/// As the registrator.
pub(super) async fn run(
    registrator: Registrator,
    said: Said,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let (homes, watched) = watch::channel(said.home());
    tokio::select! {
        ended = registrator.homes(watched).run(stop) => ended,
        never = follow(said, &homes) => match never {},
    }
}

async fn follow(said: Said, homes: &watch::Sender<Home>) -> std::convert::Infallible {
    let mut changes = Changes::listen()
        .inspect_err(|error| warn!(%error, "the kernel does not tell of new addresses; looking every minute"))
        .ok();
    loop {
        let change = async {
            match &changes {
                Some(changes) => changes.next().await,
                None => std::future::pending().await,
            }
        };
        match tokio::time::timeout(SLOW, change).await {
            Ok(Ok(())) => tokio::time::sleep(SETTLED).await,
            Ok(Err(_)) => changes = None,
            Err(_) => {}
        }
        let fresh = said.home();
        homes.send_if_modified(|home| moved(home, fresh));
    }
}

/// Takes in where the host is reached now; returns whether that is elsewhere. A host that is cut off keeps what it had.
fn moved(home: &mut Home, fresh: Home) -> bool {
    let cut_off = fresh.address.is_none_or(|address| address.is_loopback());
    if cut_off || *home == fresh {
        return false;
    }
    info!(before = %home, now = %fresh, "this host is reached elsewhere");
    *home = fresh;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_cut_off_for_a_while_keeps_its_address() {
        let address = |text: &str| text.parse().ok();
        let mut home = Home {
            address: address("10.0.0.1"),
            v6: "2001:db8::1".parse().ok(),
        };
        let before = home;
        assert!(!moved(&mut home, Home::default()));
        assert!(!moved(&mut home, "127.0.0.1".parse().unwrap()));
        assert_eq!(home, before);
        let fresh = Home {
            address: address("10.0.0.2"),
            v6: None,
        };
        assert!(moved(&mut home, fresh));
        assert!(!moved(&mut home, fresh));
        assert_eq!(home, fresh);
    }
}
