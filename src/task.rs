//! The closed list of long-lived tasks, what the death of each means, and the order of stopping.
//!
//! A task is a token in and a future out; together they are the shutdown protocol. Tasks stop in the
//! order they were started here, each awaited before the next is told, all under one deadline.

use std::fmt;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Every task of the process. The order is that of stopping: traffic first, truth last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Requests to read the configuration again.
    Reload,
    /// The balancer's own entries in a catalog.
    Presence,
    /// Listeners, routing table and connections of the balancer.
    Balancer,
    /// Pictures of the catalog on their way to the balancer.
    Feed,
    /// Containers to registrations.
    Registrator,
    /// Results of checks on their way to the local table.
    Checks,
    /// The periodic comparison of local table and catalog.
    Sync,
    /// Timers of the leader.
    Leader,
    /// The HTTP API.
    Http,
    /// DNS over UDP and TCP.
    Dns,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reload => "reload",
            Self::Presence => "presence",
            Self::Balancer => "balancer",
            Self::Feed => "feed",
            Self::Registrator => "registrator",
            Self::Checks => "checks",
            Self::Sync => "sync",
            Self::Leader => "leader",
            Self::Http => "http",
            Self::Dns => "dns",
        })
    }
}

/// A task ended although nobody had asked it to. The state of the process is unknown from there
/// on, so it ends: a restart is safer.
#[derive(Debug, thiserror::Error)]
#[error("{task} ended unexpectedly: {reason}")]
pub struct Died {
    /// Which one.
    pub task: Task,
    /// Its error, or the text of its panic.
    pub reason: String,
}

/// The tasks that run.
pub struct Tasks {
    running: Vec<(Task, CancellationToken)>,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
}

/// An error has a cause that a user may mend; a panic is a mistake of ours.
const OURS: &str = "; please report this with the lines above it";

type Ended = (Task, Result<(), String>);

impl Tasks {
    /// None yet.
    pub fn new() -> Self {
        Self {
            running: Vec::new(),
            ended: mpsc::unbounded_channel(),
        }
    }

    /// Starts a task, which must end soon after its token fires, and only then.
    pub fn spawn<F, E>(&mut self, task: Task, start: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let stop = CancellationToken::new();
        let running = tokio::spawn(start(stop.clone()));
        let ended = self.ended.0.clone();
        self.running.push((task, stop));
        tokio::spawn(async move {
            let outcome = match running.await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(panic) => Err(format!("{panic}{OURS}")),
            };
            // Nobody listens any more only once the process is past stopping.
            let _unheard = ended.send((task, outcome));
        });
    }

    /// Waits until a task ends by itself. Does not return while all is well.
    pub async fn death(&mut self) -> Died {
        match self.ended.1.recv().await {
            Some((task, outcome)) => {
                self.running.retain(|(running, _)| *running != task);
                let reason = outcome.err().unwrap_or_else(|| format!("no error given{OURS}"));
                Died { task, reason }
            }
            None => std::future::pending().await,
        }
    }

    /// Stops every task in order. Those that have not ended by `limit` from now are left behind
    /// and named in the log.
    pub async fn stop(mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut over = Vec::new();
        for (task, stop) in std::mem::take(&mut self.running) {
            stop.cancel();
            while !over.contains(&task) {
                match tokio::time::timeout_at(deadline, self.ended.1.recv()).await {
                    Ok(Some((ended, outcome))) => {
                        over.push(ended);
                        if let Err(error) = outcome {
                            tracing::warn!(task = %ended, error, "task ended with an error while stopping");
                        }
                    }
                    Ok(None) | Err(_) => {
                        tracing::warn!(%task, "task did not end in time");
                        break;
                    }
                }
            }
        }
    }
}

/// From now on SIGHUP and SIGUSR1 do not end the process, and will not again: who reads a configuration or opens a log
/// anew listens for them as well, and where nobody does, nothing is what they shall do.
pub fn outlive_signals() {
    for kind in [SignalKind::hangup(), SignalKind::user_defined1()] {
        if let Err(error) = signal(kind) {
            tracing::error!(%error, signal = kind.as_raw_value(), "cannot listen for a signal; it ends the process");
        }
    }
}

/// Resolves at SIGINT or SIGTERM, and says which.
pub async fn stop_signal() -> &'static str {
    let streams = signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
    match streams {
        Ok((mut interrupt, mut terminate)) => tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        },
        Err(error) => {
            tracing::error!(%error, "cannot listen for signals; the process can only be killed");
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn tasks_stop_in_the_order_they_were_started_one_after_the_other() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::new();
        for task in [Task::Balancer, Task::Registrator, Task::Http] {
            let order = order.clone();
            tasks.spawn(task, |stop| async move {
                stop.cancelled().await;
                order.lock().unwrap().push(task);
                Ok::<_, String>(())
            });
        }
        tasks.stop(Duration::from_secs(5)).await;
        assert_eq!(
            *order.lock().unwrap(),
            [Task::Balancer, Task::Registrator, Task::Http]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_left_behind_at_the_deadline() {
        let mut tasks = Tasks::new();
        tasks.spawn(Task::Dns, |_| std::future::pending::<Result<(), String>>());
        let before = Instant::now();
        tasks.stop(Duration::from_secs(5)).await;
        assert_eq!(before.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_panic_and_an_error_are_deaths_that_name_the_task() {
        let mut tasks = Tasks::new();
        tasks.spawn(Task::Dns, |_| async { Err::<(), _>("socket gone") });
        let died = tasks.death().await;
        assert_eq!((died.task, died.reason.as_str()), (Task::Dns, "socket gone"));
        tasks.spawn(Task::Http, |_| async {
            let nothing = std::hint::black_box(None::<Result<(), &str>>);
            nothing.expect("something")
        });
        let died = tasks.death().await;
        assert!(
            died.task == Task::Http && died.reason.ends_with(OURS),
            "{}",
            died.reason
        );
    }
}
