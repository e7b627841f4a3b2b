//! A folder as a key-value store, for balancers whose routes come from where there is none: a file for each key.
//!
//! Comparing and setting is of use within one process only, so such a folder is for one balancer.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::kv::{Entry, Kv, KvError, KvFuture};
use crate::tls::source::path::small_file;

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Held while a file is compared and written.
    writing: Arc<Mutex<()>>,
}

impl Folder {
    /// Made where it is not there, for its owner's eyes only.
    pub(super) fn open(root: &str) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        Ok(Self {
            root: fs::canonicalize(root)?,
            writing: Arc::default(),
        })
    }

    /// The file of a key, which never leads out of the folder.
    fn file(&self, key: &str) -> Result<PathBuf, KvError> {
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
        if key.split('/').all(is_plain) {
            Ok(self.root.join(key))
        } else {
            Err(KvError(format!("'{key}' cannot be a file")))
        }
    }

    fn read(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let path = self.file(key)?;
        if !path.exists() {
            return Ok(None);
        }
        let value = small_file(&path).map_err(|problem| KvError(format!("{}: {problem}", path.display())))?;
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Ok(Some(Entry {
            key: key.to_owned(),
            value,
            index: hasher.finish() | 1,
        }))
    }

    fn write(&self, key: &str, value: &[u8], cas: Option<u64>) -> Result<bool, KvError> {
        let path = self.file(key)?;
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.read(key)?.map_or(0, |entry| entry.index);
        if cas.is_some_and(|cas| cas != index) {
            return Ok(false);
        }
        replace(&path, value).map_err(|error| KvError(format!("{}: {error}", path.display())))?;
        Ok(true)
    }

    fn remove(&self, key: &str, cas: Option<u64>) -> Result<bool, KvError> {
        let path = self.file(key)?;
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.read(key)?.map(|entry| entry.index);
        if index.zip(cas).is_some_and(|(index, cas)| index != cas) {
            return Ok(false);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KvError(format!("{}: {error}", path.display())))
            }
            _ => Ok(true),
        }
    }

    fn below(&self, prefix: &str) -> Result<Vec<Entry>, KvError> {
        let folder = self.file(prefix.trim_end_matches('/'))?;
        let files = match fs::read_dir(&folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(KvError(format!("{}: {error}", folder.display()))),
        };
        let mut keys: Vec<String> = files
            .filter_map(|file| file.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .map(|name| format!("{}/{name}", prefix.trim_end_matches('/')))
            .collect();
        keys.sort();
        let entries = keys.iter().map(|key| self.read(key));
        entries.filter_map(Result::transpose).collect()
    }

    fn aside<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Self) -> Result<T, KvError> + Send + 'static,
    ) -> KvFuture<'_, T> {
        let folder = self.clone();
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || act(&folder)).await;
            done.unwrap_or_else(|died| Err(KvError(died.to_string())))
        })
    }
}

/// Written beside and moved, so that it is never half there.
fn replace(path: &Path, value: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(value)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

impl Kv for Folder {
    fn get<'a>(&'a self, key: &'a str) -> KvFuture<'a, Option<Entry>> {
        let key = key.to_owned();
        self.aside(move |folder| folder.read(&key))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> KvFuture<'a, Vec<Entry>> {
        let prefix = prefix.to_owned();
        self.aside(move |folder| folder.below(&prefix))
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, cas: Option<u64>) -> KvFuture<'a, bool> {
        let key = key.to_owned();
        self.aside(move |folder| folder.write(&key, &value, cas))
    }

    fn delete<'a>(&'a self, key: &'a str, cas: Option<u64>) -> KvFuture<'a, bool> {
        let key = key.to_owned();
        self.aside(move |folder| folder.remove(&key, cas))
    }
}
