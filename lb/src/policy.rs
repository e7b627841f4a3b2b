//! What a route asks of its requests before a target sees them, and of answers before the client does.
//!
//! | file | |
//! | --- | --- |
//! | `origin.rs` | who sent a request, behind trusted proxies; pure |
//! | `access.rs` | `allow=`, `deny=`; pure |
//! | `auth.rs` `auth/*` | `auth=`: passwords in a file, another server's word |
//! | `limit.rs` `limit/*` | `ratelimit=`, `maxinflight=`; pure |
//! | `rewrite.rs` | header rules and `rewrite=`; pure |
//! | `gzip.rs` | compressed answers |
//!
//! Whatever is broken here lets nobody in.

pub(crate) mod access;
pub(crate) mod auth;
pub(crate) mod gzip;
pub(crate) mod limit;
pub(crate) mod origin;
pub(crate) mod rewrite;
