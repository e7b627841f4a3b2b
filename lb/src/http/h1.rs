//! A client's connection of HTTP/1.1, under the eyes of `patience.rs`. It begins as one on which everything is common,
//! and is hyper's from the first request on that is not.
//!
//! | file | |
//! | --- | --- |
//! | `h1/direct.rs` | the common exchange: read, answered and written by the connection's own task |
//! | `h1/by_hyper.rs` | all others |

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use crate::arrival::Stream;
use crate::http::Client;
use crate::http::patience::{Patience, Progress, Verdict};
use crate::http::sniff::Replayed;

mod by_hyper;
mod direct;

use direct::Standing;

/// Serves it until either side ends it, it idles too long, or it shall stop and its request is answered.
pub(super) async fn serve<S: Stream>(client: Rc<Client>, stream: Replayed<S>, mut patience: Patience) {
    let standing = Standing::default();
    client.plain.set(true);
    let uncommon = {
        let serving = pin!(direct::serve(&client, stream, &standing));
        let progress = || standing.progress(&client.tally);
        in_time((&client, &mut patience), &standing.ends, progress, serving).await
    };
    client.plain.set(false);
    if let Some(Some(stream)) = uncommon {
        // Boxed, or each connection would be as large as one of hyper's.
        Box::pin(by_hyper::serve(client, (stream, &standing), patience)).await;
    }
}

/// Lets a connection be served until that is over. `None`: its client was out of time. Where `ends` is set, it is to
/// finish what is under way and begin nothing.
async fn in_time<T>(
    (client, patience): (&Client, &mut Patience),
    ends: &Cell<bool>,
    progress: impl Fn() -> Progress,
    serving: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let watching = async {
        // What is there already is read first, so that the time of a head begins with it.
        yield_now().await;
        let mut stopped = pin!(client.stopped());
        let mut tick = interval(patience.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stopped, if !ends.get() => ends.set(true),
                now = tick.tick() => match patience.look(progress(), now) {
                    Verdict::Fine => {}
                    Verdict::Idle => ends.set(true),
                    Verdict::Late => break,
                }
            }
        }
    };
    // Looked at when it is its turn, and not at every word on the connection.
    let mut watching = FuturesUnordered::from_iter([watching]);
    tokio::select! {
        // In this order, so that no answer is written after the stop without saying that it is the last.
        biased;
        _ = watching.next() => None,
        served = serving => Some(served),
    }
}
