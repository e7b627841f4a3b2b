//! What is done to nodes. Others come and go beside us, so each step may find what the one before did not see; then
//! it is begun anew.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error as Zk, Stat};

use super::session::Live;
use super::tree::{self, Base};
use crate::registry::Error;

/// World-writable, as the original's: its readers, and it, may remove what is left.
const EPHEMERAL: CreateOptions<'static> = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
const PERSISTENT: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());

/// Somebody who changes a node as often as this between two steps of ours does so on purpose.
const TURNS: usize = 8;
/// How many sessions are remembered. What hangs on those before has timed out, unless a process failed again and
/// again within seconds.
const SESSIONS: usize = 16;
/// Requests under way at once.
const ABREAST: usize = 32;

impl Live {
    /// Sees to it that `path` says `data`, and hangs on this session.
    pub(super) async fn put(&self, path: &str, data: &[u8]) -> Result<(), Error> {
        for _ in 0..TURNS {
            match self.client.create(path, data, &EPHEMERAL).await {
                Ok(_) => return Ok(()),
                // The service's own node may go at any moment: it does with its last child.
                Err(Zk::NoNode) => self
                    .client
                    .mkdir(parent(path), &PERSISTENT)
                    .await
                    .map_err(at(path))?,
                Err(Zk::NodeExists) => match self.read(path).await? {
                    Some((held, stat)) if !self.is_ours(&stat) && !self.is_left(&stat, &held, data) => {
                        return Err(taken(path, &stat));
                    }
                    Some((held, stat)) if self.replace(path, (&held, &stat), data).await? => return Ok(()),
                    _ => {}
                },
                Err(error) => return Err(at(path)(error)),
            }
        }
        Err(restless(path))
    }

    /// What `path` says, if it is there and ours. One of an older session is moved to this one.
    pub(super) async fn adopt(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        for _ in 0..TURNS {
            match self.read(path).await? {
                Some((held, stat)) if self.is_ours(&stat) => {
                    if self.replace(path, (&held, &stat), &held).await? {
                        return Ok(Some(held));
                    }
                }
                _ => return Ok(None),
            }
        }
        Err(restless(path))
    }

    /// What `path` says, if it is there and ours, whichever session it hangs on.
    pub(super) async fn look(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let found = self.read(path).await?;
        Ok(found.filter(|(_, stat)| self.is_ours(stat)).map(|(held, _)| held))
    }

    /// Gives a node of ours, found like this, other data, and hangs it on this session. False where it has changed or
    /// gone meanwhile.
    async fn replace(&self, path: &str, (held, stat): (&[u8], &Stat), data: &[u8]) -> Result<bool, Error> {
        if stat.ephemeral_owner == self.id {
            if held == data {
                return Ok(true);
            }
            let set = self.client.set_data(path, data, Some(stat.version)).await;
            return unless_changed(path, set.map(drop));
        }
        // In one transaction: no reader ever finds it missing.
        let mut both = self.client.new_multi_writer();
        both.add_delete(path, Some(stat.version)).map_err(at(path))?;
        both.add_create(path, data, &EPHEMERAL).map_err(at(path))?;
        unless_changed(path, both.commit().await.map(drop).map_err(Zk::from))
    }

    /// Removes `path` if it is ours, and the node above it if that was the last one under it.
    pub(super) async fn remove(&self, path: &str) -> Result<(), Error> {
        for _ in 0..TURNS {
            let removed = match self.stat(path).await? {
                Some(stat) if !self.is_ours(&stat) => return Ok(()),
                Some(stat) => unless_changed(path, self.client.delete(path, Some(stat.version)).await)?,
                // It went with its session, which leaves the node above.
                None => true,
            };
            if removed {
                return self.remove_if_bare(parent(path)).await;
            }
        }
        Err(restless(path))
    }

    /// Who has put something into a service's node, or under it, still has a use for it.
    async fn remove_if_bare(&self, path: &str) -> Result<(), Error> {
        match self.stat(path).await? {
            Some(stat) if stat.num_children == 0 && stat.data_length == 0 && stat.ephemeral_owner == 0 => {
                match self.client.delete(path, Some(stat.version)).await {
                    Ok(()) | Err(Zk::NoNode | Zk::NotEmpty | Zk::BadVersion) => Ok(()),
                    Err(error) => Err(at(path)(error)),
                }
            }
            _ => Ok(()),
        }
    }

    /// Keys of nodes under `base` that hang on older sessions of ours.
    pub(super) async fn inherited(&self, base: &Base) -> Result<BTreeSet<String>, Error> {
        let names = self
            .children(base.path())
            .await?
            .into_iter()
            .filter(|name| tree::name(name, base.is_root()).is_ok());
        let places = abreast(names, |name| self.places(base, name));
        let keys = places.await?.into_iter().flatten();
        let ours = abreast(keys, |key| async move {
            let stat = self.stat(&base.node(&key)).await?;
            Ok(stat
                .filter(|stat| self.older.contains(&stat.ephemeral_owner))
                .map(|_| key))
        });
        Ok(ours.await?.into_iter().flatten().collect())
    }

    /// Keys of nodes that stand for a service called `name`, whoever made them.
    async fn places(&self, base: &Base, name: String) -> Result<Vec<String>, Error> {
        let children = self.children(&base.node(&name)).await?;
        let keys = children.into_iter().map(|place| format!("{name}/{place}"));
        Ok(keys.filter(|key| tree::read(key).is_some()).collect())
    }

    /// None of a node that is not there, and none that we could see of one that is closed to us.
    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        match self.client.list_children(path).await {
            Err(Zk::NoNode | Zk::NoAuth) => Ok(Vec::new()),
            children => children.map_err(at(path)),
        }
    }

    async fn read(&self, path: &str) -> Result<Option<(Vec<u8>, Stat)>, Error> {
        match self.client.get_data(path).await {
            Err(Zk::NoNode) => Ok(None),
            found => found.map(Some).map_err(at(path)),
        }
    }

    async fn stat(&self, path: &str) -> Result<Option<Stat>, Error> {
        self.client.check_stat(path).await.map_err(at(path))
    }

    /// Whether a node was left by us under a mark that others may use too: at its path, which holds address and port,
    /// the same container is to stand.
    fn is_left(&self, stat: &Stat, held: &[u8], wanted: &[u8]) -> bool {
        let container = tree::container(held);
        self.former.contains(&stat.ephemeral_owner)
            && container.is_some()
            && container == tree::container(wanted)
    }

    fn is_ours(&self, stat: &Stat) -> bool {
        stat.ephemeral_owner == self.id || self.older.contains(&stat.ephemeral_owner)
    }
}

/// The sessions that are noted at `mark`, if any are.
pub(super) async fn noted(client: &Client, mark: &str) -> Result<BTreeSet<i64>, Error> {
    match client.get_data(mark).await {
        Ok((data, _)) => Ok(sessions(&data).into_iter().collect()),
        Err(Zk::NoNode | Zk::NoAuth) => Ok(BTreeSet::new()),
        Err(error) => Err(at(mark)(error)),
    }
}

/// Notes at `mark` that the session `id` is ours; returns which are, with those of processes before.
pub(super) async fn note_session(client: &Client, mark: &str, id: i64) -> Result<BTreeSet<i64>, Error> {
    for _ in 0..TURNS {
        let held = match client.get_data(mark).await {
            Err(Zk::NoNode) => None,
            held => Some(held.map_err(at(mark))?),
        };
        let mut sessions = held.as_ref().map_or_else(Vec::new, |(data, _)| sessions(data));
        sessions.retain(|known| *known != id);
        sessions.drain(..(sessions.len() + 1).saturating_sub(SESSIONS));
        sessions.push(id);
        let text = note(&sessions);
        let noted = match &held {
            Some((_, stat)) => client
                .set_data(mark, text.as_bytes(), Some(stat.version))
                .await
                .map(drop),
            None => {
                client.mkdir(parent(mark), &PERSISTENT).await.map_err(at(mark))?;
                client.create(mark, text.as_bytes(), &PERSISTENT).await.map(drop)
            }
        };
        if unless_changed(mark, noted)? {
            return Ok(sessions.into_iter().collect());
        }
    }
    Err(restless(mark))
}

/// One session a line, as ZooKeeper's own tools write them.
fn note(sessions: &[i64]) -> String {
    sessions.iter().map(|id| format!("{id:#x}\n")).collect()
}

/// What [`note`] wrote; lines that say something else are nobody's session.
fn sessions(note: &[u8]) -> Vec<i64> {
    let text = String::from_utf8_lossy(note);
    let read = |line: &str| u64::from_str_radix(line.strip_prefix("0x")?, 16).ok();
    text.lines().filter_map(read).map(u64::cast_signed).collect()
}

/// Asks about each of `all`, so many at a time; the first failure ends it.
pub(super) async fn abreast<T, R, F>(
    all: impl IntoIterator<Item = T>,
    ask: impl Fn(T) -> F,
) -> Result<Vec<R>, Error>
where
    F: Future<Output = Result<R, Error>>,
{
    stream::iter(all.into_iter().map(ask))
        .buffer_unordered(ABREAST)
        .try_collect()
        .await
}

/// Whether it was done; not, where the node was changed, made or removed since it was looked at.
fn unless_changed(path: &str, outcome: Result<(), Zk>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Zk::NoNode | Zk::NodeExists | Zk::BadVersion) => Ok(false),
        Err(error) => Err(at(path)(error)),
    }
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

fn taken(path: &str, stat: &Stat) -> Error {
    let whose = match stat.ephemeral_owner {
        0 => "is no ephemeral node and somebody else's".to_owned(),
        session => {
            format!("hangs on session {session:#x}, which is not ours; does another registrator run here?")
        }
    };
    Error::Refused(format!("{path} {whose}"))
}

fn restless(path: &str) -> Error {
    Error::Unreachable(format!("{path} changes faster than it can be written"))
}

/// What went wrong, where, and whose fault it is.
pub(super) fn at(subject: &str) -> impl Fn(Zk) -> Error {
    move |error| {
        let text = format!("{subject}: {error}");
        match error {
            Zk::NoAuth
            | Zk::AuthFailed
            | Zk::InvalidAcl
            | Zk::BadArguments(_)
            | Zk::NoChildrenForEphemerals
            | Zk::QuotaExceeded
            | Zk::NotReadOnly
            | Zk::Unimplemented => Error::Refused(text),
            _ => Error::Unreachable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noted_sessions_are_read_back_and_other_lines_left_out() {
        let all = [0x1000_0000_1234_0001, -2, 1];
        assert_eq!(note(&all), "0x1000000012340001\n0xfffffffffffffffe\n0x1\n");
        assert_eq!(sessions(note(&all).as_bytes()), all);
        assert_eq!(sessions(b"mine\n0x2\n\xff\n0xnot\n"), [2]);
    }

    #[test]
    fn the_root_is_the_parent_of_what_stands_under_it() {
        assert_eq!(parent("/a/b"), "/a");
        assert_eq!(parent("/a"), "/");
    }
}
