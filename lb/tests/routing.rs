//! From pictures to routes: the table against transcripts and a naive model, the router, the admin server,
//! and the whole.

// A test panics where it fails; helpers of tests as well.
#![allow(clippy::unwrap_used)]

#[path = "routing/admin.rs"]
mod admin;
#[path = "routing/docs.rs"]
mod docs;
#[path = "routing/facade.rs"]
mod facade;
#[path = "routing/golden.rs"]
mod golden;
#[path = "routing/model.rs"]
mod model;
#[path = "routing/naive.rs"]
mod naive;
#[path = "routing/picture.rs"]
mod picture;
#[path = "routing/router.rs"]
mod router;
