//! Why etcd did not do as told, as far as that makes a difference to us, and in the words of every registry.

use crate::registry::Error;

/// Why a server did not do as told.
#[derive(Debug)]
pub(super) enum Fault {
    /// It does not know this API.
    NoApi,
    /// The lease of ours is not there.
    NoLease,
    LeaseThere,
    /// There are no users.
    AuthOff,
    /// It does not know who we are, with its words.
    Pass(String),
    /// The key is not there.
    Gone,
    /// Somebody else wrote the key in between.
    Overtaken(String),
    Failed(Error),
}

impl Fault {
    pub(super) fn refused(why: &str) -> Self {
        Self::Failed(Error::Refused(why.to_owned()))
    }

    pub(super) fn gone(why: &str) -> Self {
        Self::Failed(Error::Unreachable(why.to_owned()))
    }

    pub(super) fn overtaken(what: &str) -> Self {
        Self::Overtaken(what.to_owned())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let refused = |why: &str| Self::Refused(why.to_owned());
        match fault {
            Fault::Failed(error) => error,
            Fault::NoApi => refused(
                "it does not speak this API: v3 needs --enable-grpc-gateway, v2 --enable-v2; ?api=2 or ?api=3 chooses",
            ),
            Fault::NoLease => refused("the lease was lost again at once"),
            Fault::LeaseThere => refused("the lease is there already"),
            Fault::AuthOff => refused("it has no users"),
            Fault::Pass(words) => {
                Self::Refused(format!("{words}; write it like etcd://user:password@host:2379"))
            }
            Fault::Gone => refused("no such key"),
            Fault::Overtaken(what) => Self::Refused(format!("somebody else wrote it in between: {what}")),
        }
    }
}
