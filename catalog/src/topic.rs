//! What a write can touch and what a reader can wait for.
//!
//! A topic is as exact as the write; an interest may be wider (a key prefix, any service). The
//! owner of the state wakes a reader when its interest [covers](Interest::covers) a touched topic.
//! Names of nodes and services are in lower case, as [`fold`] leaves them.

use std::sync::Arc;

use crate::node::fold;

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
    /// Waits for one service, however its name is spelt.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::Service(fold(name))
    }

    /// Waits for everything on one node, however its name is spelt.
    #[must_use]
    pub fn on_node(name: &str) -> Self {
        Self::OnNode(fold(name))
    }

    /// Whether a write to `topic` may change what this reader sees.
    #[must_use]
    pub fn covers(&self, topic: &Topic) -> bool {
        match (self, topic) {
            (Self::Nodes, Topic::Node(_))
            | (Self::Services, Topic::Services)
            | (Self::AnyService, Topic::Service(_))
            | (Self::Checks, Topic::Checks) => true,
            (Self::Service(mine), Topic::Service(its)) => mine == its,
            (Self::OnNode(mine), Topic::OnNode(its)) => mine == its,
            (Self::Key(mine), Topic::Key(its)) => mine == its,
            (Self::Key(mine), Topic::Tree(prefix)) => mine.starts_with(&**prefix),
            (Self::Prefix(mine), Topic::Key(its)) => its.starts_with(&**mine),
            (Self::Prefix(mine), Topic::Tree(its)) => mine.starts_with(&**its) || its.starts_with(&**mine),
            _ => false,
        }
    }
}

impl Topic {
    /// Interests that name this topic itself. Keys are not among them: a key is also covered by
    /// any prefix of it, so their readers have to be asked one by one.
    #[must_use]
    pub fn interests(&self) -> Vec<Interest> {
        match self {
            Self::Node(_) => vec![Interest::Nodes],
            Self::Service(name) => vec![Interest::Service(name.clone()), Interest::AnyService],
            Self::Services => vec![Interest::Services],
            Self::OnNode(name) => vec![Interest::OnNode(name.clone())],
            Self::Checks => vec![Interest::Checks],
            Self::Key(_) | Self::Tree(_) => Vec::new(),
        }
    }
}
