//! What a registrator thinks, for people and programs that ask: each container, what it is registered as, what of
//! it is not, and which rule says so. Data and how it is written; nothing is decided here.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::container::short;
use crate::registry::{Offer, Reason};
use crate::services::Fault;

/// Everything a registrator thinks.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whether every container was looked at.
    pub surveyed: bool,
    /// In the order they were given.
    pub registries: Vec<Registrar>,
    /// By id.
    pub containers: Vec<Account>,
}

/// How one registry does.
#[derive(Clone, Debug)]
pub struct Registrar {
    /// Its URI, without what is secret in it.
    pub name: String,
    /// Whether it has ever said what it holds.
    pub read: bool,
    /// Why it cannot be reached or read, where it could not when last asked.
    pub unreachable: Option<String>,
    /// Entries that differ from what is wanted.
    pub waiting: usize,
    /// Entries whose last write has failed, by key.
    pub failures: Vec<(Arc<str>, Failure)>,
}

/// One container.
#[derive(Clone, Debug)]
pub struct Account {
    /// The full id.
    pub id: Arc<str>,
    /// Its name.
    pub name: String,
    /// The image as the user wrote it.
    pub image: String,
    /// What it is doing, in few words.
    pub state: String,
    /// What it is registered as, or is to be.
    pub services: Vec<Service>,
    /// What is not registered, and which rule says so.
    pub left_out: Vec<Reason>,
    /// What is as told, and perhaps not as meant.
    pub remarks: Vec<Reason>,
    /// Settings that were not understood.
    pub(crate) faults: Vec<Fault>,
}

/// One service of a container.
#[derive(Clone, Debug)]
pub struct Service {
    /// What registries are told of it.
    pub offer: Arc<Offer>,
    /// Where it stands in each, in the order of [`Report::registries`].
    pub places: Vec<Place>,
}

/// Where a service stands in a registry.
#[derive(Clone, Debug)]
pub struct Place {
    /// The registry's name.
    pub registry: String,
    /// As far as is known.
    pub standing: Standing,
    /// What went wrong last, where nothing has worked since.
    pub failure: Option<Failure>,
}

/// A write that has failed, and is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `register`, `refresh` or `deregister`; `read` where the registry has not said what it holds.
    pub operation: &'static str,
    /// What the registry said.
    pub error: String,
    /// How often in a row.
    pub times: u32,
}

/// What a registry holds of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not said, or not since a write failed.
    Unknown,
    /// All of it.
    Registered,
    /// Something else, which is to be written over.
    Outdated,
    /// Nothing yet.
    Lacking,
    /// Nothing: it tells no health, and the container is not fit.
    Withheld,
    /// Somebody else's entry.
    Taken,
    /// Nothing: it cannot hold such a service. Which setting would help, and the reason.
    Impossible(String),
}

impl Report {
    /// Whether all containers were compared with what each registry holds.
    #[must_use]
    pub fn has_compared(&self) -> bool {
        self.surveyed && self.registries.iter().all(|registry| registry.read)
    }

    /// As an object of JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let failure = |(key, failure): &(Arc<str>, Failure)| {
            let mut object = failure.json();
            object["key"] = (**key).into();
            object
        };
        let registry = |registry: &Registrar| {
            json!({
                "name": registry.name,
                "read": registry.read,
                "unreachable": registry.unreachable,
                "waiting": registry.waiting,
                "failures": registry.failures.iter().map(failure).collect::<Vec<_>>(),
            })
        };
        json!({
            "compared": self.has_compared(),
            "registries": self.registries.iter().map(registry).collect::<Vec<_>>(),
            "containers": self.containers.iter().map(Account::json).collect::<Vec<_>>(),
        })
    }
}

impl Failure {
    fn json(&self) -> Value {
        json!({"operation": self.operation, "error": self.error, "times": self.times})
    }
}

impl Standing {
    /// A word for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Registered => "registered",
            Self::Outdated => "outdated",
            Self::Lacking => "lacking",
            Self::Withheld => "withheld",
            Self::Taken => "taken",
            Self::Impossible(_) => "impossible",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("it has not said what it holds"),
            Self::Registered => f.write_str("registered"),
            Self::Outdated => f.write_str("to be written over what differs"),
            Self::Lacking => f.write_str("to be written"),
            Self::Withheld => f.write_str("kept back: it tells no health, and this is not passing"),
            Self::Taken => f.write_str("not written: somebody else has this entry"),
            Self::Impossible(why) => write!(f, "not written: {why}"),
        }
    }
}

impl Account {
    /// Whether any service of it is registered, or is to be.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        let barred = |place: &Place| matches!(place.standing, Standing::Taken | Standing::Impossible(_));
        let counts = |service: &Service| service.places.is_empty() || !service.places.iter().all(barred);
        self.services.iter().any(counts)
    }

    /// As an object of JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let fault = |fault: &Fault| json!({"setting": fault.key, "reason": fault.reason});
        json!({
            "id": &*self.id,
            "name": self.name,
            "image": self.image,
            "state": self.state,
            "services": self.services.iter().map(Service::json).collect::<Vec<_>>(),
            "left_out": reasons(&self.left_out),
            "remarks": reasons(&self.remarks),
            "not_understood": self.faults.iter().map(fault).collect::<Vec<_>>(),
        })
    }
}

impl Service {
    fn json(&self) -> Value {
        let Offer {
            registration,
            port,
            fit,
            why,
            ..
        } = &*self.offer;
        let service = &registration.service;
        let place = |place: &Place| {
            json!({
                "registry": place.registry,
                "standing": place.standing.word(),
                "explanation": place.standing.to_string(),
                "failure": place.failure.as_ref().map(Failure::json),
            })
        };
        json!({
            "id": &*service.id,
            "name": &*service.name,
            "address": service.address,
            "port": service.port,
            "inside": port.to_string(),
            "tags": service.tags,
            "meta": service.meta,
            "status": fit.as_str(),
            "says": self.says(),
            "why": reasons(why),
            "registries": self.places.iter().map(place).collect::<Vec<_>>(),
        })
    }

    /// What the state of its container comes to, in the words of its check.
    fn says(&self) -> &str {
        let checks = &self.offer.registration.checks;
        checks.first().map_or("", |check| &check.output)
    }
}

fn reasons(reasons: &[Reason]) -> Vec<Value> {
    let reason = |reason: &Reason| json!({"field": reason.field, "rule": reason.rule, "value": reason.value});
    reasons.iter().map(reason).collect()
}

impl fmt::Display for Account {
    /// For people, some lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            name,
            image,
            state,
            ..
        } = self;
        writeln!(f, "container {name} ({}), image {image}: {state}", short(id))?;
        if !self.is_registered() {
            writeln!(f, "nothing of it is registered")?;
        }
        for service in &self.services {
            write!(f, "\n{service}")?;
        }
        for (heading, reasons) in [("left out", &self.left_out), ("perhaps not meant", &self.remarks)] {
            if !reasons.is_empty() {
                writeln!(f, "\n{heading}")?;
            }
            for Reason { field, rule, value } in reasons {
                writeln!(f, "  {field} {}: {}", Plain(value), Plain(rule))?;
            }
        }
        if !self.faults.is_empty() {
            writeln!(f, "\nnot understood")?;
        }
        for Fault { key, reason } in &self.faults {
            writeln!(f, "  {}: {}", Plain(key), Plain(reason))?;
        }
        Ok(())
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Offer {
            registration,
            port,
            fit,
            why,
            ..
        } = &*self.offer;
        let service = &registration.service;
        let (name, says) = (Plain(&service.name), Plain(self.says()));
        writeln!(f, "service {name}, port {port} of the container: {fit} ({says})")?;
        let wide = why
            .iter()
            .map(|reason| reason.field.len())
            .max()
            .unwrap_or_default();
        for Reason { field, rule, value } in why {
            writeln!(f, "  {field:wide$}  {}  ({})", Plain(value), Plain(rule))?;
        }
        for Place {
            registry,
            standing,
            failure,
        } in &self.places
        {
            writeln!(f, "  in {registry}: {standing}")?;
            if let Some(Failure {
                operation,
                error,
                times,
            }) = failure
            {
                writeln!(f, "    {operation} failed, {times} in a row: {}", Plain(error))?;
            }
        }
        Ok(())
    }
}

/// Text of others, which must not speak to the terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char.is_control() {
                true => write!(f, "{}", char.escape_default())?,
                false => write!(f, "{char}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_containers_say_cannot_speak_to_a_terminal() {
        assert_eq!(Plain("a\u{1b}[2Jb\n").to_string(), "a\\u{1b}[2Jb\\n");
    }
}
