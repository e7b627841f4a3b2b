//! The door to the machine that a configuration is read on: its files, its addresses, and servers that hold
//! configuration. Everything behind it is pure.

use std::io;

use super::sockaddr::Interface;
use crate::{fetch, net};

/// What reading a configuration may ask the machine for.
pub trait Machine {
    /// A whole file.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// The names in a directory, in any order, without the directory.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// What a server answers to a GET, whatever its status.
    ///
    /// # Errors
    /// Why there is no answer.
    fn fetch(&self, url: &str) -> io::Result<Fetched>;

    /// The addresses of this host, in the order of its interfaces.
    fn interfaces(&self) -> Vec<Interface>;
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Its status.
    pub status: u16,
    /// Its `Content-Type`; empty: it has none.
    pub content_type: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// This machine.
pub struct Here;

impl Machine for Here {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(directory)?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn fetch(&self, url: &str) -> io::Result<Fetched> {
        // A command line is read before there is a runtime.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let fetched = runtime.block_on(fetch::get(url));
        // Looking up a name cannot be called off, and an exit does not wait for it.
        runtime.shutdown_background();
        fetched
    }

    fn interfaces(&self) -> Vec<Interface> {
        net::interfaces()
    }
}
