//! A folder of `*.pem`, with all below it. Nothing that begins with a dot, and no link that leads out of the folder;
//! a mounted secret of Kubernetes, whose names are links within it, is fine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::NotRead;
use super::files::{Files, MAX_ALL, MAX_FILES};
use crate::tls::pair::MAX_PEM;

/// Folders within folders that are looked into.
const MAX_DEPTH: usize = 16;

/// Reads it. A folder that is not there yet is an empty one; it is waited for, as in fabio.
pub(super) fn read(root: &Path) -> Result<Files, NotRead> {
    let told = |error: io::Error| NotRead::File(root.display().to_string(), error);
    let root = match fs::canonicalize(root) {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Files::new()),
        Err(error) => return Err(told(error)),
    };
    let mut reader = Reader {
        root: &root,
        files: Files::new(),
        left: MAX_ALL,
    };
    reader.folder(&root, 0).map_err(told)?;
    Ok(reader.files)
}

struct Reader<'a> {
    root: &'a Path,
    files: Files,
    left: usize,
}

impl Reader<'_> {
    fn folder(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        let mut found: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        found.sort();
        for path in found {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with('.') {
                continue;
            }
            // Links to folders are not followed: they may lead in circles.
            let is_folder = fs::symlink_metadata(&path).is_ok_and(|entry| entry.is_dir());
            if is_folder && depth < MAX_DEPTH {
                // One folder that cannot be read is no reason to lose the others.
                if let Err(error) = self.folder(&path, depth + 1) {
                    self.put(&path.join("?.pem"), Err(error.to_string()));
                }
            } else if !is_folder && name.ends_with(".pem") && self.files.len() < MAX_FILES {
                let text = self.file(&path);
                self.put(&path, text);
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &Path, text: Result<Vec<u8>, String>) {
        let name = path.strip_prefix(self.root).unwrap_or(path);
        self.files.insert(name.to_string_lossy().into_owned(), text);
    }

    fn file(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let told = |error: io::Error| error.to_string();
        let real = fs::canonicalize(path).map_err(told)?;
        if !real.starts_with(self.root) {
            return Err("is a link that leads out of the folder".to_owned());
        }
        let text = small_file(&real)?;
        self.left = self
            .left
            .checked_sub(text.len())
            .ok_or("there is more in this folder than 64 MiB")?;
        Ok(text)
    }
}

/// A file of 1 MiB at most, and nothing that is none.
pub(super) fn small_file(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| error.to_string();
    let about = fs::metadata(path).map_err(told)?;
    if !about.is_file() {
        return Err("is no file".to_owned());
    }
    if about.len() > MAX_PEM as u64 {
        return Err("is longer than 1 MiB".to_owned());
    }
    fs::read(path).map_err(told)
}
