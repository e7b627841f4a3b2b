//! `auth=`: who lets requests in.

pub(crate) mod htpasswd;
mod known;
