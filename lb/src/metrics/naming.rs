//! What all names of metrics begin with, and how a route is called where labels are part of the name.

use super::template::{NAME_FIELDS, PREFIX_FIELDS, Template, clean};
use crate::config::{self, BadValue};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// `metrics.prefix`, worked out. Without a dot at its end.
    pub prefix: String,
    /// `metrics.names`.
    pub route: Template,
}

impl Naming {
    /// # Errors
    /// When either is no template.
    pub(crate) fn of(settings: &config::Metrics) -> Result<Self, BadValue> {
        let prefix = match &*settings.prefix {
            "default" => config::Metrics::default().prefix,
            other => other.to_owned(),
        };
        let prefix = Template::parse("metrics.prefix", &prefix, PREFIX_FIELDS)?;
        let prefix = prefix.render(|field| match field {
            "Hostname" => hostname(),
            _ => program(),
        });
        Self::with(settings, &prefix)
    }

    /// With a prefix that is no template.
    pub(super) fn with(settings: &config::Metrics, prefix: &str) -> Result<Self, BadValue> {
        Ok(Self {
            prefix: prefix.trim_end_matches('.').to_owned(),
            route: Template::parse("metrics.names", &settings.names, NAME_FIELDS)?,
        })
    }

    /// The prefix as Prometheus can spell it, with what joins it to a name.
    pub(super) fn namespace(&self, subsystem: &str) -> String {
        [&*self.prefix, subsystem]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| format!("{}_", spelled(&clean(part))))
            .collect()
    }
}

/// As Prometheus can spell it.
pub(super) fn spelled(text: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    text.chars().map(plain).collect()
}

/// The machine's name, as the kernel has it.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name that this program was called by.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&called).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
