//! The configuration, read again: on SIGHUP, and when the admin server is asked to.
//!
//! The same command line, environment and files are read as at the start. What is wrong with them is told, all of it, and
//! changes nothing; else the balancer gets what concerns it, and what only a restart changes is named. Owns no
//! configuration.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::cli::{self, Invocation};
use crate::config::machine::Here;
use crate::feed::metrics::Metrics;

/// What was read.
pub struct Fresh {
    /// The balancer's part; `None`: it is switched off.
    pub balancer: Option<lb::Config>,
    /// Everything else, to be compared.
    pub rest: String,
}

/// Reads the configuration; the error is all that is wrong. It may block, and must not be called by a task.
pub type Read = Arc<dyn Fn() -> Result<Fresh, String> + Send + Sync>;

/// How the configuration is read again, and what of it only a restart changes, as it was at the start.
pub struct Source {
    /// Reads it.
    pub read: Read,
    /// See [`Fresh::rest`].
    pub rest: String,
}

impl Source {
    /// Of `lictor lb`.
    pub fn of_lb(config: &crate::config::Lb, read: Read) -> Self {
        let rest = of_lb(config.clone()).rest;
        Self { read, rest }
    }

    /// Of the agent.
    pub fn of_agent(config: &crate::config::Agent, read: Read) -> Self {
        let rest = of_agent(config.clone()).rest;
        Self { read, rest }
    }
}

/// Reads what `main` has read.
pub fn from_command_line(args: Vec<String>, env: BTreeMap<String, String>) -> Read {
    Arc::new(move || match cli::parse(&args, &env, &Here) {
        Ok(Invocation::Lb(config)) => Ok(of_lb(*config)),
        Ok(Invocation::Agent(config)) => Ok(of_agent(*config)),
        Ok(_) => Err("the command line does not start a balancer any more".to_owned()),
        Err(usage) => Err(usage.text),
    })
}

fn of_lb(config: crate::config::Lb) -> Fresh {
    Fresh {
        rest: format!("{:?}", config.registry),
        balancer: Some(config.lb),
    }
}

fn of_agent(mut config: crate::config::Agent) -> Fresh {
    let balancer = config.lb.take();
    Fresh {
        rest: format!("{config:?}"),
        balancer,
    }
}

/// Where requests to read again arrive, and how the balancer gets what was read.
pub struct Reload {
    read: Read,
    balancer: lb::Reloader,
    /// What only this process knows of the balancer's configuration: names of its node and datacenter.
    fill_in: Box<dyn Fn(&mut lb::Config) + Send>,
    requests: mpsc::Receiver<Answer>,
    hangups: Signal,
    rest: String,
    metrics: Metrics,
}

/// Whoever asked for it waits for this: a line for everything that changed, or all that is wrong.
type Answer = oneshot::Sender<Result<Vec<String>, String>>;

impl Reload {
    /// From now on SIGHUP does not end this process any more.
    ///
    /// # Errors
    /// Signals cannot be listened for.
    pub fn new(
        source: Source,
        balancer: lb::Reloader,
        fill_in: Box<dyn Fn(&mut lb::Config) + Send>,
        requests: mpsc::Receiver<Answer>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        Ok(Self {
            rest: source.rest,
            read: source.read,
            balancer,
            fill_in,
            requests,
            hangups: signal(SignalKind::hangup())?,
            metrics,
        })
    }

    /// Reads again whenever it is asked to, one after the other, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), std::convert::Infallible> {
        loop {
            let asker = tokio::select! {
                Some(()) = self.hangups.recv() => None,
                Some(asker) = self.requests.recv() => Some(asker),
                () = stop.cancelled() => return Ok(()),
            };
            let outcome = tokio::select! {
                outcome = self.again() => outcome,
                () = stop.cancelled() => return Ok(()),
            };
            self.metrics.reloaded(&outcome);
            if let Some(asker) = asker {
                // Whoever asked may have left.
                let _ = asker.send(outcome);
            }
        }
    }

    async fn again(&mut self) -> Result<Vec<String>, String> {
        let read = self.read.clone();
        // It reads files, and fetches what is behind a URL.
        let reading = tokio::task::spawn_blocking(move || read());
        let fresh = reading.await.unwrap_or_else(|died| Err(died.to_string()))?;
        let Some(mut config) = fresh.balancer else {
            return Err("only a restart switches the balancer off".to_owned());
        };
        (self.fill_in)(&mut config);
        let mut changed = self
            .balancer
            .apply(config)
            .await
            .map_err(|error| error.to_string())?;
        if self.rest != fresh.rest {
            changed.push(
                "what does not concern listeners and requests: changes with the next restart only".to_owned(),
            );
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    /// A balancer that runs, and a configuration that can be changed under it.
    async fn ask(texts: [Result<&'static str, &'static str>; 2]) -> Result<Vec<String>, String> {
        let written = Arc::new(Mutex::new(texts[0]));
        let read: Read = Arc::new({
            let written = written.clone();
            move || match *written.lock().unwrap() {
                Ok(rest) => Ok(Fresh {
                    balancer: Some(config()),
                    rest: rest.to_owned(),
                }),
                Err(why) => Err(why.to_owned()),
            }
        });
        let (outs, inputs) = crate::feed::Outs::new();
        outs.known.send_replace(true);
        let balancer = config().build(inputs, &prometheus::Registry::new()).unwrap();
        let (ask, requests) = mpsc::channel(1);
        let (reloader, metrics) = (balancer.reloader(), Metrics::new());
        let source = Source {
            read,
            rest: texts[0].unwrap().to_owned(),
        };
        let reload = Reload::new(source, reloader, Box::new(|_| {}), requests, metrics).unwrap();
        *written.lock().unwrap() = texts[1];
        let stop = CancellationToken::new();
        let running = tokio::spawn(balancer.run(stop.clone()));
        let reloading = tokio::spawn(reload.run(stop.clone()));
        let (answer, told) = oneshot::channel();
        ask.send(answer).await.unwrap();
        let told = tokio::time::timeout(Duration::from_secs(20), told)
            .await
            .unwrap()
            .unwrap();
        stop.cancel();
        running.await.unwrap().unwrap();
        reloading.await.unwrap().unwrap();
        told
    }

    fn config() -> lb::Config {
        lb::Config {
            listeners: Vec::new(),
            ui: None,
            workers: 1,
            ..lb::Config::default()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn faults_are_told_and_nothing_else_happens() {
        assert_eq!(
            ask([Ok("a"), Err("proxy.addr: nonsense")]).await.unwrap_err(),
            "proxy.addr: nonsense"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_only_a_restart_changes_is_named() {
        let told = ask([Ok("a"), Ok("b")]).await.unwrap();
        assert!(told.iter().any(|line| line.contains("restart")), "{told:?}");
        let told = ask([Ok("a"), Ok("a")]).await.unwrap();
        assert!(told.is_empty(), "{told:?}");
    }
}
