//! The container engine, asked over its API: Docker's, and what Podman says in the same words.
//!
//! It translates and nothing else: an inspect answer becomes a [`Container`], an event becomes a
//! [`Notice`] that says where to look. Every request but the event stream has a deadline here.
//!
//! `endpoint` where it is, `client` how it is asked, `version` in which version, `shape` what its
//! answers mean, `mesh` what only a swarm knows, `events` what it tells by itself, `exec` programs inside containers, `stream` who
//! listens for as long as we run.

mod client;
pub(crate) mod endpoint;
mod events;
pub(crate) mod exec;
mod mesh;
mod shape;
pub(crate) mod stream;
mod version;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::container::Container;

use client::{Answer, Client};
use endpoint::Endpoint;
use version::Version;

/// An engine that takes longer to answer one request is treated as absent, and asked again.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every template begins with.
const TEMPLATE: &[u8] = b"{{";

/// Why the engine gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    /// Not reached, or the connection broke.
    #[error("{0}")]
    Engine(String),
    /// It answered, and will not.
    #[error("{message} (status {status})")]
    Refused { status: u16, message: String },
    /// Not what this version of the API is known to say.
    #[error("cannot read the engine's answer: {0}")]
    Unreadable(String),
    /// It is too old or too new to be understood.
    #[error("{0}")]
    Version(String),
}

/// A line of the listing: who is there, and what it shows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: Arc<str>,
    /// Whether it seems to run.
    pub(crate) up: bool,
    /// Another number whenever the line shows a change that matters.
    pub(crate) shows: u64,
    /// Whether a verdict of its HEALTHCHECK would be seen there.
    pub(crate) tells_health: bool,
}

/// What an event asks of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) container: Arc<str>,
    pub(crate) what: What,
    /// When the engine says it happened, in nanoseconds of its clock, if it says so.
    pub(crate) at: Option<i64>,
}

/// The little of an event that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Look at it.
    Changed,
    /// Its process has ended: it is of no use until a look shows otherwise. With what that returned, where the engine says.
    Died(Option<i64>),
    /// A new life: what was known of the end of the one before is over. Look at it.
    Turned,
    /// The end of all. Look at it.
    Removed,
    /// It was sent this signal, which no inspection can show.
    Signalled(i32),
}

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// Of Docker's data directory, for as long as that lasts. Podman has none: it makes up another for each answer.
    pub(crate) id: Option<String>,
    /// Its clock, in nanoseconds.
    pub(crate) time: Option<i64>,
}

/// An engine that has answered, in a version both sides speak.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    endpoint: Endpoint,
    version: Version,
    keeps_answers: bool,
    /// Whether it answers for the services of its swarm, as far as is known.
    manages: AtomicBool,
}

impl Docker {
    /// Finds it and agrees on a version. An inspection's whole answer is kept with its facts for containers that say
    /// something like a template; for all with `keeps_answers`.
    pub(crate) async fn connect(endpoint: &Endpoint, keeps_answers: bool) -> Result<Self, Error> {
        let (client, endpoint) = Client::reach(endpoint).await?;
        let version = version::negotiate(&client).await?;
        let inner = Inner {
            client,
            endpoint,
            version,
            keeps_answers,
            manages: AtomicBool::new(true),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Where it was found.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// What is spoken with it.
    pub(crate) fn version(&self) -> Version {
        self.inner.version
    }

    /// What it says of itself; it need not, proxies before engines often let nobody ask.
    pub(crate) async fn info(&self) -> Result<Info, Error> {
        info(&self.get("/info").await?)
    }

    /// Every container, stopped ones included.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, Error> {
        let listed: Vec<Value> = read(&self.get("/containers/json?all=true").await?)?;
        Ok(listed.iter().filter_map(shape::line).collect())
    }

    /// The facts of one container; `None` if there is no such container.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Option<Container>, Error> {
        let answer = self.ask(&format!("/containers/{id}/json")).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let mut container = inspected(&answer.checked()?.body, self.inner.keeps_answers)?;
        container.mesh = mesh::of(self, &container).await?;
        container.image_tag = self.image_tag(&container).await?;
        Ok(Some(container))
    }

    /// What its image is called, for a container that nothing else names.
    async fn image_tag(&self, container: &Container) -> Result<Option<String>, Error> {
        let is_named = container.service().or(container.swarm_service()).is_some();
        let id = &container.image_id;
        let is_id = !id.is_empty()
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b':');
        if is_named || !is_id || !container.is_of_image_id() {
            return Ok(None);
        }
        let answer = self.ask(&format!("/images/{id}/json")).await?;
        match answer.status.is_success() {
            true => Ok(shape::tag(&read(&answer)?)),
            // It may have been removed, and proxies before engines need not let everybody ask.
            false => Ok(None),
        }
    }

    async fn get(&self, path: &str) -> Result<Answer, Error> {
        self.ask(path).await?.checked()
    }

    async fn ask(&self, path: &str) -> Result<Answer, Error> {
        self.inner.client.get(&self.path(path)).await
    }

    fn path(&self, path: &str) -> String {
        format!("/v{}{path}", self.inner.version)
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Error> {
    parse(&answer.body)
}

/// Reads JSON. Bytes that are no text cost the word they stand in and not the listing: labels are what users write, and
/// not every engine cleans them.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let text = String::from_utf8_lossy(body);
    serde_json::from_str(&text).map_err(|error| Error::Unreadable(error.to_string()))
}

fn info(answer: &Answer) -> Result<Info, Error> {
    let info: Value = read(answer)?;
    let is_podman = answer.headers.contains_key("libpod-api-version");
    Ok(Info {
        id: info["ID"].as_str().filter(|_| !is_podman).map(str::to_owned),
        time: info["SystemTime"].as_str().and_then(stream::unix_nanos),
    })
}

/// The facts of an inspect answer, and the answer itself where templates may need it: they are some kilobytes each.
fn inspected(body: &[u8], keeps_answer: bool) -> Result<Container, Error> {
    let answer = parse(body)?;
    let facts = shape::facts(&answer);
    let has_template = body.windows(TEMPLATE.len()).any(|bytes| bytes == TEMPLATE);
    Ok(Container {
        raw: (keeps_answer || has_template).then(|| Arc::new(answer)),
        ..facts
    })
}

/// Reads a recorded inspect answer, for tests of what follows from it.
#[cfg(test)]
pub(crate) fn read_inspect(json: &str) -> Container {
    inspected(json.as_bytes(), false).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_is_kept_only_where_a_template_may_need_it() {
        let plain = br#"{"Id": "c1", "Name": "/web"}"#;
        assert_eq!(inspected(plain, false).unwrap().raw, None);
        assert_eq!(inspected(plain, true).unwrap().raw.unwrap()["Name"], "/web");
        let template = br#"{"Id": "c1", "Config": {"Env": ["SERVICE_TAGS={{.Name}}"]}}"#;
        assert_eq!(inspected(template, false).unwrap().raw.unwrap()["Id"], "c1");
    }

    /// L43.
    #[test]
    fn bytes_that_are_no_text_cost_the_word_they_stand_in() {
        let body = b"{\"Id\": \"c1\", \"Config\": {\"Labels\": {\"a\": \"b\xff\", \"c\": \"d\"}}}";
        let labels = inspected(body, false).unwrap().labels;
        assert_eq!((&*labels["a"], &*labels["c"]), ("b\u{fffd}", "d"));
    }

    #[test]
    fn an_id_that_podman_makes_up_is_none() {
        let mut answer = Answer {
            status: StatusCode::OK,
            headers: hyper::HeaderMap::new(),
            body: br#"{"ID": "E1", "SystemTime": "1970-01-01T00:00:01Z"}"#.as_slice().into(),
        };
        let docker = info(&answer).unwrap();
        assert_eq!(
            (docker.id.as_deref(), docker.time),
            (Some("E1"), Some(1_000_000_000))
        );
        answer.headers.insert(
            "libpod-api-version",
            hyper::header::HeaderValue::from_static("4.3.1"),
        );
        assert_eq!(info(&answer).unwrap().id, None);
    }
}
