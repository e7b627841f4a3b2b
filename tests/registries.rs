//! `lictor registrator` beside registries that are no Consul, each of them real.

/// etcd by v2 and v3, and the records of SkyDNS in it.
mod etcd;
/// A tree of ZooKeeper.
mod zookeeper;
