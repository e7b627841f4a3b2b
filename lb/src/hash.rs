//! Maps that every request asks, by what the catalog says.
//!
//! The hasher of the standard library guards against clients who choose keys that collide. Nobody can choose these, and
//! it takes longer than all else that is done with them.

use std::collections::HashMap;

/// Makes the hashers; see the module: never for keys that clients put in.
pub(crate) type Quick = rustc_hash::FxBuildHasher;

/// Of the standard library, but for that.
pub(crate) type Map<K, V> = HashMap<K, V, Quick>;
