//! Maps that are asked at every request, by what the catalog says. Pure.
//!
//! The standard library's hasher guards against clients who choose keys that collide. Nobody can choose these, and it
//! takes longer than the request has for them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// See the module: never for keys that a client names.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

/// FNV-1a.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
