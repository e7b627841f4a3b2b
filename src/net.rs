//! Finding out under which address other machines reach this one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses that only serve to ask the kernel for a route; nothing is ever sent to them
/// (RFC 5737 and RFC 3849: reserved for documentation).
const SOMEWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// The source address of the default route, IPv4 before IPv6; `None` without one.
///
/// Connecting a UDP socket makes the kernel choose a route and a source address without a packet.
/// Asking a name service for our own host name, as registrator does, finds 127.0.1.1 on Debian.
pub fn default_route() -> Option<IpAddr> {
    SOMEWHERE.iter().find_map(|somewhere| {
        let any: IpAddr = if somewhere.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(somewhere).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_unspecified() && !address.is_loopback()).then_some(address)
    })
}

/// The host name of this machine, as the kernel has it; `localhost` when it has none.
pub fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() || name == "(none)" {
        "localhost".to_owned()
    } else {
        name.to_owned()
    }
}
