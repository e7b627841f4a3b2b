//! Programs run inside a container, as checks want them: exit code, a little of what it printed, a time limit.
//!
//! What is run is the caller's choice; nothing here runs on the host. An engine has no way to end such a program: after
//! the time limit nobody listens to it any more, but it runs on inside.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::refusal;
use super::{Docker, Error, read};

/// So much of the end of the output is kept, as Consul keeps of its checks.
const MOST_OUTPUT: usize = 4096;
/// Engines tell nobody that such a program has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Before each piece of output: which stream, three zeros, length.
const PIECE_HEAD: usize = 8;

/// Runs programs inside containers of the engine that the registrator follows, wherever that is at the moment.
#[derive(Clone, Debug)]
pub struct Inside {
    docker: watch::Receiver<Option<Docker>>,
}

/// What came of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it returned.
    pub code: i64,
    /// The last 4096 bytes of what it printed, both streams in the order they came.
    pub output: String,
}

/// Why it is not known what came of a program.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no engine to ask; later there may be.
    #[error("the container engine is not there")]
    NoEngine,
    /// There is no such container, or none that runs.
    #[error("container {container}: {reason}")]
    NoContainer {
        /// As asked for.
        container: String,
        /// In the engine's words.
        reason: String,
    },
    /// The program had not ended in time.
    #[error("no end within {} s", .limit.as_secs_f64())]
    Late {
        /// The time it had.
        limit: Duration,
    },
    /// The engine did not do it; it may be tried again.
    #[error("{0}")]
    Engine(String),
}

impl Inside {
    pub(crate) fn new(docker: watch::Receiver<Option<Docker>>) -> Self {
        Self { docker }
    }

    /// Runs `command` (program and arguments, no shell) in a container given by id or name, with `environment`
    /// (`NAME=value`) beside the container's own; all of it within `limit`.
    ///
    /// # Errors
    /// When it is not known what came of it, and why.
    pub async fn run(
        &self,
        container: &str,
        command: &[String],
        environment: &[String],
        limit: Duration,
    ) -> Result<Outcome, ExecError> {
        let docker = self.docker.borrow().clone().ok_or(ExecError::NoEngine)?;
        let ended = timeout(limit, docker.run(container, command, environment)).await;
        ended
            .map_err(|_| ExecError::Late { limit })?
            .map_err(|error| match error {
                // There is none, or it does not run. Podman says the latter with 500.
                Error::Refused {
                    status: 404 | 409,
                    message: reason,
                } => ExecError::NoContainer {
                    container: container.to_owned(),
                    reason,
                },
                error => ExecError::Engine(error.to_string()),
            })
    }
}

impl Docker {
    async fn run(
        &self,
        container: &str,
        command: &[String],
        environment: &[String],
    ) -> Result<Outcome, Error> {
        let wish = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": command, "Env": environment});
        let path = self.path(&format!("/containers/{container}/exec"));
        let made = self
            .inner
            .client
            .post(&path, wish.to_string().into())
            .await?
            .checked()?;
        let made: Value = read(&made)?;
        let Some(id) = made["Id"].as_str() else {
            return Err(Error::Unreadable("the program to be run has no id".to_owned()));
        };
        let path = self.path(&format!("/exec/{id}/start"));
        let start = Bytes::from_static(br#"{"Detach": false, "Tty": false}"#);
        let response = self.inner.client.open(Method::POST, &path, start).await?;
        let status = response.status();
        let output = printed(response.into_body()).await?;
        if !status.is_success() {
            return Err(refusal(status, &output.plain));
        }
        Ok(Outcome {
            code: self.exit_code(id).await?,
            output: String::from_utf8_lossy(&output.pieces).into_owned(),
        })
    }

    /// What a program returned; waits for its end, which an engine may notice after that of its output.
    async fn exit_code(&self, id: &str) -> Result<i64, Error> {
        loop {
            let program: Value = read(&self.get(&format!("/exec/{id}/json")).await?)?;
            if program["Running"] != Value::Bool(true) {
                let code = program["ExitCode"].as_i64();
                return code
                    .ok_or_else(|| Error::Unreadable("a program that ended has no exit code".to_owned()));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

struct Printed {
    /// The end of what the program printed.
    pieces: Vec<u8>,
    /// The end of the body as it came: of a refusal that is the reason.
    plain: Vec<u8>,
}

/// Reads a body of pieces to its end, of which only the last bytes are kept.
async fn printed(mut body: Incoming) -> Result<Printed, Error> {
    let (mut pieces, mut plain) = (Tail::default(), Tail::default());
    let (mut buffer, mut rest) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Engine(format!("its output broke off: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        plain.add(data);
        buffer.extend_from_slice(data);
        split(&mut buffer, &mut rest, &mut pieces);
    }
    Ok(Printed {
        pieces: pieces.0.into(),
        plain: plain.0.into(),
    })
}

/// Takes what can be taken off `buffer`; `rest` is what the present piece still lacks.
fn split(buffer: &mut BytesMut, rest: &mut usize, pieces: &mut Tail) {
    loop {
        let here = buffer.split_to((*rest).min(buffer.len()));
        *rest -= here.len();
        pieces.add(&here);
        if *rest > 0 || buffer.len() < PIECE_HEAD {
            return;
        }
        buffer.advance(PIECE_HEAD - size_of::<u32>());
        *rest = buffer.get_u32() as usize;
    }
}

/// The last bytes of many.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        let news = &bytes[bytes.len().saturating_sub(MOST_OUTPUT)..];
        let too_many = (self.0.len() + news.len()).saturating_sub(MOST_OUTPUT);
        self.0.drain(..too_many);
        self.0.extend(news);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(stream: u8, text: &[u8]) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], text].concat()
    }

    proptest! {
        #[test]
        fn output_is_put_together_however_it_was_cut(
            texts in prop::collection::vec("[a-z\n]{0,2000}", 0..6),
            cut in 1_usize..3000,
        ) {
            let sent: Vec<u8> = texts.iter().flat_map(|text| piece(1, text.as_bytes())).collect();
            let (mut buffer, mut rest, mut pieces) = (BytesMut::new(), 0, Tail::default());
            for data in sent.chunks(cut) {
                buffer.extend_from_slice(data);
                split(&mut buffer, &mut rest, &mut pieces);
            }
            let whole = texts.concat();
            let end = &whole[whole.len().saturating_sub(MOST_OUTPUT)..];
            prop_assert_eq!(Vec::from(pieces.0), end.as_bytes());
        }
    }
}
