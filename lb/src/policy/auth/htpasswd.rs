//! An htpasswd file: users, and what their passwords must match. Pure.
//!
//! A line that cannot be meant harms only its own user, who is then not let in; it is never taken for a password.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::{PasswordHashRef, PasswordVerifier, ShaCrypt};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

mod md5crypt;

/// Bytes of a SHA-1 digest.
const SHA1: usize = 20;

/// Who may come in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Users(HashMap<Box<[u8]>, Stored>);

/// A line that names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(crate) struct BadLine {
    /// From 1.
    pub line: usize,
    /// What is wrong with it. Never the password, nor what is stored of it.
    pub problem: &'static str,
}

/// What is stored of a password.
#[derive(Clone)]
pub(crate) enum Stored {
    /// `$apr1$` (Apache's), `$1$`.
    Md5(Box<str>),
    /// `{SHA}`.
    Sha([u8; SHA1]),
    /// `{SSHA}`: digest, and the salt it was made with.
    Ssha([u8; SHA1], Box<[u8]>),
    /// `$2a$`, `$2b$`, `$2x$`, `$2y$`.
    Bcrypt(Box<str>),
    /// `$5$`, `$6$`.
    ShaCrypt(Box<str>),
    /// The password itself.
    Plain(Box<[u8]>),
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Md5(_) => "Md5",
            Self::Sha(_) => "Sha",
            Self::Ssha(..) => "Ssha",
            Self::Bcrypt(_) => "Bcrypt",
            Self::ShaCrypt(_) => "ShaCrypt",
            Self::Plain(_) => "Plain",
        })
    }
}

impl Users {
    /// Reads a file. Of two lines for one user the later counts, as in fabio.
    pub(crate) fn parse(text: &[u8]) -> (Self, Vec<BadLine>) {
        let mut users = HashMap::new();
        let mut bad = Vec::new();
        for (line, text) in text.split(|byte| *byte == b'\n').enumerate() {
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            match entry(text) {
                Ok((user, stored)) => {
                    users.insert(user.into(), stored);
                }
                Err(problem) => bad.push(BadLine {
                    line: line + 1,
                    problem,
                }),
            }
        }
        (Self(users), bad)
    }

    /// What is stored for `user`.
    pub(crate) fn get(&self, user: &[u8]) -> Option<&Stored> {
        self.0.get(user)
    }

    /// What takes longest to verify here: compared with for users that there are not, so that time does not tell
    /// which there are.
    pub(crate) fn costliest(&self) -> Option<&Stored> {
        self.0.values().max_by_key(|stored| stored.cost())
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Users whose password lies open in the file, by name.
    pub(crate) fn plain(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .filter(|(_, stored)| matches!(stored, Stored::Plain(_)))
            .map(|(user, _)| String::from_utf8_lossy(user).into_owned())
    }
}

fn entry(line: &[u8]) -> Result<(&[u8], Stored), &'static str> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (user, stored) = line.split_at(colon.ok_or("there is no colon between user and password")?);
    if user.is_empty() {
        return Err("it names no user");
    }
    Ok((user, Stored::parse(&stored[1..])?))
}

impl Stored {
    /// Reads what stands after the colon.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("the password is empty");
        }
        let hash = std::str::from_utf8(text).ok();
        if let Some(hash) = hash {
            if let Some(encoded) = hash.strip_prefix("{SHA}") {
                return Ok(Self::Sha(sha(encoded)?.0));
            }
            if let Some(encoded) = hash.strip_prefix("{SSHA}") {
                let (digest, salt) = sha(encoded)?;
                return Ok(Self::Ssha(digest, salt));
            }
            if hash.starts_with("$apr1$") || hash.starts_with("$1$") {
                return match md5crypt::parts(hash) {
                    Some(_) => Ok(Self::Md5(hash.into())),
                    None => Err("the MD5 hash is incomplete"),
                };
            }
            if ["$2a$", "$2b$", "$2x$", "$2y$"]
                .iter()
                .any(|kind| hash.starts_with(kind))
            {
                return match hash.parse::<bcrypt::HashParts>() {
                    Ok(_) => Ok(Self::Bcrypt(hash.into())),
                    Err(_) => Err("the bcrypt hash is incomplete"),
                };
            }
            if hash.starts_with("$5$") || hash.starts_with("$6$") {
                return match sha_crypt_is_whole(hash) {
                    true => Ok(Self::ShaCrypt(hash.into())),
                    false => Err("the SHA-crypt hash is incomplete"),
                };
            }
        }
        // Taken for a password, such a hash would let in whoever has read the file.
        if text.starts_with(b"$") || text.starts_with(b"{") {
            return Err("this kind of hash is not known: it is bcrypt, MD5, SHA, SSHA or SHA-crypt");
        }
        Ok(Self::Plain(text.into()))
    }

    /// Whether `password` is the one. Takes milliseconds to seconds where [`Self::is_slow`].
    pub(crate) fn matches(&self, password: &[u8]) -> bool {
        match self {
            Self::Md5(hash) => md5crypt::matches(password, hash),
            Self::Sha(digest) => bool::from(Sha1::digest(password)[..].ct_eq(digest)),
            Self::Ssha(digest, salt) => {
                let made = Sha1::new().chain_update(password).chain_update(salt).finalize();
                bool::from(made[..].ct_eq(digest))
            }
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::ShaCrypt(hash) => PasswordHashRef::new(hash)
                .is_ok_and(|hash| ShaCrypt::default().verify_password(password, hash).is_ok()),
            // Digests are compared, so that not even the length shows.
            Self::Plain(stored) => bool::from(Sha1::digest(password)[..].ct_eq(&Sha1::digest(stored)[..])),
        }
    }

    /// Made to take long: not on a thread that carries traffic.
    pub(crate) fn is_slow(&self) -> bool {
        self.cost() > 0
    }

    /// In no unit; more takes longer.
    fn cost(&self) -> u64 {
        match self {
            Self::Sha(_) | Self::Ssha(..) | Self::Plain(_) => 0,
            Self::Md5(_) => 1,
            Self::ShaCrypt(hash) => rounds(hash) / 100,
            Self::Bcrypt(hash) => {
                let cost = hash
                    .parse::<bcrypt::HashParts>()
                    .map_or(0, |parts| parts.get_cost());
                1 << cost.min(32)
            }
        }
    }
}

fn rounds(hash: &str) -> u64 {
    let said = hash[3..]
        .strip_prefix("rounds=")
        .and_then(|rest| rest.split('$').next());
    said.map_or(5000, |rounds| rounds.parse().unwrap_or(0))
}

/// Digest and what follows it.
fn sha(encoded: &str) -> Result<([u8; SHA1], Box<[u8]>), &'static str> {
    let bytes = STANDARD.decode(encoded).map_err(|_| "the hash is no base64")?;
    let (digest, rest) = bytes
        .split_first_chunk::<SHA1>()
        .ok_or("the SHA-1 hash is incomplete")?;
    Ok((*digest, rest.into()))
}

/// `$5$[rounds=<n>$]<salt>$<hash>`.
fn sha_crypt_is_whole(hash: &str) -> bool {
    let length = if hash.starts_with("$5$") { 43 } else { 86 };
    let fields: Vec<&str> = hash[3..].split('$').collect();
    let (salt, digest) = match fields[..] {
        [said, salt, digest]
            if said.starts_with("rounds=") && (1000..1_000_000_000).contains(&rounds(hash)) =>
        {
            (salt, digest)
        }
        [salt, digest] => (salt, digest),
        _ => return false,
    };
    !salt.is_empty() && digest.len() == length && PasswordHashRef::new(hash).is_ok()
}

#[cfg(test)]
mod tests;
