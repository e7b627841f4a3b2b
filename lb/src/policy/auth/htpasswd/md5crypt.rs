//! Passwords hashed a thousand times with MD5: Apache's `$apr1$`, and `$1$` of crypt(3), which differ in that name
//! only. Pure.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// Longest salt that counts.
const SALT: usize = 8;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Bytes of the digest in the order in which they are written, three a group.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// Name (with its dollars), salt and digest of a hash.
pub(super) fn parts(hash: &str) -> Option<(&str, &str, &str)> {
    let name = ["$apr1$", "$1$"]
        .into_iter()
        .find(|name| hash.starts_with(name))?;
    let (salt, digest) = hash[name.len()..].split_once('$')?;
    (digest.len() == 22).then_some((name, salt, digest))
}

/// Whether `password` makes `hash`.
pub(super) fn matches(password: &[u8], hash: &str) -> bool {
    let Some((name, salt, digest)) = parts(hash) else {
        return false;
    };
    let salt = &salt.as_bytes()[..salt.len().min(SALT)];
    let made = encoded(&hashed(password, name.as_bytes(), salt));
    bool::from(made[..].ct_eq(digest.as_bytes()))
}

/// The algorithm of Poul-Henning Kamp, as in Apache's `apr_md5_encode`.
fn hashed(password: &[u8], name: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut outer = Md5::new()
        .chain_update(password)
        .chain_update(name)
        .chain_update(salt);
    for taken in (0..password.len()).step_by(16) {
        outer.update(&inner[..(password.len() - taken).min(16)]);
    }
    let mut length = password.len();
    while length > 0 {
        // What was meant was a byte of `inner`; every implementation since keeps the slip.
        outer.update(if length & 1 == 1 { &[0][..] } else { &password[..1] });
        length >>= 1;
    }
    let mut digest: [u8; 16] = outer.finalize().into();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round % 2 == 1 { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round % 2 == 1 { &digest[..] } else { password });
        digest = next.finalize().into();
    }
    digest
}

fn encoded(digest: &[u8; 16]) -> [u8; 22] {
    let mut text = [0; 22];
    let mut letters = text.iter_mut();
    let mut write = |mut bits: u32, count: usize| {
        for letter in letters.by_ref().take(count) {
            *letter = ALPHABET[(bits & 63) as usize];
            bits >>= 6;
        }
    };
    for [high, middle, low] in ORDER {
        let byte = |at: usize| u32::from(digest[at]);
        write(byte(high) << 16 | byte(middle) << 8 | byte(low), 4);
    }
    write(u32::from(digest[11]), 2);
    text
}
