//! Maps that every request asks, by what the catalog says. Pure.
//!
//! The hasher of the standard library guards against clients who choose keys that collide. Nobody can choose these, and
//! it takes longer than all else that is done with them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// See the module: never for keys that clients put in.
pub(crate) type Map<K, V> = HashMap<K, V, Quick>;

/// Makes its hashers.
pub(crate) type Quick = BuildHasherDefault<Sum>;

/// A polynomial of the key's words, as rustc has it for its own maps.
#[derive(Default)]
pub(crate) struct Sum(u64);

impl Sum {
    fn add(&mut self, word: u64) {
        self.0 = self.0.wrapping_add(word).wrapping_mul(0xF135_7AEA_2E62_A9C5);
    }
}

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.add(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    /// Maps go by the lowest bits, of which the product knows least.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}
