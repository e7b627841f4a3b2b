//! Keeps a token of a Vault: fetches it where told to, unwraps it, renews it at half of its time, says when it ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::token::{Granted, Health, Next};
use super::{Asker, Session, is_refusal};
use crate::fetch::{Fetcher, header};
use crate::tls::authorities::Authorities;
use crate::tls::pair::{Pair, certificates};
use crate::tls::source::path::small_file;
use crate::tls::source::{Context, Env, NotRead, aside};
use crate::tls::upstream;

/// Pause after a renewal that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// Pause after a question for its time that failed.
const LEARN_AGAIN: Duration = Duration::from_secs(60);

/// The single owner of a token.
pub(super) struct Keeper {
    context: Context,
    /// `file:/path` or `env:NAME`, instead of `VAULT_TOKEN`.
    fetch_token: Option<String>,
    fetcher: Option<Fetcher>,
    /// What was given, and what it came to: the same, or what was wrapped in it.
    token: Option<(String, String)>,
    next: Option<(Instant, Next)>,
    health: Arc<Health>,
}

impl Keeper {
    pub(super) fn new(context: Context, fetch_token: Option<String>, health: Arc<Health>) -> Self {
        Self {
            context,
            fetch_token,
            fetcher: None,
            token: None,
            next: None,
            health,
        }
    }

    /// Until nobody can ask any more.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Asker>) {
        loop {
            let due = self.next.as_ref().map(|(at, _)| *at);
            tokio::select! {
                answer = asked.recv() => {
                    let Some(answer) = answer else { return };
                    // Whoever asked may have left.
                    let _ = answer.send(self.session().await);
                }
                () = until(due) => self.act().await,
            }
        }
    }

    async fn session(&mut self) -> Result<Session, NotRead> {
        let given = self.given().await?;
        if self.token.as_ref().is_none_or(|(known, _)| *known != given) {
            self.token = None;
            self.next = None;
            self.health.forget();
            let token = self.unwrap(&given).await?;
            self.token = Some((given, token));
            self.learn_time().await;
        }
        let token = self.token.as_ref().map_or("", |(_, token)| token).to_owned();
        self.with(&token).await
    }

    /// The token as its giver has it now.
    async fn given(&self) -> Result<String, NotRead> {
        let no = |text: String| NotRead::Answer(format!("vault: {text}"));
        let token = match self
            .fetch_token
            .as_deref()
            .map(|way| way.split_once(':').unwrap_or((way, "")))
        {
            None => (self.context.env)("VAULT_TOKEN").unwrap_or_default(),
            Some(("file", path)) => {
                let file = path.to_owned();
                let text = aside(move || Ok(small_file(Path::new(&file)))).await?;
                let text = text.map_err(|problem| no(format!("token of {path}: {problem}")))?;
                String::from_utf8_lossy(&text).into_owned()
            }
            Some(("env", name)) => (self.context.env)(name).unwrap_or_default(),
            Some(_) => return Err(no("vaultfetchtoken is file:/path or env:NAME".to_owned())),
        };
        match token.trim() {
            "" => Err(no(format!(
                "no token; {} is empty",
                self.fetch_token.as_deref().unwrap_or("VAULT_TOKEN")
            ))),
            token => Ok(token.to_owned()),
        }
    }

    /// What a wrapped token holds, or the token itself. Looking at the wrapping does not use it up.
    async fn unwrap(&mut self, given: &str) -> Result<String, NotRead> {
        let session = self.with(given).await?;
        let question = json!({ "token": given });
        let looked = session
            .call(Method::POST, "sys/wrapping/lookup", Some(&question))
            .await;
        let is_wrapped = match looked {
            Ok(found) => !found.unwrap_or_default()["data"]["creation_ttl"].is_null(),
            Err(error) if is_refusal(&error) => false,
            // A Vault that is away, sealed or busy has not said that it is not wrapped, and what is taken for the token
            // here stays that for as long as the same one is given.
            Err(error) => return Err(error),
        };
        if !is_wrapped {
            return Ok(given.to_owned());
        }
        let unwrapped = session.call(Method::POST, "sys/wrapping/unwrap", None).await?;
        let unwrapped = unwrapped.unwrap_or_default();
        match unwrapped["auth"]["client_token"].as_str() {
            Some(token) => Ok(token.to_owned()),
            None => Err(NotRead::Answer(
                "vault: the wrapped token holds no token".to_owned(),
            )),
        }
    }

    /// What it is time for.
    async fn act(&mut self) {
        match self.next.take().map(|(_, next)| next) {
            None => {}
            Some(Next::Learn) => self.learn_time().await,
            Some(Next::Renew { increment }) => self.renew(increment).await,
            Some(Next::Warn) => self.health.warn(),
        }
    }

    /// How long the token is good, and whether it can be renewed. Not knowing is no reason not to use it.
    async fn learn_time(&mut self) {
        let now = Instant::now();
        match self.asking("auth/token/lookup-self", Method::GET, None).await {
            Ok(told) => self.next = self.health.granted(&Granted::at_first(&told), now),
            Err(error) => {
                self.health.failed(&error, "how long it is good cannot be known");
                self.next = Some((now + LEARN_AGAIN, Next::Learn));
            }
        }
    }

    async fn renew(&mut self, increment: u64) {
        let wish = json!({ "increment": format!("{increment}s") });
        let now = Instant::now();
        match self
            .asking("auth/token/renew-self", Method::POST, Some(&wish))
            .await
        {
            Ok(told) => self.next = self.health.granted(&Granted::again(&told, increment), now),
            Err(error) => {
                self.health
                    .failed(&error, "it was not renewed, and will be tried again");
                self.next = Some((now + AGAIN, Next::Renew { increment }));
            }
        }
    }

    async fn asking(&mut self, path: &str, method: Method, body: Option<&Value>) -> Result<Value, NotRead> {
        let token = self.token.as_ref().map_or("", |(_, token)| token).to_owned();
        let session = self.with(&token).await?;
        Ok(session.call(method, path, body).await?.unwrap_or_default())
    }

    async fn with(&mut self, token: &str) -> Result<Session, NotRead> {
        let env = self.context.env.clone();
        let fetcher = match &self.fetcher {
            Some(fetcher) => fetcher.clone(),
            None => {
                let fetcher = fetcher(&self.context).await?;
                self.fetcher.insert(fetcher).clone()
            }
        };
        let mut headers = vec![
            header("x-vault-token", token)?,
            header("x-vault-request", "true")?,
        ];
        if let Some(namespace) = env("VAULT_NAMESPACE") {
            headers.push(header("x-vault-namespace", &namespace)?);
        }
        let base = env("VAULT_ADDR").unwrap_or_else(|| "https://127.0.0.1:8200".to_owned());
        Ok(Session {
            fetcher,
            base: base.trim_end_matches('/').to_owned(),
            headers,
        })
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Whom a Vault is verified by and what it is shown: `VAULT_CACERT`, `VAULT_CAPATH`, `VAULT_SKIP_VERIFY`,
/// `VAULT_CLIENT_CERT` with `VAULT_CLIENT_KEY`.
async fn fetcher(context: &Context) -> Result<Fetcher, NotRead> {
    let (provider, env) = (&context.provider, context.env.clone());
    let skips = matches!(
        env("VAULT_SKIP_VERIFY").as_deref(),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True")
    );
    let Files { roots, shown } = aside(move || Files::of(&env)).await?;
    let verifier = if skips {
        upstream::anybody(provider)
    } else if roots.is_empty() {
        upstream::system_aside(provider).await?
    } else {
        upstream::webpki(trusted(&roots)?, provider)?
    };
    let shown = shown.map(|(cert, key)| {
        let pair = Pair::from_pem("VAULT_CLIENT_CERT", &cert, &key, provider);
        let told = |error| NotRead::Answer(format!("vault: VAULT_CLIENT_CERT: {error}"));
        pair.map(|pair| pair.key).map_err(told)
    });
    let client = upstream::client(provider, verifier, shown.transpose()?)?;
    Ok(Fetcher::new(&Arc::new(client)))
}

/// What is in the files that the environment names.
struct Files {
    roots: Vec<Vec<u8>>,
    /// Certificate and key.
    shown: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    fn of(env: &Env) -> Result<Self, NotRead> {
        let named = |name: &str| env(name).filter(|path| !path.is_empty());
        let file = |name: &str| {
            let read = |path: String| {
                let told = |problem| NotRead::Answer(format!("vault: {name}: {path}: {problem}"));
                small_file(Path::new(&path)).map_err(told)
            };
            named(name).map(read).transpose()
        };
        let mut roots = Vec::new();
        if let Some(text) = file("VAULT_CACERT")? {
            roots.push(text);
        } else if let Some(folder) = named("VAULT_CAPATH") {
            let told = |error| NotRead::File(format!("vault: VAULT_CAPATH: {folder}"), error);
            for entry in std::fs::read_dir(&folder).map_err(told)? {
                roots.extend(small_file(&entry.map_err(told)?.path()).ok());
            }
        }
        let shown = file("VAULT_CLIENT_CERT")?.zip(file("VAULT_CLIENT_KEY")?);
        Ok(Self { roots, shown })
    }
}

/// A bundle may hold one that is no authority: the Vault's own, which vouches for itself.
fn trusted(texts: &[Vec<u8>]) -> Result<Arc<RootCertStore>, NotRead> {
    let (known, _) = Authorities::from_pem(texts.iter().map(Vec::as_slice), None);
    if let Some(known) = known {
        return Ok(known.roots);
    }
    let mut roots = RootCertStore::empty();
    let found = texts
        .iter()
        .flat_map(|text| certificates(text).into_iter().flatten());
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(NotRead::Answer(
            "vault: VAULT_CACERT holds no certificate".to_owned(),
        ));
    }
    Ok(Arc::new(roots))
}
