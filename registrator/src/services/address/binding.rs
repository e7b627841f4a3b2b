//! Where a published port is had on the host: one place for each address that it is bound to.

use std::net::{IpAddr, SocketAddr};

use super::{Host, Place, at};
use crate::container::Binding;

/// Why a port that is bound on IPv6 only is not registered.
pub(super) const UNKNOWN_V6: &str = "not registered: published on IPv6 only, and this host has no IPv6 address that \
                                     others reach; -ipv6 names one";

/// Where others reach what is bound so, the best first: the address we are known by, else all addresses,
/// else any single one. Bindings that come out at one address are one place. Only where there is nothing
/// else, one that is reachable from here alone.
pub(super) fn places(bindings: &[Binding], host: Host) -> Vec<Place> {
    let mut sorted: Vec<&Binding> = bindings.iter().collect();
    sorted.sort_by_key(|binding| (rank(binding, host), binding.address, binding.port));
    let mut places: Vec<Place> = Vec::new();
    // Even where this host is known by a loopback address: who binds there wants no visitors.
    let open = sorted.iter().filter(|binding| !binding.address.is_loopback());
    for binding in open {
        let Some(place) = reached(binding, host) else {
            continue;
        };
        // An engine binds both families for whoever names no address: that is one place with two addresses.
        let both = |other: &&mut Place| {
            let known = host.ip.or(host.home.address);
            binding.address.is_unspecified() && place.address.is_ipv6() && Some(other.address) == known
        };
        if places.iter().any(|known| known.address == place.address) {
            continue;
        } else if let Some(first) = places.iter_mut().find(both) {
            first
                .twin
                .get_or_insert(SocketAddr::new(place.address, place.port));
        } else {
            places.push(place);
        }
    }
    if places.is_empty()
        && let Some(here) = sorted.iter().find(|binding| binding.address.is_loopback())
    {
        places.push(Place {
            only_here: true,
            ..at(here.address, here.port, "published on loopback")
        });
    }
    places
}

fn rank(binding: &Binding, host: Host) -> usize {
    let home = host.home;
    let known = [host.ip, home.address, home.v6.map(IpAddr::V6)];
    match binding.address {
        address if known.contains(&Some(address)) => 0,
        address if address.is_unspecified() && address.is_ipv4() => 1,
        address if address.is_unspecified() => 2,
        _ => 3,
    }
}

/// Where others reach one binding; `None` where this host has no such address.
fn reached(binding: &Binding, host: Host) -> Option<Place> {
    let home = host.home;
    let everywhere = "published on all addresses";
    let (address, rule, own) = match binding.address {
        address if !address.is_unspecified() => (Some(address), "published on one address", None),
        IpAddr::V4(_) => (home.address, everywhere, None),
        IpAddr::V6(_) => {
            let known = home.address.filter(IpAddr::is_ipv6);
            let v6 = home.v6.map(IpAddr::V6);
            (v6.or(known), everywhere, v6)
        }
    };
    // `-ip` stands for every address of the host, but for one that was told for this family.
    let ip = host.ip.filter(|_| own.is_none());
    Some(Place {
        told: ip.map(|_| "-ip".into()),
        ..at(ip.or(address)?, binding.port, rule)
    })
}
