//! One run of a program inside the container that asks for it: never on the host.
//!
//! No engine can end such a program. One that outlives its time is left alone, and until it has ended no other is
//! begun: a check that hangs must not fill its container with processes.

use std::time::Duration;

use catalog::Status;
use catalog::check::Program;
use registrator::{ExecError, Inside};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::Outcome;
use super::tcp::patience;

/// After this long nobody waits for the end of a program any more.
const LONGEST: Duration = Duration::from_secs(3600);

/// A program that has outlived its time.
#[derive(Default)]
pub(super) struct Lingering(Option<AbortOnDropHandle<Result<registrator::Outcome, ExecError>>>);

pub(super) async fn run(program: &Program, inside: Option<&Inside>, lingering: &mut Lingering) -> Outcome {
    if lingering.0.as_ref().is_some_and(|last| !last.is_finished()) {
        return Outcome::critical("the program of an earlier run has not ended");
    }
    let Some(inside) = inside.cloned() else {
        return Outcome::critical("this agent has no registrator, whose engine would run the program");
    };
    let Program { container, args, .. } = program.clone();
    let running = async move { inside.run(&container, &args, &[], LONGEST).await };
    let mut running = AbortOnDropHandle::new(tokio::spawn(running));
    let patience = patience(program.timeout);
    match timeout(patience, &mut running).await {
        Ok(Ok(Ok(ended))) => Outcome {
            status: verdict(ended.code),
            output: ended.output,
        },
        Ok(Ok(Err(error))) => Outcome::critical(error.to_string()),
        Ok(Err(died)) => Outcome::critical(died.to_string()),
        Err(_) => {
            lingering.0 = Some(running);
            Outcome::critical(format!("Timed out ({patience:?}) running check"))
        }
    }
}

fn verdict(code: i64) -> Status {
    match code {
        0 => Status::Passing,
        1 => Status::Warning,
        _ => Status::Critical,
    }
}
