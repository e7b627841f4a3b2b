//! `lictor registrator` beside registries of every kind, each of them real.

/// Services of a Consul behind a socket, TLS or a login; its keys; what it loses.
mod consul;
/// etcd by v2 and v3, and the records of SkyDNS in it.
mod etcd;
/// Whose an entry is, where it cannot say so itself.
mod owners;
/// A tree of ZooKeeper.
mod zookeeper;
