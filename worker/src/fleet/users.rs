//! User numbers for children: what two processes of one user may do to each other, children of two tenants must not.

use nix::unistd::geteuid;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder of the claims, in the one that all workers of a machine share.
const FOLDER: &str = "users";

/// A range of user numbers that nothing else on the machine has.
pub(super) struct Users {
    /// Where numbers are claimed; or why children have none of their own, if there is more to say than that nobody but
    /// root may become somebody else.
    claims: Result<PathBuf, Option<String>>,
    first: u32,
    count: u32,
}

/// A user number in use. Whoever holds this has the number alone, among all workers of the machine.
pub(super) struct Uid {
    number: u32,
    /// A locked file: the kernel takes the lock back when its process ends in whatever way. The file itself stays, for
    /// who removes it could remove the one that another worker has just locked.
    _claim: File,
}

impl Uid {
    pub(super) const fn number(&self) -> u32 {
        self.number
    }
}

impl Users {
    /// `run` is the folder that all workers of the machine share.
    pub(super) fn new(run: &Path, first: u32, count: u32) -> Self {
        let claims = match geteuid().is_root() {
            true => open(run).map_err(Some),
            false => Err(None),
        };
        Self { claims, first, count }
    }

    /// Why children have no users of their own although this worker is root, in a sentence.
    pub(super) fn missing(&self) -> Option<String> {
        self.claims.as_ref().err().cloned().flatten()
    }

    /// A number that nobody has; `None` where this process cannot use one.
    pub(super) fn take(&self) -> Result<Option<Uid>, String> {
        let Ok(folder) = &self.claims else { return Ok(None) };
        for number in self.first..self.first.saturating_add(self.count) {
            let failed =
                |error| format!("a user for a job's process cannot be claimed in {}: {error}", folder.display());
            let file = claim(&folder.join(number.to_string())).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => return Ok(Some(Uid { number, _claim: file })),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Err(format!("all {} users for jobs' processes are taken: raise sandbox.users.count", self.count))
    }
}

fn claim(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The folder of the claims, made if need be. Nobody but this worker's user may get at it: whoever could lock the files
/// in it could keep all numbers to itself.
fn open(run: &Path) -> Result<PathBuf, String> {
    let folder = run.join(FOLDER);
    let made = match std::fs::create_dir_all(run) {
        Ok(()) => DirBuilder::new().mode(0o700).create(&folder),
        failed => failed,
    };
    let failed = |error: Error| {
        format!(
            "jobs have no users of their own: {} cannot be used: {error}; make it writable for the worker, or name \
             another folder in sandbox.run",
            folder.display()
        )
    };
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&folder).map_err(failed)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() {
        return Err(failed(Error::other("it is not a folder of the worker's own user")));
    }
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As for root, whoever this is.
    fn users(run: &Path, count: u32) -> Users {
        Users { claims: open(run).map_err(Some), first: 3_000_000, count }
    }

    #[test]
    fn no_two_children_are_the_same_user() {
        let run = tempfile::tempdir().unwrap();
        let (mine, of_another_worker) = (users(run.path(), 2), users(run.path(), 2));
        let one = mine.take().unwrap().unwrap();
        let two = of_another_worker.take().unwrap().unwrap();
        assert_eq!((one.number(), two.number()), (3_000_000, 3_000_001));
        assert!(mine.take().err().unwrap().contains("sandbox.users.count"));
        drop(one);
        assert_eq!(of_another_worker.take().unwrap().unwrap().number(), 3_000_000);
    }

    #[test]
    fn nobody_else_gets_at_the_claims() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join(FOLDER);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        assert!(users(run.path(), 1).missing().is_none());
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        std::fs::remove_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/tmp", &folder).unwrap();
        let reason = users(run.path(), 1).missing().unwrap();
        assert!(reason.contains("sandbox.run"), "{reason}");
    }

    #[test]
    fn without_a_folder_children_have_no_users_and_it_is_said_why() {
        let run = tempfile::NamedTempFile::new().unwrap();
        let users = users(run.path(), 1);
        assert!(users.take().unwrap().is_none());
        assert!(users.missing().unwrap().contains("no users of their own"));
        let nobody = Users { claims: Err(None), first: 1, count: 1 };
        assert!(nobody.take().unwrap().is_none() && nobody.missing().is_none());
    }
}
