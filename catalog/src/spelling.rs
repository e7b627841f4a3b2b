//! Names that DNS cannot spell, and how it spells them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::node::fold;
use crate::service::within;
use crate::state::State;

/// What host names cannot have or would be parted at.
const ODD: [char; 3] = ['_', '.', '@'];

/// A name as DNS can spell it: `my_api.v2` is `my-api-v2`. Letters stay as they are, since DNS is blind to case.
#[must_use]
pub fn dns_safe(name: &str) -> Cow<'_, str> {
    match name.contains(ODD) {
        true => name.replace(ODD, "-").into(),
        false => name.into(),
    }
}

impl State {
    /// The service, in lower case, whose name DNS spells so; of several the first. A service that is really called so is
    /// another one.
    #[must_use]
    pub fn spelled(&self, name: &str) -> Option<&Arc<str>> {
        let name = fold(name);
        let (spelled, service) = self.spelled.range((name.clone(), "".into())..).next()?;
        (*spelled == name).then_some(service)
    }

    /// Keeps that true of a service that has come, or whose last instance has gone.
    pub(crate) fn spell(&mut self, service: &Arc<str>) {
        let Cow::Owned(spelled) = dns_safe(service) else {
            return;
        };
        let entry = (spelled.into(), service.clone());
        match within(&self.picture, service).next() {
            Some(_) => _ = self.spelled.insert(entry),
            None => _ = self.spelled.remove(&entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Command;
    use crate::command::{Record, Target};
    use crate::node::NodeSpec;
    use crate::service::ServiceSpec;

    #[test]
    fn a_spelling_lasts_as_long_as_a_service_of_that_name() {
        let mut state = State::new();
        let mut index = 0;
        let mut apply = |state: &mut State, command: &Command| {
            index += 1;
            state.apply(index, command).reply.unwrap();
        };
        let register = |id: &str, name: &str| {
            let node = NodeSpec {
                name: "n1".into(),
                address: "10.0.0.1".to_owned(),
                ..NodeSpec::default()
            };
            let service = ServiceSpec {
                id: id.into(),
                name: name.into(),
                ..ServiceSpec::default()
            };
            Command::Register(Box::new(Record {
                node,
                service: Some(service),
                ..Record::default()
            }))
        };
        let gone = |id: &str| Command::Deregister {
            node: "n1".into(),
            target: Target::Service(id.into()),
        };
        let spelled = |state: &State| state.spelled("My-API").map(ToString::to_string);
        apply(&mut state, &register("a", "My_API"));
        apply(&mut state, &register("b", "my_api"));
        apply(&mut state, &register("c", "my-api"));
        assert_eq!(spelled(&state).as_deref(), Some("my_api"));
        apply(&mut state, &gone("a"));
        assert_eq!(spelled(&state).as_deref(), Some("my_api"));
        // The same id under another name.
        apply(&mut state, &register("b", "my.api"));
        assert_eq!(spelled(&state).as_deref(), Some("my.api"));
        let all = Command::Deregister {
            node: "n1".into(),
            target: Target::Node,
        };
        apply(&mut state, &all);
        assert_eq!(spelled(&state), None);
    }
}
