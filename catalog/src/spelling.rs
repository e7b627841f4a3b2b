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
