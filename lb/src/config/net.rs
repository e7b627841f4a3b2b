//! An IP network: `10.0.0.0/8`, `::1`, `192.168.1.7`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::BadValue;

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    address: IpAddr,
    bits: u8,
}

impl IpNet {
    /// The network that `address` is in by its first `bits` bits; more than it has count as all of them.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> Self {
        let width = if address.is_ipv4() { 32 } else { 128 };
        Self {
            address,
            bits: bits.min(width),
        }
    }

    /// The same network, its address without the bits that name a host.
    #[must_use]
    pub fn network(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(u32::from(32 - self.bits)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(u32::from(128 - self.bits)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        };
        Self {
            address,
            bits: self.bits,
        }
    }

    /// Whether `peer` is in this network. An IPv4 peer met through an IPv6 socket is still IPv4.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(peer)) => {
                same(net.to_bits().into(), peer.to_bits().into(), 32, self.bits)
            }
            (IpAddr::V6(net), IpAddr::V6(peer)) => same(net.to_bits(), peer.to_bits(), 128, self.bits),
            _ => false,
        }
    }
}

/// Whether the first `bits` of two addresses of `width` bits agree.
fn same(left: u128, right: u128, width: u8, bits: u8) -> bool {
    // A shift by all 128 bits is no shift in machine terms; `checked_shr` says so.
    (left ^ right)
        .checked_shr(u32::from(width - bits))
        .is_none_or(|differing| differing == 0)
}

impl FromStr for IpNet {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad = || {
            BadValue::new(
                format!("'{text}' is no IP network"),
                "it is an address or a network, for example 10.0.0.0/8 or ::1",
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            Err(bad())
        } else {
            Ok(Self { address, bits })
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
