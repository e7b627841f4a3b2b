//! Finding out under which address other machines reach this one.

pub mod changes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use crate::config::sockaddr::Interface;

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
    SOMEWHERE.into_iter().find_map(source_towards)
}

fn source_towards(somewhere: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if somewhere.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(somewhere).ok()?;
    let address = socket.local_addr().ok()?.ip();
    // An address of one link means nothing to whoever is not on it.
    let of_link = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    (!address.is_unspecified() && !address.is_loopback() && !of_link).then_some(address)
}

/// The address under which ports of this *host* are reached: its default route's source, or, inside
/// a container with a network of its own, the gateway, which is the host. Our own address there
/// would be combined with ports that nobody serves on it.
pub fn host_address() -> Option<IpAddr> {
    gateway_out_of_container().map(IpAddr::V4).or_else(default_route)
}

/// The same for ports that the host has on IPv6.
pub fn host_address_v6() -> Option<Ipv6Addr> {
    if gateway_out_of_container().is_some() {
        let routes = std::fs::read_to_string("/proc/net/ipv6_route").ok()?;
        return default_gateway_v6(&routes);
    }
    match source_towards(SOMEWHERE[1])? {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

/// The way from a container to its host; `None` on a host or in its network, where the default
/// route leaves by a device of the machine and not by one end of a pair.
pub fn gateway_out_of_container() -> Option<Ipv4Addr> {
    let contained = Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists();
    let routes = std::fs::read_to_string("/proc/net/route")
        .ok()
        .filter(|_| contained)?;
    let (device, gateway) = default_gateway(&routes)?;
    let number = |of: &str| std::fs::read_to_string(format!("/sys/class/net/{device}/{of}")).ok();
    (number("iflink")? != number("ifindex")?).then_some(gateway)
}

/// Device and gateway of the default route in the kernel's table: hexadecimal, lowest byte first.
fn default_gateway(routes: &str) -> Option<(&str, Ipv4Addr)> {
    let mut gateways = routes.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (device, destination, gateway) = (fields.next()?, fields.next()?, fields.next()?);
        (destination == "00000000" && gateway != "00000000").then_some((device, gateway))
    });
    let (device, gateway) = gateways.next()?;
    let bytes = u32::from_str_radix(gateway, 16).ok()?;
    Some((device, Ipv4Addr::from(bytes.to_le_bytes())))
}

/// The gateway of the default route in the kernel's table of IPv6, unless others cannot mean it.
fn default_gateway_v6(routes: &str) -> Option<Ipv6Addr> {
    let mut gateways = routes.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[destination, "00", _, _, gateway, ..] = fields.as_slice() else {
            return None;
        };
        let gateway = Ipv6Addr::from(u128::from_str_radix(gateway, 16).ok()?);
        let everywhere = destination.bytes().all(|digit| digit == b'0');
        (everywhere && !gateway.is_unspecified()).then_some(gateway)
    });
    gateways.next().filter(|gateway| !gateway.is_unicast_link_local())
}

/// What the system gave this machine for ever; empty where it has no such thing, as in an image without files.
pub fn machine_id() -> String {
    let read = |path| id_of_a_machine(&std::fs::read_to_string(path).ok()?);
    let id = read("/etc/machine-id").or_else(|| read("/var/lib/dbus/machine-id"));
    id.unwrap_or_default()
}

/// An id as machine-id(5) has it: 32 digits, not all the same. Images that are to get theirs at the first start hold
/// nothing, or the word `uninitialized`, and share it with all their copies.
fn id_of_a_machine(text: &str) -> Option<String> {
    let id = text.trim();
    let digits = id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    (digits && id.bytes().any(|digit| digit != id.as_bytes()[0])).then(|| id.to_owned())
}

/// Every address of every interface; none where the system does not tell.
pub fn interfaces() -> Vec<Interface> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let routes6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let default = default_device(&routes, &routes6);
    let found = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    found
        .map(|one| Interface {
            ip: one.ip(),
            bits: match &one.addr {
                if_addrs::IfAddr::V4(v4) => v4.prefixlen,
                if_addrs::IfAddr::V6(v6) => v6.prefixlen,
            },
            up: one.is_oper_up(),
            point_to_point: one.is_p2p(),
            default: Some(one.name.as_str()) == default,
            name: one.name,
        })
        .collect()
}

/// The device of the default route in the kernel's tables, IPv4 before IPv6.
fn default_device<'a>(routes: &'a str, routes6: &'a str) -> Option<&'a str> {
    let v4 = routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (device, destination) = (fields.next()?, fields.next()?);
        let mask = fields.nth(5)?;
        (destination == "00000000" && mask == "00000000").then_some(device)
    });
    v4.or_else(|| {
        routes6.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let &[destination, "00", .., device] = fields.as_slice() else {
                return None;
            };
            let default = destination.bytes().all(|digit| digit == b'0');
            (default && device != "lo").then_some(device)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_copies_of_an_image_share_is_no_id_of_a_machine() {
        let id = "b08dfa6083e7567a1921a715000001fb";
        assert_eq!(id_of_a_machine(&format!("{id}\n")).as_deref(), Some(id));
        let zeros = "0".repeat(32);
        for none in ["", "\n", "uninitialized\n", "b08dfa60", &zeros] {
            assert_eq!(id_of_a_machine(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_gateway_is_read_from_the_kernels_table() {
        let table = "Iface\tDestination\tGateway \tFlags\n\
                     eth0\t000011AC\t00000000\t0001\n\
                     eth0\t00000000\t010011AC\t0003\n";
        assert_eq!(
            default_gateway(table),
            Some(("eth0", Ipv4Addr::new(172, 17, 0, 1)))
        );
        assert_eq!(default_device("", ""), None);
        let table6 = "00000000000000000000000000000000 00 0 00 0 ffffffff 1 0 00200200 lo\n\
                      00000000000000000000000000000000 00 0 00 fe800000000000000000000000000001 400 1 0 3 wlan0\n";
        assert_eq!(default_device("", table6), Some("wlan0"));
        assert_eq!(default_gateway_v6(table6), None, "one of a link");
        let table6 = "fd000000000000000000000000000000 40 0 00 0 100 1 0 1 eth0\n\
                      00000000000000000000000000000000 00 0 00 fd000000000000000000000000000001 400 1 0 3 eth0\n";
        assert_eq!(default_gateway_v6(table6), "fd00::1".parse().ok());
        let table4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                      eth0\t000011AC\t0\t1\t0\t0\t0\t0000FFFF\n\
                      eth1\t00000000\t0\t3\t0\t0\t0\t00000000\n";
        assert_eq!(default_device(table4, table6), Some("eth1"));
        assert_eq!(default_gateway("Iface\tDestination\n"), None);
        assert_eq!(default_gateway("x\ny 00000000 zz 0\n"), None);
    }
}
