//! The event stream: lines of JSON → notices that say where to look.
//!
//! Engines are asked for the few events that count. One that knows no such question is asked for all, and what does not
//! count is dropped here; so is what any engine sends beyond what was asked for.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tracing::info;

use super::client::refusal;
use super::{Docker, Error, Notice, What};
use crate::container;

/// Events that change what should be registered, in the words of Docker and of Podman before 4.4.
const WORDS: &[&str] = &[
    "start",
    "die",
    "died",
    "kill",
    "destroy",
    "remove",
    "rename",
    "pause",
    "unpause",
    "update",
    "oom",
    "health_status",
    "connect",
    "disconnect",
];
/// An event has some attributes and all labels of its container, whose length no engine limits.
const LONGEST_LINE: usize = 64 << 20;

/// What happens from a moment on, that moment included.
pub(super) struct Events {
    docker: Docker,
    since: i64,
    lines: Option<Lines>,
}

impl Events {
    /// Contacts nobody; `since` is in nanoseconds of the engine's clock.
    pub(super) fn new(docker: Docker, since: i64) -> Self {
        Self {
            docker,
            since,
            lines: None,
        }
    }

    /// The next event; `None` when the engine has ended the stream. After an error, or when dropped before it is
    /// ready, there is nothing more to come.
    pub(super) async fn next(&mut self) -> Result<Option<Notice>, Error> {
        let lines = match &mut self.lines {
            Some(lines) => lines,
            none => none.insert(open(&self.docker, self.since).await?),
        };
        while let Some(line) = lines.next().await? {
            let event: Value = super::parse(&line)?;
            if let Some(notice) = notice(&event) {
                return Ok(Some(notice));
            }
        }
        Ok(None)
    }
}

async fn open(docker: &Docker, since: i64) -> Result<Lines, Error> {
    let refused = match ask(docker, &question(since, true)).await? {
        Ok(lines) => return Ok(lines),
        Err(refused) => refused,
    };
    info!(engine = %docker.endpoint(), error = %refused, "the engine takes no filter for events; reading all");
    ask(docker, &question(since, false)).await?
}

/// The events that a question brings, or the engine's refusal.
async fn ask(docker: &Docker, question: &str) -> Result<Result<Lines, Error>, Error> {
    let path = docker.path(question);
    let response = docker.inner.client.open(Method::GET, &path, Bytes::new()).await?;
    let status = response.status();
    let mut lines = Lines::new(response.into_body());
    if status.is_success() {
        return Ok(Ok(lines));
    }
    let said = lines.next().await?.unwrap_or_default();
    Ok(Err(refusal(status, &said)))
}

fn question(since: i64, filtered: bool) -> String {
    let mut question = format!(
        "/events?since={}.{:09}",
        since / 1_000_000_000,
        since % 1_000_000_000
    );
    if filtered {
        let filters = json!({"type": ["container", "network"], "event": WORDS}).to_string();
        let _ = write!(
            question,
            "&filters={}",
            utf8_percent_encode(&filters, NON_ALPHANUMERIC)
        );
    }
    question
}

/// Lines of a body that has no end.
struct Lines {
    body: Incoming,
    read: Splitter,
}

impl Lines {
    fn new(body: Incoming) -> Self {
        let read = Splitter::default();
        Self { body, read }
    }

    /// The next line that is not empty; what stands behind the last end of a line is one, too.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(line) = self.read.line()? {
                return Ok(Some(line));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| self.read.add(data)),
                Some(Err(error)) => return Err(Error::Engine(format!("the event stream broke: {error}"))),
                None => return Ok(self.read.rest()),
            }
        }
    }
}

/// Bytes as they come → lines.
#[derive(Default)]
struct Splitter {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    seen: usize,
}

impl Splitter {
    fn add(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// A line that is whole and not empty, if there is one.
    fn line(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(at) = self.buffer[self.seen..].iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(self.seen + at).freeze();
            self.buffer.advance(1);
            self.seen = 0;
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
        self.seen = self.buffer.len();
        if self.seen > LONGEST_LINE {
            let reason = format!("an event is longer than {} MiB", LONGEST_LINE >> 20);
            return Err(Error::Unreadable(reason));
        }
        Ok(None)
    }

    /// What no end of a line follows, unless empty.
    fn rest(&mut self) -> Option<Bytes> {
        self.seen = 0;
        let rest = self.buffer.split().freeze();
        (!rest.trim_ascii().is_empty()).then_some(rest)
    }
}

/// What an event asks of us, if it counts.
fn notice(event: &Value) -> Option<Notice> {
    let (actor, attributes) = (&event["Actor"], &event["Actor"]["Attributes"]);
    let word = event["Action"].as_str().or(event["status"].as_str())?;
    // `health_status: healthy`
    let word = word.split(':').next().unwrap_or(word);
    let subject = actor["ID"].as_str().or(event["id"].as_str());
    let container = match event["Type"].as_str() {
        // The network is the actor in Docker, the container in Podman.
        Some("network") => attributes["container"].as_str().or(subject)?,
        Some("container") | None => subject?,
        _ => return None,
    };
    if container.is_empty() || !WORDS.contains(&word) {
        return None;
    }
    let what = match word {
        // Podman does not say which signal it was. A guess would take out of rotation who was only told to read its files
        // again; if it ends, it will be heard of.
        "kill" => match attributes["signal"].as_str().and_then(container::signal) {
            Some(signal) => What::Signalled(signal),
            None => What::Changed,
        },
        "die" | "died" => What::Died(exit_code(attributes)),
        "start" => What::Turned,
        "destroy" | "remove" => What::Removed,
        _ => What::Changed,
    };
    Some(Notice {
        container: Arc::from(container),
        what,
        at: at(event),
    })
}

/// What the process returned, in the words of Docker and of Podman.
fn exit_code(attributes: &Value) -> Option<i64> {
    let code = attributes["exitCode"]
        .as_str()
        .or(attributes["containerExitCode"].as_str());
    code?.parse().ok()
}

/// When it happened, in nanoseconds; old engines say seconds only.
fn at(event: &Value) -> Option<i64> {
    let seconds = || Some(event["time"].as_i64()?.saturating_mul(1_000_000_000));
    let at = event["timeNano"].as_i64().or_else(seconds);
    at.filter(|at| *at > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(event: &Value) -> Option<(String, What)> {
        let notice = notice(event)?;
        Some((notice.container.to_string(), notice.what))
    }

    fn of(kind: &str, action: &str, attributes: &Value) -> Option<(String, What)> {
        read(
            &json!({"Type": kind, "Action": action, "Actor": {"ID": "c1", "Attributes": attributes}, "timeNano": 7}),
        )
    }

    #[test]
    fn the_words_of_docker_and_of_old_podman_mean_the_same() {
        for (word, what) in [
            ("start", What::Turned),
            ("die", What::Died(None)),
            ("died", What::Died(None)),
            ("destroy", What::Removed),
            ("remove", What::Removed),
            ("rename", What::Changed),
            ("health_status: healthy", What::Changed),
            ("health_status", What::Changed),
        ] {
            assert_eq!(
                of("container", word, &json!({})),
                Some(("c1".to_owned(), what)),
                "{word}"
            );
        }
        for word in [
            "exec_start: /bin/true",
            "exec_died",
            "attach",
            "cleanup",
            "init",
            "stop",
            "create",
            "top",
            "",
        ] {
            assert_eq!(of("container", word, &json!({})), None, "{word}");
        }
        for kind in ["image", "volume", "daemon", "pod", "service"] {
            assert_eq!(of(kind, "remove", &json!({})), None, "{kind}");
        }
    }

    #[test]
    fn a_signal_counts_where_it_is_told_and_is_not_guessed() {
        let kill = |attributes: Value| of("container", "kill", &attributes).unwrap().1;
        assert_eq!(kill(json!({"signal": "15"})), What::Signalled(15));
        assert_eq!(kill(json!({"signal": "SIGQUIT"})), What::Signalled(3));
        assert_eq!(kill(json!({})), What::Changed);
    }

    /// R11.
    #[test]
    fn what_a_process_returned_is_read_where_the_engine_says_it() {
        let died = |attributes: Value| of("container", "die", &attributes).unwrap().1;
        assert_eq!(died(json!({"exitCode": "3"})), What::Died(Some(3)));
        assert_eq!(died(json!({"containerExitCode": "137"})), What::Died(Some(137)));
        assert_eq!(died(json!({"exitCode": "many"})), What::Died(None));
        assert_eq!(died(json!({"exitCode": 3})), What::Died(None));
    }

    #[test]
    fn a_network_event_is_about_the_container_it_names() {
        let docker = json!({"container": "c2", "name": "front"});
        assert_eq!(
            of("network", "connect", &docker),
            Some(("c2".to_owned(), What::Changed))
        );
        let podman = json!({"name": "web"});
        assert_eq!(
            of("network", "disconnect", &podman),
            Some(("c1".to_owned(), What::Changed))
        );
    }

    /// L53, R23.
    #[test]
    fn events_are_read_in_the_shapes_of_old_and_new_versions() {
        let old = json!({"status": "die", "id": "c1", "from": "web", "time": 3});
        assert_eq!(read(&old), Some(("c1".to_owned(), What::Died(None))));
        assert_eq!(notice(&old).unwrap().at, Some(3_000_000_000));
        let new = json!({"Type": "container", "Action": "die", "Actor": {"ID": "c1"}, "time": 3, "timeNano": 3_000_000_007_i64});
        assert_eq!(notice(&new).unwrap().at, Some(3_000_000_007));
        for odd in [
            json!(null),
            json!([]),
            json!({}),
            json!({"Type": "container", "Action": "die", "Actor": {"ID": ""}}),
        ] {
            assert_eq!(read(&odd), None, "{odd}");
        }
    }

    /// L10, R2.
    #[test]
    fn the_question_names_the_moment_and_the_events() {
        assert_eq!(question(1_000_000_007, false), "/events?since=1.000000007");
        let filtered = question(0, true);
        assert!(
            filtered.contains("&filters=%7B%22event%22%3A%5B%22start%22%2C%22die%22%2C%22died%22"),
            "{filtered}"
        );
    }

    #[test]
    fn a_line_without_an_end_is_not_read_for_ever() {
        let mut read = Splitter::default();
        read.add(&vec![b' '; LONGEST_LINE]);
        assert!(matches!(read.line(), Ok(None)));
        read.add(b"  ");
        assert!(matches!(read.line(), Err(Error::Unreadable(_))));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_were_cut(
            lines in prop::collection::vec("[a-z]{0,9}\r?", 0..9),
            cut in 1_usize..20,
        ) {
            let sent = lines.join("\n");
            let (mut read, mut seen) = (Splitter::default(), Vec::new());
            for data in sent.as_bytes().chunks(cut) {
                read.add(data);
                while let Some(line) = read.line().unwrap() {
                    seen.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            seen.extend(read.rest().map(|rest| String::from_utf8(rest.to_vec()).unwrap()));
            let wanted: Vec<_> = lines.into_iter().filter(|line| !line.trim().is_empty()).collect();
            prop_assert_eq!(seen, wanted);
        }
    }
}
