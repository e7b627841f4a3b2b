//! Asks targets whether they may get traffic, where a route wants that (`probe=`): for registries without checks of
//! their own, and for what only the balancer can see, the way from here to there.
//!
//! One worker asks for all. What it finds is kept beside the target (`table/probed.rs`), where every worker reads it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::http::body::{RequestBody, Upload};
use crate::table::options::HostHeader;
use crate::table::{Probed, Question, Turn};
use crate::upstream::{Manner, Reuse, Times, Way};
use crate::worker::{Worker, bury, loops};

/// What targets see in their logs.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Lictor/", env!("CARGO_PKG_VERSION"), " probe"));

/// Probes what the table of each moment wants probed. Ends when no table will come any more, or with its worker.
pub(crate) async fn run(worker: Rc<Worker>, mut swapped: watch::Receiver<()>) {
    let mut asking = JoinSet::new();
    // By where it is: one that left the table and came back is another.
    let mut known: HashMap<*const Probed, AbortHandle> = HashMap::new();
    loop {
        let table = worker.table();
        let mut gone = std::mem::take(&mut known);
        for probed in table.probed() {
            let task = gone.remove(&Arc::as_ptr(probed));
            let task = task.filter(|task| !task.is_finished());
            let task = task.unwrap_or_else(|| asking.spawn_local(ask_on(worker.clone(), probed.clone())));
            known.insert(Arc::as_ptr(probed), task);
        }
        gone.into_values().for_each(|task| task.abort());
        let down = table.probed().filter(|probed| !probed.is_up()).count();
        worker.counters.probed_down.set(down as u64);
        tokio::select! {
            swapped = swapped.changed() => if swapped.is_err() { return },
            // A verdict has changed, or a panic ended one, which the next turn starts anew.
            Some(ended) = asking.join_next() => bury(&worker.counters, ended),
        }
        // All that have ended by now are one turn.
        while let Some(ended) = asking.try_join_next() {
            bury(&worker.counters, ended);
        }
    }
}

/// Asks until the verdict changes.
async fn ask_on(worker: Rc<Worker>, probed: Arc<Probed>) {
    sleep(probed.question.head_start()).await;
    loop {
        let outcome = ask(&worker, &probed.question).await;
        worker.counters.probe_failures.add(u64::from(outcome.is_err()));
        let target = &probed.question.addr;
        match probed.told(outcome) {
            None => {}
            Some(Turn::Down) => {
                let why = probed.why_down().unwrap_or_default();
                tracing::warn!(%target, why, "target fails its probe and gets no more traffic");
                return;
            }
            Some(Turn::Up) => {
                tracing::info!(%target, "target passes its probe and gets traffic again");
                return;
            }
        }
        sleep(probed.question.probe.interval).await;
    }
}

/// One probe, over a connection of its own: an old one would not tell whether new ones are taken. What it meets teaches
/// requests nothing, or a target that is well again would be passed over for what only probes have seen.
async fn ask(worker: &Worker, question: &Question) -> Result<(), Box<str>> {
    let limit = question.probe.interval;
    let upstream = worker.upstream.apart();
    let asking = async {
        let Some(path) = &question.probe.path else {
            let dialled = upstream
                .dial(&question.addr, Some(limit), |to| Ok((loops::socket(to)?, ())))
                .await;
            return dialled.map(drop).map_err(|fault| fault.to_string().into());
        };
        let way = Way::new(&question.addr, question.scheme, &question.tls, &question.host);
        let times = Times {
            dial: Some(limit),
            header: Some(limit),
        };
        let (request, upload) = (request(path, question)?, Upload::default());
        let manner = Manner {
            reuse: Reuse::No,
            times,
            plain: true,
        };
        let sending = upstream.send(&way, Box::new(request), &upload, manner);
        match sending.await {
            // Dropping the connection spares us the body.
            Ok((answer, _lease)) => judge(answer.status()),
            Err(unanswered) => Err(unanswered.fault.to_string().into()),
        }
    };
    let late = || Err(format!("no answer within {limit:?}").into());
    timeout(limit, asking).await.unwrap_or_else(|_| late())
}

fn request(path: &str, question: &Question) -> Result<Request<RequestBody>, Box<str>> {
    let host = match &question.host {
        HostHeader::Name(name) => name,
        HostHeader::Client | HostHeader::Target => &*question.addr,
    };
    let bad = |error: hyper::http::Error| error.to_string().into_boxed_str();
    let uri = Uri::builder().path_and_query(path).build().map_err(bad)?;
    let request = Request::get(uri).header(HOST, host).header(USER_AGENT, AGENT);
    request.body(RequestBody::Empty).map_err(bad)
}

/// A redirect says that somebody is there and well enough to send people elsewhere.
fn judge(status: StatusCode) -> Result<(), Box<str>> {
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(format!("status {}", status.as_u16()).into())
}
