//! From pictures to routes: the table against transcripts and a naive model, the router, the admin server.

#[path = "routing/admin.rs"]
mod admin;
#[path = "routing/golden.rs"]
mod golden;
#[path = "routing/model.rs"]
mod model;
#[path = "routing/picture.rs"]
mod picture;
#[path = "routing/router.rs"]
mod router;
