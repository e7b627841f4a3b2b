//! When addresses or routes of this machine change, as the kernel tells whoever listens (rtnetlink(7)).
//!
//! What changed is not read: whoever is told looks for himself.

use std::io;
use std::os::unix::net::UnixDatagram as Datagrams;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use tokio::net::UnixDatagram;

/// `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE` and the same for IPv6, in <linux/rtnetlink.h>.
const ADDRESSES_AND_ROUTES: u32 = 0x10 | 0x40 | 0x100 | 0x400;

/// An ear at the kernel. Changes since it was opened are not lost, however late they are waited for.
///
/// Tokio has no type for such sockets; of those it has, this one asks nothing of a socket but datagrams.
pub struct Changes(UnixDatagram);

impl Changes {
    /// # Errors
    /// The system has no such thing, or forbids it.
    pub fn listen() -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // No protocol is the first one, which tells of routes.
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        net::bind(&socket, &SocketAddrNetlink::new(0, ADDRESSES_AND_ROUTES))?;
        Ok(Self(UnixDatagram::from_std(Datagrams::from(socket))?))
    }

    /// Waits for the next change, and takes all that are there.
    ///
    /// # Errors
    /// The kernel will not tell any more.
    pub async fn next(&self) -> io::Result<()> {
        let lost = Errno::NOBUFS.raw_os_error();
        match self.0.recv(&mut [0; 1]).await {
            Err(error) if error.raw_os_error() != Some(lost) => return Err(error),
            // Those that were lost are changes, too.
            _ => while self.0.try_recv(&mut [0; 1]).is_ok() {},
        }
        Ok(())
    }
}
