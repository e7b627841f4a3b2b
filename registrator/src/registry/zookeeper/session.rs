//! The one session that all our nodes hang on. Its keeper is a task, the only writer of what state it is in.
//!
//! An interrupted session is given a moment to resume by itself; then the next one is opened. Resuming for
//! longer would be worse: a server that has lost its data refuses a client that has seen more than it knows, and
//! the pauses between two attempts grow.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::info;
use zookeeper_client::{Client, Error as Zk, SessionState};

use super::nodes;
use crate::registry::Error;

/// How long the nodes of a process outlive it, as asked of the server; it may choose another time.
const LIFETIME: Duration = Duration::from_secs(10);
/// How long an interrupted session may take to resume.
const RESUMES_WITHIN: Duration = Duration::from_secs(2);
/// How long all servers together may take to open one.
const OPENS_WITHIN: Duration = Duration::from_secs(8);
/// How long one server may take to answer; it is asked for a sign of life three times as often.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// How long a request waits for the session to hold, or to be given up.
const WAITS: Duration = Duration::from_secs(9);
/// Between two attempts, doubling.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(1);

/// A session that holds, and whose it is.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) client: Client,
    pub(super) id: i64,
    /// Sessions that this registrator had before, in this process or another: what hangs on them is ours.
    pub(super) older: BTreeSet<i64>,
    /// Sessions of whoever has, or had, a mark that we used before.
    pub(super) former: BTreeSet<i64>,
}

/// Where sessions are noted, by their paths.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    /// Ours.
    pub(super) mark: String,
    /// Those under marks that we used before.
    pub(super) former: Vec<String>,
    /// Ours are only read: nothing is to hang on a session of this process.
    pub(super) looks_only: bool,
}

/// What the keeper knows.
#[derive(Clone, Debug)]
struct State {
    /// The session, where it holds; nothing while it is opened for the first time or may yet resume; else why not.
    live: Result<Option<Arc<Live>>, String>,
    /// How many were opened so far.
    opened: u64,
}

/// A handle; the keeper ends with the last of them.
#[derive(Debug)]
pub(super) struct Session {
    state: watch::Receiver<State>,
}

impl Session {
    /// Begins to keep a session with `servers` (`host:port,host:port`), noted as `notes` says. Must be called in a
    /// runtime.
    pub(super) fn keep(servers: String, notes: Notes) -> Self {
        let (sender, state) = watch::channel(State {
            live: Ok(None),
            opened: 0,
        });
        tokio::spawn(async move {
            tokio::select! {
                () = keep(&servers, &notes, &sender) => {}
                () = sender.closed() => {}
            }
        });
        Self { state }
    }

    /// The session, once it holds.
    pub(super) async fn live(&self) -> Result<Arc<Live>, Error> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state.live, Ok(None)));
        let live = match timeout(WAITS, settled).await {
            Ok(Ok(state)) => state.live.clone(),
            Ok(Err(_)) => Err("its keeper has ended".to_owned()),
            Err(_) => Err(format!("not within {} s", WAITS.as_secs())),
        };
        match live {
            Ok(Some(live)) => Ok(live),
            Ok(None) => Err(Error::Unreachable("no session yet".to_owned())),
            Err(why) => Err(Error::Unreachable(format!("no session: {why}"))),
        }
    }

    /// Waits until more than `known` sessions were opened; returns how many.
    pub(super) async fn opened(&self, known: u64) -> u64 {
        let mut state = self.state.clone();
        let opened = state
            .wait_for(|state| state.opened > known)
            .await
            .map(|state| state.opened);
        match opened {
            Ok(opened) => opened,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Whether a server is there that gives out sessions. The one that it gave ends at once, and nothing tells of it.
pub(super) async fn reach(servers: &str) -> Result<(), Error> {
    match timeout(OPENS_WITHIN, connect(servers, false)).await {
        Ok(client) => client.map(drop),
        Err(_) => Err(Error::Unreachable(late())),
    }
}

async fn keep(servers: &str, notes: &Notes, state: &watch::Sender<State>) {
    let mut older = BTreeSet::new();
    let mut pause = *PAUSES.start();
    loop {
        let opening = timeout(OPENS_WITHIN, open(servers, notes, &older)).await;
        let why = match opening {
            Ok(Ok(live)) => {
                pause = *PAUSES.start();
                info!(
                    session = format_args!("{:#x}", live.id),
                    "ZooKeeper session opened"
                );
                older.insert(live.id);
                state.send_modify(|state| state.opened += 1);
                let why = follow(&Arc::new(live), state).await;
                info!(why, "ZooKeeper session lost; opening another");
                why
            }
            Ok(Err(Error::Unreachable(why) | Error::Refused(why))) => why,
            Err(_) => late(),
        };
        state.send_modify(|state| state.live = Err(why));
        sleep(pause).await;
        pause = (pause * 2).min(*PAUSES.end());
    }
}

async fn open(servers: &str, notes: &Notes, older: &BTreeSet<i64>) -> Result<Live, Error> {
    let client = connect(servers, !notes.looks_only).await?;
    let id = client.session_id().0;
    let mut older = older.clone();
    older.extend(match notes.looks_only {
        true => nodes::noted(&client, &notes.mark).await?,
        // Before anything hangs on it: one that nobody noted would be a stranger's to the next process.
        false => nodes::note_session(&client, &notes.mark, id).await?,
    });
    older.remove(&id);
    let mut former = BTreeSet::new();
    for mark in &notes.former {
        former.extend(nodes::noted(&client, mark).await?);
    }
    Ok(Live {
        client,
        id,
        older,
        former,
    })
}

/// A session. What hangs on one that `stays` outlives a process that ends, so that the next one finds it all.
async fn connect(servers: &str, stays: bool) -> Result<Client, Error> {
    let connector = Client::connector()
        .with_session_timeout(LIFETIME)
        .with_connection_timeout(ANSWERS_WITHIN)
        .with_fail_eagerly();
    let connector = match stays {
        true => connector.with_detached(),
        false => connector,
    };
    match connector.connect(servers).await {
        Err(Zk::NoHosts) => Err(Error::Unreachable(format!("{servers} does not answer"))),
        client => client.map_err(nodes::at(servers)),
    }
}

fn late() -> String {
    format!("none within {} s", OPENS_WITHIN.as_secs())
}

/// Until the session is over; why.
async fn follow(live: &Arc<Live>, state: &watch::Sender<State>) -> String {
    let mut watcher = live.client.state_watcher();
    loop {
        let holds = match watcher.state() {
            SessionState::SyncConnected => true,
            SessionState::Disconnected | SessionState::ConnectedReadOnly => false,
            over => return format!("session {:#x} is over: {over}", live.id),
        };
        state.send_modify(|state| state.live = Ok(holds.then(|| live.clone())));
        if holds {
            watcher.changed().await;
        } else if timeout(RESUMES_WITHIN, watcher.changed()).await.is_err() {
            return "the connection is lost".to_owned();
        }
    }
}
