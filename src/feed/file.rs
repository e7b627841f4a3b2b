//! Route commands and the page for requests without a route, from the configuration or from files.
//!
//! A file is looked at every second and read again when it is another one. fabio reads it once.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::string::FromUtf8Error;
use std::time::Duration;

use tokio::time::Instant;

use super::metrics::Metrics;
use super::{Outs, tell};
use crate::config::registry::NoRoute;

/// From one look at a file to the next.
const LOOK: Duration = Duration::from_secs(1);
/// A file larger than this is none of ours: a mistyped path must not fill the memory.
const MOST: u64 = 256 << 20;

/// A text, or where it is.
#[derive(Clone, Debug)]
pub enum Text {
    /// The text itself.
    Here(String),
    /// A file with it.
    At(PathBuf),
}

impl From<NoRoute> for Text {
    fn from(page: NoRoute) -> Self {
        match page {
            NoRoute::Html(html) => Self::Here(html),
            NoRoute::File(path) => Self::At(path.into()),
        }
    }
}

/// What tells one file from another without reading it.
type Stamp = (u64, u64, i64, i64);

/// A text that is followed.
#[derive(Debug)]
struct Followed {
    text: Text,
    stamp: Option<Stamp>,
}

impl Followed {
    fn new(text: Text) -> Self {
        Self { text, stamp: None }
    }

    /// The text, where it is new; `None` where it is what it was.
    async fn look(&mut self) -> io::Result<Option<String>> {
        let path = match &self.text {
            Text::Here(_) if self.stamp.is_some() => return Ok(None),
            Text::Here(text) => {
                self.stamp = Some(Stamp::default());
                return Ok(Some(text.clone()));
            }
            Text::At(path) => path.clone(),
        };
        let before = self.stamp;
        let looking = tokio::task::spawn_blocking(move || look_at(&path, before));
        let found = looking.await.unwrap_or_else(|died| Err(io::Error::other(died)))?;
        Ok(found.map(|(stamp, text)| {
            self.stamp = Some(stamp);
            text
        }))
    }
}

fn look_at(path: &PathBuf, before: Option<Stamp>) -> io::Result<Option<(Stamp, String)>> {
    let wrong = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let meta = std::fs::metadata(path).map_err(wrong)?;
    if Some(stamp(&meta)) == before {
        return Ok(None);
    }
    if meta.len() > MOST {
        return Err(wrong(io::Error::other("too large for route commands")));
    }
    let bytes = std::fs::read(path).map_err(wrong)?;
    // A line with bytes that are no text is refused when it is read as a command, no other.
    let lossy = |bad: FromUtf8Error| String::from_utf8_lossy(bad.as_bytes()).into_owned();
    Ok(Some((
        stamp(&meta),
        String::from_utf8(bytes).unwrap_or_else(lossy),
    )))
}

fn stamp(meta: &Metadata) -> Stamp {
    (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())
}

/// Route commands and a page, each from wherever it is.
#[derive(Debug)]
pub struct Files {
    commands: Followed,
    no_route: Followed,
}

impl Files {
    /// Follows both.
    pub fn new(commands: Text, no_route: Text) -> Self {
        Self {
            commands: Followed::new(commands),
            no_route: Followed::new(no_route),
        }
    }

    /// Reads both for the first time; tries again every `retry` for `patience`.
    ///
    /// # Errors
    /// The file that could not be read, and why.
    pub async fn open(&mut self, outs: &Outs, (patience, retry): (Duration, Duration)) -> io::Result<()> {
        let until = Instant::now() + patience;
        loop {
            match self.read(outs).await {
                Ok(()) => break,
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => tokio::time::sleep(retry).await,
            }
        }
        outs.known.send_replace(true);
        Ok(())
    }

    /// Reads again what has changed, for ever. What cannot be read stays as it was.
    pub async fn follow(mut self, outs: &Outs, metrics: &Metrics) {
        loop {
            tokio::time::sleep(LOOK).await;
            let outcome = self.read(outs).await.err();
            metrics.told("file", outcome.as_ref().map(|error| error as _));
        }
    }

    async fn read(&mut self, outs: &Outs) -> io::Result<()> {
        let commands = self.commands.look().await;
        let page = self.no_route.look().await;
        let told =
            |out, found: io::Result<Option<String>>| found.map(|text| text.map(|text| tell(out, text)));
        told(&outs.overrides, commands)
            .and(told(&outs.no_route, page))
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(1));

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes_and_kept_when_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("routes");
        std::fs::write(&path, "route add a / http://10.0.0.1/").unwrap();
        let (outs, inputs) = Outs::new();
        let mut files = Files::new(Text::At(path.clone()), Text::Here("<p>".to_owned()));
        files.open(&outs, ONCE).await.unwrap();
        assert_eq!(&**inputs.overrides.borrow(), "route add a / http://10.0.0.1/");
        assert_eq!(&**inputs.no_route.borrow(), "<p>");
        assert!(*inputs.known.borrow());
        assert!(files.read(&outs).await.is_ok());
        std::fs::write(&path, "route add b / http://10.0.0.1/ ").unwrap();
        files.read(&outs).await.unwrap();
        assert_eq!(&**inputs.overrides.borrow(), "route add b / http://10.0.0.1/ ");
        std::fs::remove_file(&path).unwrap();
        let error = files.read(&outs).await.unwrap_err().to_string();
        assert!(error.contains("routes: No such file"), "{error}");
        assert_eq!(&**inputs.overrides.borrow(), "route add b / http://10.0.0.1/ ");
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_at_the_start_is_waited_for_and_then_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("routes");
        let (outs, inputs) = Outs::new();
        let mut files = Files::new(Text::At(path.clone()), Text::Here(String::new()));
        assert!(files.open(&outs, ONCE).await.is_err());
        assert!(!*inputs.known.borrow());
        let waiting = files.open(&outs, (Duration::from_secs(20), Duration::from_millis(1)));
        let (opened, ()) = tokio::join!(waiting, async { std::fs::write(&path, "").unwrap() });
        opened.unwrap();
        assert!(*inputs.known.borrow());
    }
}
