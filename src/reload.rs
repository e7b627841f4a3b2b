//! The configuration, read again: on SIGHUP, and when the admin server is asked to.
//!
//! The same command line, environment and files are read as at the start. What is wrong with them is told, all of it, and
//! changes nothing. Else each option that differs is named: in effect, or waiting for a restart, in which case it is
//! taken over as it was, so that what is shown as the configuration is what holds. Owns what was written for each option.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use crate::cli::{self, Invocation};
use crate::config::machine::Here;
use crate::config::settings::Settings;
use crate::feed::metrics::Metrics;
use crate::telemetry::Log;

/// What was read, with everything that only a restart changes as it is.
pub struct Fresh {
    /// The balancer's part.
    pub balancer: lb::Config,
    /// How much to log.
    pub log_level: LevelFilter,
    /// What was written.
    pub settings: Settings,
}

/// Reads the configuration for a process with these settings; the error is all that is wrong. It may block, and must not
/// be called by a task.
pub type Read = Arc<dyn Fn(&Settings) -> Result<Fresh, String> + Send + Sync>;

/// How the configuration is read again, and where what is not the balancer's goes.
pub struct Source {
    /// Reads it.
    pub read: Read,
    /// What is logged.
    pub log: Log,
}

/// Reads what `main` has read.
pub fn from_command_line(args: Vec<String>, env: BTreeMap<String, String>) -> Read {
    Arc::new(
        move |settings| match cli::parse_again(&args, &env, &Here, settings) {
            Ok(Invocation::Lb(config)) => Ok(Fresh {
                balancer: config.lb,
                log_level: config.log_level,
                settings: config.settings,
            }),
            Ok(Invocation::Agent(config)) => Ok(Fresh {
                balancer: config.lb.ok_or("the balancer is switched off")?,
                log_level: config.log_level,
                settings: config.settings,
            }),
            Ok(_) => Err("the command line does not start a balancer any more".to_owned()),
            Err(usage) => Err(usage.text.trim_end().to_owned()),
        },
    )
}

/// Where requests to read again arrive, and how the balancer gets what was read.
pub struct Reload {
    source: Source,
    settings: Settings,
    balancer: lb::Reloader,
    /// What only this process knows of the balancer's configuration: names of its node and datacenter.
    fill_in: Box<dyn Fn(&mut lb::Config) + Send>,
    requests: mpsc::Receiver<Answer>,
    admin_over_tls: watch::Sender<bool>,
    hangups: Signal,
    metrics: Metrics,
}

/// Whoever asked for it waits for this: a line for everything that differs, or all that is wrong.
type Answer = oneshot::Sender<Result<Vec<String>, String>>;

impl Reload {
    /// From now on SIGHUP does not end this process any more. `settings` are those of the start.
    ///
    /// # Errors
    /// Signals cannot be listened for.
    pub fn new(
        (source, settings): (Source, Settings),
        balancer: lb::Reloader,
        fill_in: Box<dyn Fn(&mut lb::Config) + Send>,
        requests: mpsc::Receiver<Answer>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        Ok(Self {
            source,
            settings,
            balancer,
            fill_in,
            requests,
            admin_over_tls: watch::Sender::new(false),
            hangups: signal(SignalKind::hangup())?,
            metrics,
        })
    }

    /// Whether the admin server speaks TLS: as it does at the start, then as of each configuration in effect.
    pub fn admin_over_tls(&self, at_first: bool) -> watch::Receiver<bool> {
        self.admin_over_tls.send_replace(at_first);
        self.admin_over_tls.subscribe()
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
        let (read, before) = (self.source.read.clone(), self.settings.clone());
        // It reads files, and fetches what is behind a URL.
        let reading = tokio::task::spawn_blocking(move || read(&before));
        let mut fresh = reading.await.unwrap_or_else(|died| Err(died.to_string()))?;
        (self.fill_in)(&mut fresh.balancer);
        let over_tls = admin_over_tls(&fresh.balancer);
        let listeners = self
            .balancer
            .apply(fresh.balancer)
            .await
            .map_err(|error| error.to_string())?;
        self.admin_over_tls.send_replace(over_tls);
        self.source.log.set_level(fresh.log_level);
        let changed = fresh.settings.differing(&self.settings).into_iter();
        let waiting = fresh.settings.waiting().iter();
        let changed = changed.map(|row| match fresh.settings.waiting().contains(&row.name) {
            // The one option that lasts in part.
            true => format!("{}: in effect, but for its address", row.name),
            false => format!("{}: in effect", row.name),
        });
        let waiting = waiting.map(|name| format!("{name}: needs a restart"));
        let lines = changed.chain(listeners).chain(waiting).collect();
        self.settings = fresh.settings;
        Ok(lines)
    }
}

/// Whether the admin server of this configuration speaks TLS.
pub fn admin_over_tls(config: &lb::Config) -> bool {
    config.ui.as_ref().is_some_and(|ui| ui.listener.tls.is_some())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What is answered where the properties of `lictor lb` were these and are those.
    async fn ask(before: &str, after: &str) -> Result<Vec<String>, String> {
        ask_of_admin(before, after).await.0
    }

    /// The same, and whether the admin server speaks TLS from then on.
    async fn ask_of_admin(before: &str, after: &str) -> (Result<Vec<String>, String>, bool) {
        let properties = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| {
            let ports = "proxy.addr = 127.0.0.1:0\nui.addr = 127.0.0.1:0\nproxy.workers = 1\n";
            std::fs::write(properties.path(), format!("{ports}{text}")).unwrap();
        };
        write(before);
        let cfg = properties.path().display().to_string();
        let args = ["lictor", "lb", "-cfg", &cfg].map(str::to_owned);
        let Ok(Invocation::Lb(config)) = cli::parse(&args, &BTreeMap::new(), &Here) else {
            panic!("{before:?} means nothing");
        };
        let (outs, inputs) = crate::feed::Outs::new();
        outs.known.send_replace(true);
        let over_tls = admin_over_tls(&config.lb);
        let balancer = config.lb.build(inputs, &prometheus::Registry::new()).unwrap();
        let (ask, requests) = mpsc::channel(1);
        let (reloader, metrics) = (balancer.reloader(), Metrics::new());
        let source = Source {
            read: from_command_line(args.to_vec(), BTreeMap::new()),
            log: Log::none(),
        };
        let source = (source, config.settings);
        let reload = Reload::new(source, reloader, Box::new(|_| {}), requests, metrics).unwrap();
        let over_tls = reload.admin_over_tls(over_tls);
        write(after);
        let stop = CancellationToken::new();
        let running = tokio::spawn(balancer.run(stop.clone()));
        let reloading = tokio::spawn(reload.run(stop.clone()));
        let mut told = Vec::new();
        // The second time nothing has changed, but what waits goes on waiting.
        for _ in 0..2 {
            let (answer, outcome) = oneshot::channel();
            ask.send(answer).await.unwrap();
            let outcome = tokio::time::timeout(Duration::from_secs(20), outcome).await;
            told.push(outcome.unwrap().unwrap());
        }
        stop.cancel();
        running.await.unwrap().unwrap();
        reloading.await.unwrap().unwrap();
        let again = told.remove(1);
        let waits = |line: &&String| line.ends_with("restart");
        let waiting = |lines: &Vec<String>| lines.iter().filter(waits).cloned().collect::<Vec<_>>();
        assert_eq!(again.as_ref().ok(), told[0].as_ref().ok().map(waiting).as_ref());
        (told.remove(0), *over_tls.borrow())
    }

    /// What is read of an agent that was started with one text of its configuration file and finds another.
    fn of_agent(before: &str, after: &str) -> Fresh {
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        std::fs::write(file.path(), before).unwrap();
        let path = file.path().display().to_string();
        let args = ["lictor", "agent", "-dev", "-config-file", &path].map(str::to_owned);
        let Ok(Invocation::Agent(config)) = cli::parse(&args, &BTreeMap::new(), &Here) else {
            panic!("{before:?} means nothing");
        };
        std::fs::write(file.path(), after).unwrap();
        from_command_line(args.to_vec(), BTreeMap::new())(&config.settings).unwrap()
    }

    #[test]
    fn what_waits_for_a_restart_is_taken_over_and_shown_as_it_was() {
        let before = r#"{"datacenter": "one", "proxy": {"matcher": "glob"}}"#;
        let after = r#"{"datacenter": "two", "log_level": "debug", "proxy": {"noroutestatus": 410}}"#;
        let fresh = of_agent(before, after);
        assert_eq!(fresh.settings.waiting(), ["datacenter", "proxy.matcher"]);
        assert_eq!(fresh.log_level, LevelFilter::DEBUG);
        let (balancer, shown) = (&fresh.balancer, &fresh.balancer.shown["Proxy"]);
        assert_eq!((&*balancer.datacenter, balancer.no_route_status), ("one", 410));
        assert_eq!(
            (&shown["Matcher"], &shown["NoRouteStatus"]),
            (&"glob".into(), &410.into())
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_admin_server_takes_a_renamed_certificate_source_and_keeps_its_address() {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().display();
        // The last line of a key is the one that counts.
        let with = |name: &str, admin: &str| {
            format!("proxy.cs = cs={name};type=path;cert={certs}\nui.addr = {admin}\n")
        };
        let before = with("a", "127.0.0.1:0;cs=a");
        let told = ask(&before, &with("b", "127.0.0.1:0;cs=b;tlsmin=tls13")).await;
        assert_eq!(told.unwrap(), ["proxy.cs: in effect", "ui.addr: in effect"]);
        let told = ask(&before, &with("b", "cs=b;addr=127.0.0.1:1")).await;
        let expected = [
            "proxy.cs: in effect",
            "ui.addr: in effect, but for its address",
            "ui.addr: needs a restart",
        ];
        assert_eq!(told.unwrap(), expected);
        let (told, over_tls) = ask_of_admin(&before, &with("a", "127.0.0.1:0")).await;
        assert_eq!(
            (told.unwrap(), over_tls),
            (vec!["ui.addr: in effect".to_owned()], false)
        );
        let (told, over_tls) = ask_of_admin(&with("a", "127.0.0.1:0"), &before).await;
        assert_eq!(
            (told.unwrap(), over_tls),
            (vec!["ui.addr: in effect".to_owned()], true)
        );
        let told = ask(&before, &with("a", "127.0.0.1:1;cs=a")).await;
        assert_eq!(told.unwrap(), ["ui.addr: needs a restart"]);
        let told = ask(&before, &with("b", "")).await.unwrap_err();
        assert!(told.contains("unknown certificate source \"a\""), "{told}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn faults_are_told_a_line_each_without_what_is_for_a_terminal() {
        let wrong = "proxy.noroutestatus = many\nproxy.workers = many\n";
        let told = ask("", wrong).await.unwrap_err();
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(!told.contains("FATAL") && !told.ends_with('\n'), "{told}");
        let usage = |words: &[&str]| {
            let args: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            from_command_line(args, BTreeMap::new())(&Settings::new(crate::config::options::Command::Agent))
        };
        let told = usage(&["lictor", "agent", "-dev", "-http-port", "many"])
            .err()
            .unwrap();
        assert!(
            told.lines().count() == 1 && told.starts_with("invalid value"),
            "{told}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn faults_are_told_and_nothing_else_happens() {
        // Also of what would wait for a restart.
        for wrong in ["proxy.noroutestatus = many", "proxy.workers = many"] {
            let told = ask("", wrong).await.unwrap_err();
            assert!(told.contains("many"), "{told}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_option_that_differs_is_named_in_effect_or_waiting_and_no_secret_is_told() {
        assert_eq!(ask("", "").await, Ok(Vec::new()));
        // Written otherwise, and the same.
        let same = ask("proxy.dialtimeout = 1s", "proxy.dialtimeout = 1000ms").await;
        assert_eq!(same, Ok(Vec::new()));
        let before = "ui.token = s3cret\nregistry.consul.token = one\nproxy.strategy = rr\n";
        let after = "ui.token = 0ther\nregistry.consul.token = two\nproxy.strategy = p2c\nlog.level = DEBUG\n\
                     proxy.workers = 3\nmetrics.target = prometheus\n";
        let told = ask(before, after).await.unwrap();
        let expected = [
            "ui.token: in effect",
            "proxy.strategy: in effect",
            "log.level: in effect",
            "proxy.workers: needs a restart",
            "metrics.target: needs a restart",
            "registry.consul.token: needs a restart",
        ];
        assert_eq!(told, expected);
    }
}
