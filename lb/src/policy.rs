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
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use hyper::http::{HeaderName, HeaderValue};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::http::headers::{BadStamp, Stamp};
use crate::metrics::Counters;

pub use auth::BadScheme;
pub(crate) use auth::{Verdict, user_of};
pub(crate) use gate::{Applicant, Denial, Gate, same_gate};

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

/// What all workers share, for one configuration.
#[derive(Debug)]
pub(crate) struct Policy {
    pub stamp: Stamp,
    schemes: auth::Schemes,
}

impl Policy {
    /// Reads the files that the configuration names.
    pub(crate) fn new(config: &Config) -> Result<Self, BadPolicy> {
        Ok(Self {
            stamp: Stamp::new(&config.headers)?,
            schemes: auth::Schemes::new(&config.auth)?,
        })
    }

    /// Headers of a request that only the scheme of this name sets.
    pub(crate) fn set_by(&self, scheme: &str) -> &[HeaderName] {
        match self.schemes.get(scheme) {
            Some(auth::Scheme::External(external)) => external.sets(),
            Some(auth::Scheme::Basic(_)) | None => &[],
        }
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
            self.schemes.look(now()).await;
            counters.auth_failures.add(self.schemes.faults());
        }
    }

    /// Whether somebody at `client` may come in by the scheme of that name. Schemes that ask another server let nobody
    /// in here: they answer for requests, not for people.
    pub(crate) async fn login(&self, name: &str, said: Option<&HeaderValue>, client: IpAddr) -> Verdict {
        match self.schemes.get(name) {
            Some(auth::Scheme::Basic(basic)) => basic.check(said, auth::Asker { client, now: now() }).await,
            _ => Verdict::Unauthorized(auth::challenge(name)),
        }
    }
}

/// Time as limits count it: from a moment that is the same for all configurations, since limits outlive them.
fn now() -> limit::Now {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    limit::Now(BEGAN.elapsed())
}
