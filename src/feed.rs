//! Where the balancer's routes come from when they do not come from this agent's own catalog, and how the balancer
//! shows itself in a catalog.
//!
//! Each source ends in the same pictures ([`lb::Inputs`]), so the balancer never learns which one it is. None of them
//! ever takes back what it cannot prove wrong: a question without an answer leaves what was known.
//!
//! | file | |
//! | --- | --- |
//! | `consul.rs` | a foreign Consul: its catalog, and what people wrote into its key-value store |
//! | `file.rs` `custom.rs` `custom/*` | route commands from files, from an HTTP server |
//! | `texts.rs` | keys and values → route commands, pages; pure |
//! | `kv.rs` | a foreign Consul's key-value store, for the balancer |
//! | `snapshot.rs` | the last good pictures on disk |
//! | `presence.rs` | the balancer as services of a catalog |
//! | `metrics.rs` | whether the source can be reached, counted and logged |

pub mod consul;
pub mod custom;
pub mod file;
pub mod kv;
pub mod metrics;
pub mod presence;
pub mod snapshot;
pub mod texts;

use std::sync::Arc;

use catalog::service::META_PORT;
use catalog::{Instance, Picture};
use tokio::sync::watch;

/// Where a source puts what it knows.
#[derive(Debug)]
pub struct Outs {
    /// Every instance that could be routed.
    pub instances: watch::Sender<Picture>,
    /// Route commands.
    pub overrides: watch::Sender<Arc<str>>,
    /// HTML for requests without a route.
    pub no_route: watch::Sender<Arc<str>>,
    /// True once the above are of the source.
    pub known: watch::Sender<bool>,
}

impl Outs {
    /// Nothing known yet, and what the balancer reads it from.
    pub fn new() -> (Self, lb::Inputs) {
        let (instances, pictures) = watch::channel(Picture::new());
        let (overrides, commands) = watch::channel(Arc::from(""));
        let (no_route, page) = watch::channel(Arc::from(""));
        let (known, is_known) = watch::channel(false);
        let inputs = lb::Inputs {
            overrides: commands,
            no_route: page,
            known: is_known,
            ..lb::Inputs::of(pictures)
        };
        let outs = Self {
            instances,
            overrides,
            no_route,
            known,
        };
        (outs, inputs)
    }
}

/// Whether the balancer could route to it: by a tag, or by the container port that our registrator noted. Not what stands
/// beside a service to speak TLS for it: it repeats the service's tags, and half of all requests would meet it.
pub fn could_route(instance: &Instance, tag_prefix: &str) -> bool {
    let spec = &instance.service.spec;
    let tagged = || {
        spec.tags
            .iter()
            .any(|tag| tag.trim_start().starts_with(tag_prefix))
    };
    spec.kind.is_empty() && (tagged() || spec.meta.contains_key(META_PORT))
}

/// Sends a text on, if it is another one.
pub fn tell(out: &watch::Sender<Arc<str>>, text: String) {
    out.send_if_modified(|last| {
        let differs = **last != *text;
        if differs {
            *last = text.into();
        }
        differs
    });
}
