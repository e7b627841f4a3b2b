//! Certificates that a Vault issues for the names that clients ask for (`type=vault-pki`).
//!
//! A stranger can ask for any name, and every new one costs the Vault an order. So names that have a route come first;
//! others are issued for only where the table has a place for any host, a few a minute, up to a number. What cannot be
//! had is not asked for again for a while. One order at a time for a name, however many clients wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::poll::What;
use super::{Context, NotRead, Source, vault};
use crate::table::Table;
use crate::tls::demand::Demand;
use crate::tls::pair::{BadPair, Pair, canonical};

/// Orders under way at a time.
const MAX_ORDERS: usize = 8;
/// Names that have a route.
const MAX_ROUTED: usize = 10_000;
/// Names that have none of their own.
const MAX_OTHERS: usize = 256;
/// Of those, orders that may come at once, and time after which one more may.
const OTHERS_AT_ONCE: u32 = 16;
const OTHERS_EVERY: Duration = Duration::from_secs(4);
/// First pause after an order that failed; doubled with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Shortest time between two certificates for a name, however short they live.
const SHORTEST_LIFE: Duration = Duration::from_secs(10);

/// What the table says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// A route is for it.
    Routed,
    /// A route is for whatever host, or none.
    Other,
    /// Nobody's.
    Nobody,
}

/// What is known of a name.
struct Known {
    standing: Standing,
    pair: Option<Arc<Pair>>,
    /// When it is to be ordered again; before that, it is not.
    next: Instant,
    failures: u32,
    ordered: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

/// The single writer of the store of a source.
pub(super) struct Pki {
    source: Arc<Source>,
    path: String,
    context: Context,
    names: BTreeMap<Box<str>, Known>,
    orders: JoinSet<(Box<str>, Result<Pair, NotRead>)>,
    /// Orders for names without a route that may be made now, and when there may be one more.
    others: u32,
    refill: Instant,
}

impl Pki {
    pub(super) fn new(source: Arc<Source>, path: &str, context: &Context) -> Self {
        Self {
            source,
            path: path.trim_matches('/').to_owned(),
            context: context.clone(),
            names: BTreeMap::new(),
            orders: JoinSet::new(),
            others: OTHERS_AT_ONCE,
            refill: Instant::now() + OTHERS_EVERY,
        }
    }

    /// Until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let source = self.source.clone();
        let Some(demands) = &source.demands else { return };
        let mut demands = demands.lock().await;
        self.source
            .looked
            .send_modify(|looked| looked.insert(What::Certificates));
        loop {
            let due = self.renew();
            tokio::select! {
                () = stop.cancelled() => return,
                demand = demands.recv() => match demand {
                    Some(demand) => self.demand(demand),
                    None => return,
                },
                Some(done) = self.orders.join_next() => match done {
                    Ok((name, result)) => self.done(&name, result),
                    // Never cancelled; a panic is a fault of ours, and stays one.
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    /// A client waits for a name. Dropping what it waits on tells it to wait no more.
    fn demand(&mut self, Demand { name, done }: Demand) {
        let now = Instant::now();
        if let Some(known) = self.names.get_mut(&name) {
            if known.ordered {
                known.waiting.push(done);
            } else if known.pair.is_none() && known.next <= now && self.orders.len() < MAX_ORDERS {
                known.waiting.push(done);
                self.order(&name);
            }
            return;
        }
        let standing = standing(&self.context.live.load(), &name);
        if !is_name(&name) || !self.may_begin(standing, now) || self.orders.len() >= MAX_ORDERS {
            tracing::debug!(source = %self.source.config.name, %name, ?standing, "no certificate is issued");
            return;
        }
        let known = Known {
            standing,
            pair: None,
            next: now,
            failures: 0,
            ordered: false,
            waiting: vec![done],
        };
        self.names.insert(name.clone(), known);
        self.order(&name);
    }

    /// Whether one more name may be taken in.
    fn may_begin(&mut self, standing: Standing, now: Instant) -> bool {
        // Names that came to nothing make room.
        let full = |names: &BTreeMap<Box<str>, Known>, max: usize| {
            names.values().filter(|known| known.standing == standing).count() >= max
        };
        let max = match standing {
            Standing::Routed => MAX_ROUTED,
            Standing::Other => MAX_OTHERS,
            Standing::Nobody => return false,
        };
        if full(&self.names, max) {
            self.names.retain(|_, known| {
                known.standing != standing || known.ordered || known.pair.is_some() || known.next > now
            });
            if full(&self.names, max) {
                return false;
            }
        }
        if standing == Standing::Routed {
            return true;
        }
        while self.refill <= now && self.others < OTHERS_AT_ONCE {
            self.others += 1;
            self.refill += OTHERS_EVERY;
        }
        if self.others == OTHERS_AT_ONCE {
            self.refill = now + OTHERS_EVERY;
        }
        self.others.checked_sub(1).is_some_and(|left| {
            self.others = left;
            true
        })
    }

    fn order(&mut self, name: &str) {
        let Some(known) = self.names.get_mut(name) else {
            return;
        };
        known.ordered = true;
        let vault = self.source.vault().clone();
        let (path, name) = (self.path.clone(), Box::<str>::from(name));
        let provider = self.context.provider.clone();
        self.orders.spawn(async move {
            let issued = issue(&vault, &path, &name).await;
            let pair = issued.and_then(|(cert, key)| {
                Pair::from_pem(&name, cert.as_bytes(), key.as_bytes(), &provider).map_err(|bad| told(&bad))
            });
            (name, pair)
        });
    }

    /// What came of an order.
    fn done(&mut self, name: &str, result: Result<Pair, NotRead>) {
        let now = Instant::now();
        let Some(known) = self.names.get_mut(name) else {
            return;
        };
        known.ordered = false;
        match result {
            Ok(pair) => {
                known.failures = 0;
                known.next = now + time_to_renew(&pair, self.source.config.refresh, SystemTime::now());
                known.pair = Some(Arc::new(pair));
                let pairs = self.names.values().filter_map(|known| known.pair.clone());
                self.source.store.replace(pairs.collect());
            }
            Err(problem) => {
                known.failures += 1;
                let factor = 2_u32.saturating_pow(known.failures - 1);
                known.next = now + FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
                self.source.store.fail(&format!("{name}: {problem}"));
            }
        }
        if let Some(known) = self.names.get_mut(name) {
            for waiting in known.waiting.drain(..) {
                // A client that left is no matter.
                let _ = waiting.send(());
            }
        }
    }

    /// Orders anew what is due, and says when to look again. Names that are nobody's any more are let go.
    fn renew(&mut self) -> Instant {
        let now = Instant::now();
        let due: Vec<Box<str>> = self
            .names
            .iter()
            .filter(|(_, known)| known.pair.is_some() && !known.ordered && known.next <= now)
            .map(|(name, _)| name.clone())
            .collect();
        let mut gone = false;
        for name in due {
            if standing(&self.context.live.load(), &name) == Standing::Nobody {
                self.names.remove(&name);
                gone = true;
            } else if self.orders.len() < MAX_ORDERS {
                self.order(&name);
            }
        }
        if gone {
            let pairs = self.names.values().filter_map(|known| known.pair.clone());
            self.source.store.replace(pairs.collect());
        }
        let held = self
            .names
            .values()
            .filter(|known| known.pair.is_some() && !known.ordered);
        let next = held.map(|known| known.next).min();
        let hour = now + Duration::from_secs(3600);
        // What is due and not ordered waits for an order to end, which wakes us too.
        next.unwrap_or(hour).clamp(now + Duration::from_millis(100), hour)
    }
}

/// The time left of a certificate until it is ordered anew: `refresh` (an hour at least, as in fabio) before its end,
/// or two thirds of its life after its begin, where that is sooner.
fn time_to_renew(pair: &Pair, refresh: Option<Duration>, now: SystemTime) -> Duration {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let refresh = refresh.unwrap_or_default().as_secs().max(3600);
    let before_end = pair.not_after.saturating_sub_unsigned(refresh);
    // A life shorter than `refresh` is over before it began, by that rule.
    let at = if before_end > pair.renew_at() || before_end <= pair.not_before {
        pair.renew_at()
    } else {
        before_end
    };
    let left = Duration::from_secs(u64::try_from(at.saturating_sub(now)).unwrap_or(0));
    left.max(SHORTEST_LIFE)
}

fn standing(table: &Table, name: &str) -> Standing {
    if table.knows_host(name) {
        Standing::Routed
    } else if table.has_place_for_any_host() {
        Standing::Other
    } else {
        Standing::Nobody
    }
}

/// Whether it may be the name of a host at all.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && canonical(name).split('.').all(label)
}

/// Certificate with chain, and key.
async fn issue(vault: &vault::Client, path: &str, name: &str) -> Result<(String, String), NotRead> {
    let session = vault.session().await?;
    let wish = json!({ "common_name": name });
    let answer = session.call(Method::POST, path, Some(&wish)).await?;
    let answer = answer.ok_or_else(|| NotRead::Answer(format!("vault: {path}: there is no such role")))?;
    let data = &answer["data"];
    let text = |field: &str| data[field].as_str().unwrap_or_default().to_owned();
    // An ACME plugin of Vault calls it `cert`; fabio understands both.
    let mut cert = format!("{}{}", text("certificate"), text("cert"));
    for authority in data["ca_chain"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        cert = format!("{cert}\n{authority}");
    }
    Ok((cert, text("private_key")))
}

fn told(bad: &BadPair) -> NotRead {
    NotRead::Answer(format!("vault: what was issued {bad}"))
}

#[cfg(test)]
mod tests;
