//! Secrets of a Vault: PEM texts under `cert` and `key`, KV version 1 or 2.
//!
//! How a Vault is reached is said by the environment, in the words of its own tools. One task holds the token: it
//! unwraps a wrapped one, which can be done once only, and renews it at half of its time.

mod keeper;
mod token;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::files::{Files, MAX_FILES};
use super::{Context, NotRead};
use crate::fetch::{FetchError, Fetcher, Limits, refuse_unless_ok};
use keeper::Keeper;
use token::Health;
pub(crate) use token::VaultToken;

/// Largest answer that is read: a list of secrets, or a secret.
const MAX_ANSWER: usize = 4 << 20;
/// Secrets that are asked for at a time.
const AT_A_TIME: usize = 8;
/// Redirects that are followed: a node that is not active sends clients to the one that is.
const MAX_REDIRECTS: usize = 2;
/// What may not stand in a part of a path as it is.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`');

/// Whoever asks for the token of a Vault.
type Asker = oneshot::Sender<Result<Session, NotRead>>;

/// The Vault of the environment, by the way to a token (`vaultfetchtoken`). All sources with one way share it, since a
/// wrapped token can be unwrapped once only; it is theirs, not kept here.
#[derive(Default)]
pub(super) struct Vaults(Mutex<BTreeMap<Option<String>, Weak<Shared>>>);

impl Vaults {
    /// The one for this way, which may be there already.
    pub(super) fn client(&self, context: &Context, fetch_token: Option<&String>) -> Client {
        let mut vaults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        vaults.retain(|_, shared| shared.strong_count() > 0);
        let way = fetch_token.cloned();
        let known = vaults.get(&way).and_then(Weak::upgrade);
        let shared = known.unwrap_or_else(|| Arc::new(Shared::new(context, way.clone())));
        vaults.insert(way, Arc::downgrade(&shared));
        Client(shared)
    }

    /// What is known of their tokens.
    pub(super) fn tokens(&self) -> Vec<VaultToken> {
        let vaults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = vaults.iter().filter_map(|(way, shared)| {
            let health = &shared.upgrade()?.health;
            Some(health.show(way.as_deref().unwrap_or("env:VAULT_TOKEN")))
        });
        alive.collect()
    }
}

/// A Vault, and who keeps its token. A cheap handle.
#[derive(Clone)]
pub(super) struct Client(Arc<Shared>);

struct Shared {
    asks: mpsc::Sender<Asker>,
    /// Until it is first asked.
    resting: Mutex<Option<(Keeper, mpsc::Receiver<Asker>)>>,
    health: Arc<Health>,
}

impl Shared {
    fn new(context: &Context, fetch_token: Option<String>) -> Self {
        let (asks, asked) = mpsc::channel(1);
        let health = Arc::<Health>::default();
        let keeper = Keeper::new(context.clone(), fetch_token, health.clone());
        Self {
            asks,
            resting: Mutex::new(Some((keeper, asked))),
            health,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// To ask with the token of now. Its keeper begins when it is first asked, and ends with the last handle.
    pub(super) async fn session(&self) -> Result<Session, NotRead> {
        let resting = self
            .0
            .resting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((keeper, asked)) = resting {
            tokio::spawn(keeper.run(asked));
        }
        let (answer, answered) = oneshot::channel();
        let gone = || NotRead::Answer("vault: nobody keeps its token".to_owned());
        self.0.asks.send(answer).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// A Vault and a token.
#[derive(Clone, Debug)]
pub(super) struct Session {
    fetcher: Fetcher,
    /// `https://host:port`.
    base: String,
    /// Token, namespace.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Session {
    /// Asks for a path below `/v1/`. `None`: there is nothing (404).
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Option<Value>, NotRead> {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut url = format!("{}/v1/{}", self.base, utf8_percent_encode(path, UNSAFE));
        if !query.is_empty() {
            url = format!("{url}?{query}");
        }
        let limits = Limits {
            time: super::PATIENCE,
            size: MAX_ANSWER,
        };
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::new(Full::from(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = crate::fetch::url_of(&url)?;
            request.headers_mut().extend(self.headers.iter().cloned());
            let answer = self.fetcher.send(request, limits).await?;
            if answer.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            if answer.status() == StatusCode::TEMPORARY_REDIRECT
                && let Some(next) = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok())
                && (next.starts_with("https://") || url.starts_with("http://"))
            {
                next.clone_into(&mut url);
                continue;
            }
            let answer = refuse_unless_ok(&url, answer)?;
            let read = serde_json::from_slice(answer.body());
            return read
                .map(Some)
                .map_err(|error| NotRead::Answer(format!("vault: answer about {path} is no JSON: {error}")));
        }
        Err(NotRead::Answer(format!("vault: {path} leads in circles")))
    }
}

/// Whether a Vault has said no, and would say it again; not that it, or who stands before it, has no time.
fn is_refusal(error: &NotRead) -> bool {
    let NotRead::Fetch(FetchError::Status { status, .. }) = error else {
        return false;
    };
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !later.contains(status)
}

/// A folder of secrets, by version of the KV engine.
struct Folder {
    list: String,
    read: String,
    v2: bool,
}

/// All secrets in a folder of a KV engine, as files `<secret>-cert.pem` and `<secret>-key.pem`.
pub(super) async fn read(vault: &Client, path: &str) -> Result<Files, NotRead> {
    let session = vault.session().await?;
    let folder = folder(&session, path.trim_matches('/')).await?;
    let listed = session
        .call(Method::GET, &format!("{}?list=true", folder.list), None)
        .await?;
    let listed = listed.unwrap_or_default();
    let keys = listed["data"]["keys"].as_array().into_iter().flatten();
    let mut wanted: VecDeque<String> = keys
        .filter_map(Value::as_str)
        .filter(|key| !key.ends_with('/'))
        .take(MAX_FILES)
        .map(str::to_owned)
        .collect();
    let (mut files, mut reading) = (Files::new(), JoinSet::new());
    loop {
        while reading.len() < AT_A_TIME
            && let Some(key) = wanted.pop_front()
        {
            let (session, path) = (session.clone(), format!("{}/{key}", folder.read));
            reading.spawn(async move { (key, session.call(Method::GET, &path, None).await) });
        }
        let Some(read) = reading.join_next().await else {
            return Ok(files);
        };
        if let Ok((key, secret)) = read {
            take(&mut files, &key, secret, folder.v2);
        }
    }
}

/// Where things are: asks which engine the path belongs to. Whoever may not know is taken to mean version 1.
async fn folder(session: &Session, path: &str) -> Result<Folder, NotRead> {
    let asked = session
        .call(Method::GET, &format!("sys/internal/ui/mounts/{path}"), None)
        .await;
    let mount = match asked {
        Ok(mount) => mount.unwrap_or_default(),
        Err(error) if is_refusal(&error) => Value::Null,
        Err(error) => return Err(error),
    };
    let version = &mount["data"]["options"]["version"];
    let name = mount["data"]["path"]
        .as_str()
        .unwrap_or_default()
        .trim_matches('/');
    if version.as_str() != Some("2") || name.is_empty() {
        return Ok(Folder {
            list: path.to_owned(),
            read: path.to_owned(),
            v2: false,
        });
    }
    let rest = path.strip_prefix(name).unwrap_or(path).trim_matches('/');
    let rest = rest
        .strip_prefix("data/")
        .or_else(|| rest.strip_prefix("metadata/"))
        .unwrap_or(rest);
    let below = |kind: &str| format!("{name}/{kind}/{rest}").trim_end_matches('/').to_owned();
    Ok(Folder {
        list: below("metadata"),
        read: below("data"),
        v2: true,
    })
}

/// The files of one secret. One that is gone, or that has neither field, gives none.
fn take(files: &mut Files, key: &str, secret: Result<Option<Value>, NotRead>, v2: bool) {
    let data = match secret {
        Ok(Some(mut secret)) if v2 => secret["data"]["data"].take(),
        Ok(Some(mut secret)) => secret["data"].take(),
        Ok(None) => return,
        Err(problem) => {
            files.insert(format!("{key}-cert.pem"), Err(problem.to_string()));
            return;
        }
    };
    for field in ["cert", "key"] {
        let text = match &data[field] {
            Value::Null => continue,
            Value::String(text) => Ok(text.clone().into_bytes()),
            _ => Err(format!("its field '{field}' is no text")),
        };
        files.insert(format!("{key}-{field}.pem"), text);
    }
}
