//! An access log in a file: appended to, renamed away by ourselves at a size, opened anew when somebody else did.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// See the module. `<path>.1` is the youngest of those renamed away.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    max: Option<u64>,
    keep: u32,
    /// `None` until the next line.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: fs::File,
    size: u64,
}

impl File {
    pub(super) fn open(path: PathBuf, max: Option<u64>, keep: u32) -> io::Result<Self> {
        let open = Some(Open::at(&path)?);
        Ok(Self {
            path,
            max,
            keep,
            open,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// At once, since whoever renamed it looks for the new one. A failure shows at the next line, which tries again.
    pub(super) fn reopen(&mut self) {
        self.open = Open::at(&self.path).ok();
    }

    /// After a failure the next call begins with opening it: a full disk may have room again.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.try_write(lines);
        if written.is_err() {
            self.open = None;
        }
        written
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.path)?,
        };
        let after = open.size + lines.len() as u64;
        if open.size > 0 && self.max.is_some_and(|max| after > max) {
            drop(open);
            self.rotate()?;
            open = Open::at(&self.path)?;
        }
        open.file.write_all(lines)?;
        open.size += lines.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for age in (1..self.keep).rev() {
            match fs::rename(self.aged(age), self.aged(age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.aged(1))
    }

    fn aged(&self, age: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{age}"));
        name.into()
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn at_its_size_a_file_is_renamed_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut log = File::open(path.clone(), Some(10), 2).unwrap();
        for line in [
            "one 67\n",
            "two 67\n",
            "three\n",
            "four\n",
            "longer than all\n",
            "six\n",
        ] {
            log.write(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path), "six\n");
        assert_eq!(read(&log.aged(1)), "longer than all\n");
        assert_eq!(read(&log.aged(2)), "four\n");
        assert!(!log.aged(3).exists());
    }

    #[test]
    fn what_is_there_counts_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "before\n").unwrap();
        let mut log = File::open(path.clone(), Some(10), 0).unwrap();
        log.write(b"on\n").unwrap();
        assert_eq!(read(&path), "before\non\n");
        log.write(b"anew\n").unwrap();
        assert_eq!(read(&path), "anew\n");
    }

    #[test]
    fn a_failure_is_told_and_over_when_its_cause_is() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("logs");
        fs::create_dir(&below).unwrap();
        let path = below.join("access.log");
        let mut log = File::open(path.clone(), None, 0).unwrap();
        log.open = None;
        fs::remove_dir_all(&below).unwrap();
        assert!(log.write(b"lost\n").is_err());
        fs::create_dir(&below).unwrap();
        log.write(b"kept\n").unwrap();
        assert_eq!(read(&path), "kept\n");
    }
}
