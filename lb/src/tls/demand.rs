//! A name that a client asks for and that no certificate is there for yet, on its way to a source that makes them.

use tokio::sync::{mpsc, oneshot};

/// One client's wish.
#[derive(Debug)]
pub(crate) struct Demand {
    /// The name, lower case.
    pub(crate) name: Box<str>,
    /// Dropped or answered when there is no more to wait for, whatever came of it.
    pub(crate) done: oneshot::Sender<()>,
}

/// Asks, and waits until the certificate is there or cannot be had. A source with too much to do already is not
/// waited for.
pub(crate) async fn wait_for(source: &mpsc::Sender<Demand>, name: &str) {
    let (done, answered) = oneshot::channel();
    let name = name.into();
    if source.try_send(Demand { name, done }).is_ok() {
        // An error says that it was dropped, which is an answer too.
        let _ = answered.await;
    }
}
