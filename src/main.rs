//! The `lictor` program: an agent with catalog, checks, API, DNS, registrator and balancer, and the
//! commands that talk to one.
//!
//! | file | |
//! | --- | --- |
//! | `cli.rs` | the command line, under four names |
//! | `config.rs` | options as written and as meant |
//! | `agent.rs` | the only assembly: builds parts, binds ports, stops in order |
//! | `task.rs` | closed list of tasks, each with what its death means; signals |
//! | `store.rs` | the state: the one writer, all readers, waiting by topic |
//! | `local.rs` | services and checks this agent vouches for |
//! | `sync.rs` | local table → catalog |
//! | `leader.rs` | duties of one: who is there, what may be forgotten |
//! | `check.rs` | schedule and kinds of checks |
//! | `http.rs` | the table of endpoints; one file a family below it |
//! | `dns.rs` | sockets; the pure answer below it |
//! | `embed.rs` | the in-process halves of both doors |
//! | `reload.rs` | the configuration, read again |
//! | `feed.rs` | other sources of routes; the balancer in a catalog |
//! | `fetch.rs` | one GET, for configuration behind a URL |
//! | `identity.rs` `net.rs` `limits.rs` `telemetry.rs` | who we are, where others reach us, what we may have, logs |
//! | `process.rs` | what the process costs, for whoever scrapes |

mod agent;
mod check;
mod cli;
mod config;
mod dns;
mod embed;
mod feed;
mod fetch;
mod http;
mod identity;
mod leader;
mod limits;
mod local;
mod net;
mod process;
mod reload;
mod store;
mod sync;
mod task;
mod telemetry;

use std::io::Write as _;
use std::process::ExitCode;

use agent::Agent;
use cli::client::Outcome;
use cli::{Invocation, Stream, Usage};
use config::Format;
use telemetry::Log;
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// Level with the system's under glibc, much faster than musl's when linked statically.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    // A variable that is not text configures nothing.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let env = env.collect();
    let outcome = match cli::parse(&args, &env, &config::machine::Here) {
        Ok(invocation) => run(invocation, reload::from_command_line(args, env)),
        Err(Usage {
            text,
            code,
            stream: Stream::Out,
        }) => Outcome {
            out: text.into_bytes(),
            code,
            ..Outcome::default()
        },
        Err(Usage {
            text,
            code,
            stream: Stream::Err,
        }) => Outcome {
            err: text,
            code,
            ..Outcome::default()
        },
    };
    // Only where there is something: whoever writes to a pipe that nobody reads holds its lock for good. And nobody is
    // left to be told that a pipe was closed.
    if !outcome.out.is_empty() {
        let _closed = std::io::stdout().write_all(&outcome.out);
    }
    if !outcome.err.is_empty() {
        let _closed = std::io::stderr().write_all(outcome.err.as_bytes());
    }
    ExitCode::from(outcome.code)
}

fn run(invocation: Invocation, read: reload::Read) -> Outcome {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start threads: {error}")),
    };
    let outcome = runtime.block_on(async {
        match invocation {
            Invocation::Print(text) => Outcome {
                out: text.into_bytes(),
                ..Outcome::default()
            },
            Invocation::Client(call) => cli::client::run(*call).await,
            Invocation::Explain(config, container) => agent::explain(*config, &container).await,
            Invocation::Agent(config) => {
                let level = (config.log_level, Format::Text);
                let build = async |log| Agent::build(*config, reload::Source { read, log }).await;
                serve(level, build).await
            }
            Invocation::Lb(config) => {
                let level = (config.log_level, Format::Text);
                let build = async |log| Agent::build_lb(*config, reload::Source { read, log }).await;
                serve(level, build).await
            }
            Invocation::Registrator(config) => {
                let level = (config.log_level, config.log_format);
                serve(level, async |log| Agent::build_registrator(*config, &log).await).await
            }
        }
    });
    // Whatever is left of blocking work must not hold up an exit that was asked for.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    level: (LevelFilter, Format),
    build: impl AsyncFnOnce(Log) -> Result<Agent, agent::BuildError>,
) -> Outcome {
    let log = match Log::start(level) {
        Ok(log) => log,
        Err(error) => return failed(&format!("cannot start threads: {error}")),
    };
    task::outlive_signals();
    let ended = match build(log.clone()).await {
        Err(error) => Err(error.to_string()),
        Ok(agent) => {
            limits::raise_open_files();
            log.say(Level::INFO, &agent.announcement());
            let ended = agent.run(task::stop_signal()).await;
            ended.map_err(|died| died.to_string())
        }
    };
    // By way of the log, which alone may wait for a reader.
    let outcome = ended.map_or_else(|why| failed(&why), |()| Outcome::default());
    log.say(Level::ERROR, &outcome.err);
    log.finish();
    Outcome {
        err: String::new(),
        ..outcome
    }
}

fn failed(why: &str) -> Outcome {
    Outcome {
        err: format!("==> lictor: {why}\n"),
        code: 1,
        ..Outcome::default()
    }
}
