//! What a route asks of its requests before a target sees them, and of answers before the client does.
//!
//! `Policy` is what all workers share of that, `Gate` is one worker's.
//!
//! | file | |
//! | --- | --- |
//! | `origin.rs` | who sent a request, behind trusted proxies; pure |
//! | `access.rs` | `allow=`, `deny=`; pure |
//! | `auth.rs` `auth/*` | `auth=`: passwords in a file, another server's word |
//! | `limit.rs` `limit/*` | `ratelimit=`, `maxinflight=`; pure |
//! | `gate.rs` | the questions in their order, for one request |
//! | `rewrite.rs` | header rules and `rewrite=`; pure |
//! | `gzip.rs` | compressed answers |
//! | `page.rs` | bodies of answers of ours; pure |
//!
//! Whatever is broken here lets nobody in.

pub(crate) mod access;
pub(crate) mod auth;
mod gate;
pub(crate) mod gzip;
pub(crate) mod limit;
pub(crate) mod origin;
pub(crate) mod page;
pub(crate) mod rewrite;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::http::HeaderValue;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::http::headers::{BadStamp, Stamp};
use crate::metrics::Counters;

pub use auth::BadScheme;
pub(crate) use auth::Verdict;
pub(crate) use gate::{Denial, Gate, Visit, same_gate};

/// How often it is asked which files are due to be looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Why the balancer cannot do what was chosen.
#[derive(Debug, thiserror::Error)]
pub enum BadPolicy {
    /// A scheme of `proxy.auth`.
    #[error(transparent)]
    Auth(#[from] BadScheme),
    /// A header of `proxy.header.*`.
    #[error(transparent)]
    Header(#[from] BadStamp),
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Policy {
    rules: ArcSwap<Rules>,
    began: Instant,
}

/// What a configuration asks for.
#[derive(Debug)]
pub(crate) struct Rules {
    pub stamp: Stamp,
    schemes: auth::Schemes,
}

impl Rules {
    fn new(config: &Config) -> Result<Self, BadPolicy> {
        Ok(Self {
            stamp: Stamp::new(&config.headers)?,
            schemes: auth::Schemes::new(&config.auth)?,
        })
    }
}

impl Policy {
    /// Reads the files that the configuration names.
    pub(crate) fn new(config: &Config) -> Result<Self, BadPolicy> {
        Ok(Self {
            rules: ArcSwap::from_pointee(Rules::new(config)?),
            began: Instant::now(),
        })
    }

    /// Another configuration takes effect: for each gate that is made from now on. Where it cannot be, nothing changes.
    #[allow(dead_code, reason = "until a reload asks for it")]
    pub(crate) fn reload(&self, config: &Config) -> Result<(), BadPolicy> {
        self.rules.store(Arc::new(Rules::new(config)?));
        Ok(())
    }

    /// Keeps looking at those files until `stop`, and counts what is wrong with them.
    pub(crate) async fn run(self: Arc<Self>, counters: Arc<Counters>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let rules = self.rules.load_full();
            rules.schemes.look(self.now()).await;
            counters.auth_failures.add(rules.schemes.faults());
        }
    }

    /// Whether somebody at `client` may come in by the scheme of that name. Schemes that ask another server let nobody
    /// in here: they answer for requests, not for people.
    #[allow(dead_code, reason = "until the admin server asks for it")]
    pub(crate) async fn login(&self, name: &str, said: Option<&HeaderValue>, client: IpAddr) -> Verdict {
        let rules = self.rules.load_full();
        match rules.schemes.get(name) {
            Some(auth::Scheme::Basic(basic)) => {
                let now = self.now();
                basic.check(said, auth::Asker { client, now }).await
            }
            _ => Verdict::Unauthorized(auth::challenge(name)),
        }
    }

    fn now(&self) -> limit::Now {
        limit::Now(self.began.elapsed())
    }
}
