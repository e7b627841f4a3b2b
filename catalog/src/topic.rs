//! What a write can touch and what a reader can wait for.
//!
//! A topic is as exact as the write; an interest may be wider (a key prefix, any service). The
//! owner of the state wakes a reader when [`Interest::covers`] a touched topic.

use std::sync::Arc;

/// Something a write has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// The node of this name: its record came, changed or went.
    Node(Arc<str>),
    /// The service of this name: an instance, or the health of one.
    Service(Arc<str>),
    /// The list of service names and tags.
    Services,
    /// Something on this node: its record, a service or a check.
    OnNode(Arc<str>),
    /// A check, anywhere.
    Checks,
    /// This key was written or deleted.
    Key(Arc<str>),
    /// Every key with this prefix was deleted.
    Tree(Arc<str>),
}

/// What a reader waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interest {
    /// Any node's record.
    Nodes,
    /// Instances and health of this service.
    Service(Arc<str>),
    /// Service names and tags.
    Services,
    /// Any service or its health: the whole picture.
    AnyService,
    /// Everything on this node.
    OnNode(Arc<str>),
    /// Any check.
    Checks,
    /// This key.
    Key(Arc<str>),
    /// Every key with this prefix.
    Prefix(Arc<str>),
}

impl Interest {
    /// Whether a write to `topic` may change what this reader sees.
    #[must_use]
    pub fn covers(&self, topic: &Topic) -> bool {
        match (self, topic) {
            (Self::Nodes, Topic::Node(_))
            | (Self::Services, Topic::Services)
            | (Self::AnyService, Topic::Service(_))
            | (Self::Checks, Topic::Checks) => true,
            (Self::Service(mine), Topic::Service(its)) => mine == its,
            (Self::OnNode(mine), Topic::OnNode(its)) => mine.eq_ignore_ascii_case(its),
            (Self::Key(mine), Topic::Key(its)) => mine == its,
            (Self::Key(mine), Topic::Tree(prefix)) => mine.starts_with(&**prefix),
            (Self::Prefix(mine), Topic::Key(its)) => its.starts_with(&**mine),
            (Self::Prefix(mine), Topic::Tree(its)) => mine.starts_with(&**its) || its.starts_with(&**mine),
            _ => false,
        }
    }
}
