//! The first bytes of a connection, read as far as needed to learn who comes and what for. Nothing of them is lost:
//! what belongs to the client stays in the [`Socket`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::hello::{self, Hello};
use super::proxy::{self, Look};
use super::socket::Socket;

/// Why a connection ends before it has begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it broke off: {0}")]
    Gone(#[from] io::Error),
    #[error("its PROXY header is malformed or too long")]
    BrokenHeader,
    #[error("its PROXY header did not come in time")]
    LateHeader,
    #[error("its TLS ClientHello did not come in time")]
    LateHello,
    #[error("it does not begin with a TLS ClientHello: {0}")]
    Hello(&'static str),
    #[error("its TLS ClientHello names no server")]
    Nameless,
}

/// Takes the PROXY header off the front. Outer `None`: there is none; inner: it names nobody. It is waited for only as
/// long as what came may become one, and no longer than `wait`: a protocol in which the server speaks first has nothing
/// to show.
pub(crate) async fn proxy_header(
    socket: &mut Socket,
    wait: Duration,
) -> Result<Option<Option<SocketAddr>>, Refused> {
    let reading = async {
        loop {
            match proxy::look(socket.seen()) {
                Look::Undecided | Look::Begun => {}
                decided => return Ok::<_, io::Error>(decided),
            }
            if socket.look(proxy::MOST).await? == 0 {
                return Ok(proxy::look(socket.seen()));
            }
        }
    };
    let seen = match timeout(wait, reading).await {
        Ok(seen) => seen?,
        Err(_) => match proxy::look(socket.seen()) {
            Look::Begun => return Err(Refused::LateHeader),
            seen => seen,
        },
    };
    match seen {
        Look::Plain | Look::Undecided => Ok(None),
        Look::Begun | Look::Broken => Err(Refused::BrokenHeader),
        Look::Header { length, client } => {
            socket.take(length);
            Ok(Some(client))
        }
    }
}

/// The name in the ClientHello, which stays where it is.
pub(crate) async fn server_name(
    socket: &mut Socket,
    limit: Option<Duration>,
) -> Result<Option<Box<str>>, Refused> {
    let reading = async {
        loop {
            match hello::look(socket.seen()) {
                Hello::More => {}
                Hello::For(name) => return Ok(Some(name)),
                Hello::Nameless => return Ok(None),
                Hello::Not(why) => return Err(Refused::Hello(why)),
            }
            if socket.look(hello::MOST).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    };
    match limit {
        Some(limit) => timeout(limit, reading).await.unwrap_or(Err(Refused::LateHello)),
        None => reading.await,
    }
}
