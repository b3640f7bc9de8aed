//! Children written down, so that the next start can kill what a crash left behind: a lost child would hold its GPU.

use super::device::Site;
use crate::node::lock;
use crate::observe;
use crate::sandbox::{Identity, Orphan, kill_orphan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

const FILE: &str = "children.json";
/// How long a killed child of an earlier supervisor may take to be gone.
const ORPHAN_DEADLINE: Duration = Duration::from_secs(5);

/// The list of living children.
pub(super) struct Roster {
    path: PathBuf,
    children: Mutex<BTreeMap<u32, Entry>>,
}

/// A child, and what it works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) site: Site,
}

impl Roster {
    /// Kills the children of an earlier supervisor in this folder. Returns those that would not die as well: what they
    /// hold cannot be used.
    pub(super) fn open(folder: &Path) -> Result<(Self, Vec<Entry>), Error> {
        fs::create_dir_all(folder)?;
        let path = folder.join(FILE);
        let mut undead = Vec::new();
        for entry in read(&path) {
            match kill_orphan(&entry.identity, ORPHAN_DEADLINE) {
                Ok(Orphan::Gone) => {}
                Ok(Orphan::Killed) => observe::orphan_killed(entry.identity.pid),
                Ok(Orphan::Alive) => undead.push(entry),
                Err(error) => {
                    tracing::error!(pid = entry.identity.pid, %error, "a left-behind child cannot be killed");
                    undead.push(entry);
                }
            }
        }
        let children = undead.iter().map(|entry| (entry.identity.pid, entry.clone())).collect();
        let roster = Self { path, children: Mutex::new(children) };
        roster.write(&lock(&roster.children))?;
        Ok((roster, undead))
    }

    /// A child was started.
    pub(super) fn add(&self, identity: &Identity, site: Site) {
        self.change(|children| {
            children.insert(identity.pid, Entry { identity: identity.clone(), site });
        });
    }

    /// A child is gone.
    pub(super) fn remove(&self, identity: &Identity) {
        self.change(|children| {
            children.remove(&identity.pid);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u32, Entry>)) {
        let mut children = lock(&self.children);
        change(&mut children);
        if let Err(error) = self.write(&children) {
            observe::failing("children.json", &error);
        }
    }

    /// Replaces the file as a whole. It need not survive the machine's crash, which no child survives either.
    fn write(&self, children: &BTreeMap<u32, Entry>) -> Result<(), Error> {
        let text = serde_json::to_vec(&children.values().collect::<Vec<_>>())?;
        let draft = self.path.with_extension("json.new");
        fs::write(&draft, text)?;
        fs::rename(&draft, &self.path)
    }
}

fn read(path: &Path) -> Vec<Entry> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "left-behind children are not known: the list is damaged");
            Vec::new()
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "left-behind children are not known");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_written_down_while_they_live() {
        let folder = tempfile::tempdir().unwrap();
        let (roster, undead) = Roster::open(folder.path()).unwrap();
        assert!(undead.is_empty());
        let identity = |pid| Identity { pid, start_time: 5, boot: "another".into() };
        roster.add(&identity(7), Site::Gpu(3));
        roster.add(&identity(8), Site::Cpu);
        roster.remove(&identity(8));
        let file = folder.path().join(FILE);
        assert_eq!(read(&file), [Entry { identity: identity(7), site: Site::Gpu(3) }]);
        // The number 7 belongs to nobody of ours after another start of the machine.
        let (_, undead) = Roster::open(folder.path()).unwrap();
        assert!(undead.is_empty());
        assert_eq!(read(&file), []);
    }

    #[test]
    fn a_damaged_list_does_not_keep_the_worker_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "[{").unwrap();
        assert!(Roster::open(folder.path()).is_ok());
    }
}
