//! The single writer of the routing table.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::table::Table;

/// The current table: one atomic load for a reader.
pub type Live = Arc<ArcSwap<Table>>;
