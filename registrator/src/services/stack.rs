//! What the tools that start containers write on them: compose and swarm.
//!
//! Their labels name a container better than its image does, and tell helpers from services.

use crate::container::Container;

const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";
const SWARM_STACK: &str = "com.docker.stack.namespace";
const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
const SWARM_TASK: &str = "com.docker.swarm.task.name";

/// The project or stack that a container belongs to.
pub(super) fn project(container: &Container) -> Option<&str> {
    container
        .label(COMPOSE_PROJECT)
        .or_else(|| container.label(SWARM_STACK))
}

/// The service of that project which it is an instance of.
pub(super) fn service(container: &Container) -> Option<&str> {
    named_service(container).map(|(name, _)| name)
}

/// The same, and whose word it is.
pub(super) fn named_service(container: &Container) -> Option<(&str, &'static str)> {
    if let Some(name) = container.service() {
        return Some((name, "compose service"));
    }
    let name = container.label(SWARM_SERVICE)?;
    let stack = container.label(SWARM_STACK).unwrap_or_default();
    let within = name.strip_prefix(stack).and_then(|rest| rest.strip_prefix('_'));
    Some((within.unwrap_or(name), "swarm service"))
}

/// The swarm's service that it is a task of, by its whole name.
pub(super) fn swarm_service(container: &Container) -> Option<&str> {
    container.label(SWARM_SERVICE)
}

/// Whether it is no service of anybody: why not.
pub(super) fn helper(container: &Container) -> Option<&'static str> {
    let one_off = container.label(COMPOSE_ONE_OFF);
    if one_off.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return Some("made by 'compose run'");
    }
    container
        .holds_a_pod()
        .then_some("holds only the network of a pod")
}

/// What is worth knowing of it in a catalog: key, label.
pub(super) const TOLD: &[(&str, &str)] = &[
    ("compose-project", COMPOSE_PROJECT),
    ("compose-service", "com.docker.compose.service"),
    ("compose-number", COMPOSE_NUMBER),
    ("swarm-stack", SWARM_STACK),
    ("swarm-service", SWARM_SERVICE),
    (TASK, SWARM_TASK),
];

/// What tells tasks of one service apart.
pub(super) const TASK: &str = "swarm-task";

/// An image's name without version and digest.
pub(crate) fn unversioned(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    // A colon before the last slash is that of a registry's port.
    match name.rsplit_once(':') {
        Some((bare, version)) if !version.contains('/') => bare,
        _ => name,
    }
}
