//! Who a container's process is: the image names a user, by number or as its own `/etc/passwd` does.

use super::ImageError;
use super::config::IDS;
use super::tree::Tree;
use std::path::Path;

/// Longest user or group file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Ids as the container sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ids {
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) groups: Vec<u32>,
}

impl Ids {
    /// The ids of an image's `User`: `user`, `uid`, `user:group` and so on; empty is root.
    pub(super) fn of(name: &str, rootfs: &Path) -> Result<Self, ImageError> {
        let unreadable = |source| ImageError::Unreadable { path: rootfs.into(), source };
        let tree = Tree::open(rootfs, 0).map_err(unreadable)?;
        let read = |path| tree.read(path, MAX_FILE).map_err(unreadable);
        let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        find(name, &text(read("etc/passwd")?), &text(read("etc/group")?))
    }
}

fn find(name: &str, passwd: &str, group: &str) -> Result<Ids, ImageError> {
    let (user, wanted) = name.split_once(':').map_or((name, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    // name:password:uid:gid:…
    let entry = lines(passwd).find(|entry| field(entry, 0) == Some(user) || field(entry, 2) == Some(user));
    let id = match &entry {
        Some(entry) => number(entry, 2),
        None => user.parse().ok(),
    };
    let missing = |what: &str, name: &str| ImageError::Malformed(format!("it has no {what} {name:?} to run as"));
    let id = id.filter(|id| *id < IDS).ok_or_else(|| missing("user", user))?;
    let Some(wanted) = wanted else {
        let login = entry.as_ref().and_then(|entry| field(entry, 0));
        return Ok(Ids {
            user: id,
            group: entry.as_ref().and_then(|entry| number(entry, 3)).filter(|id| *id < IDS).unwrap_or(0),
            groups: login.map(|login| memberships(login, group)).unwrap_or_default(),
        });
    };
    // name:password:gid:member,member
    let entry = lines(group).find(|entry| field(entry, 0) == Some(wanted) || field(entry, 2) == Some(wanted));
    let found = match &entry {
        Some(entry) => number(entry, 2),
        None => wanted.parse().ok(),
    };
    let found = found.filter(|id| *id < IDS).ok_or_else(|| missing("group", wanted))?;
    Ok(Ids { user: id, group: found, groups: Vec::new() })
}

fn memberships(login: &str, group: &str) -> Vec<u32> {
    let member = |entry: &Vec<&str>| field(entry, 3).is_some_and(|members| members.split(',').any(|one| one == login));
    lines(group).filter(member).filter_map(|entry| number(&entry, 2)).filter(|id| *id < IDS).collect()
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.trim().split(':').collect())
}

fn field<'a>(entry: &[&'a str], index: usize) -> Option<&'a str> {
    entry.get(index).copied()
}

fn number(entry: &[&str], index: usize) -> Option<u32> {
    field(entry, index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nhuge:x:70000:0:::\n";
    const GROUP: &str = "root:x:0:\nvideo:x:44:app,other\naudio:x:29:other\n";

    #[test]
    fn users_are_found_as_other_runtimes_find_them() {
        let ids = |user, group, groups: &[u32]| Ids { user, group, groups: groups.to_vec() };
        for (name, expected) in [
            ("", ids(0, 0, &[])),
            ("app", ids(1000, 1001, &[44])),
            ("1000", ids(1000, 1001, &[44])),
            ("app:video", ids(1000, 44, &[])),
            ("4242", ids(4242, 0, &[])),
            ("4242:4343", ids(4242, 4343, &[])),
        ] {
            assert_eq!(find(name, PASSWD, GROUP).unwrap(), expected, "{name:?}");
        }
        assert_eq!(find("", "", "").unwrap(), Ids::default());
    }

    #[test]
    fn users_that_do_not_exist_or_do_not_fit_are_refused() {
        for (name, word) in [("nobody", "nobody"), ("huge", "huge"), ("70000", "70000"), ("app:wheel", "wheel")] {
            let error = find(name, PASSWD, GROUP).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
