//! The users that jobs' processes become: nobody else on this machine may be one of them.

use super::{Check, Class, Report};
use crate::config::{SandboxConfig, Users};
use crate::execute::{OCI_IDS, OciConfig};
use std::fs;
use std::path::Path;

/// Ranges that users of this machine may give to their containers, then users and groups themselves.
const SUBORDINATE: [&str; 2] = ["/etc/subuid", "/etc/subgid"];
const ACCOUNTS: [&str; 2] = ["/etc/passwd", "/etc/group"];
/// User numbers from here on mean something to the kernel or to systemd.
const END: u64 = 0x7fff_0000;

/// Numbers that somebody has, and where that is written.
struct Taken {
    users: Users,
    by: String,
}

/// Holds the configured ranges against what this machine's files say.
pub(super) fn examine(report: &mut Report, sandbox: &SandboxConfig, oci: &OciConfig) {
    let id = "sandbox.users";
    if !rustix::process::geteuid().is_root() {
        report.add(Check::skipped(Class::Sandbox, id, "jobs run as this user: only root may become another one"));
        return;
    }
    let taken = taken(|path| fs::read_to_string(path).unwrap_or_default());
    let mut ranges = vec![("sandbox.users", "sandbox.users.first", sandbox.users)];
    if oci.enabled {
        ranges.push(("execute.oci.user", "execute.oci.user", Users { first: oci.user, count: OCI_IDS }));
    }
    for (name, key, users) in ranges {
        report.add(judge(name, key, users, &taken));
    }
}

fn judge(name: &str, key: &str, users: Users, taken: &[Taken]) -> Check {
    let Users { first, count } = users;
    let last = u64::from(first) + u64::from(count).saturating_sub(1);
    let range = format!("{first} to {last} ({name})");
    let Some(clash) = taken.iter().find(|taken| taken.users.overlaps(users)) else {
        return Check::ok(Class::Sandbox, name, format!("nobody else is one of the users {range}"));
    };
    let found = format!("of the users {range} some are not for jobs alone: {}", clash.by);
    let advice = match free(users, taken) {
        Some(first) => format!("set {key} to {first}, from where on nobody has {count} numbers"),
        None => format!("set {key} to where {count} numbers are nobody's"),
    };
    Check::warn(Class::Sandbox, name, found, advice)
}

/// The lowest number, not below that of the range, from which on as many are nobody's.
fn free(users: Users, taken: &[Taken]) -> Option<u32> {
    let mut candidate = users;
    while let Some(clash) = taken.iter().find(|taken| taken.users.overlaps(candidate)) {
        candidate.first = clash.users.first.checked_add(clash.users.count)?;
    }
    (u64::from(candidate.first) + u64::from(candidate.count) <= END).then_some(candidate.first)
}

/// What the files of this machine give to somebody. Lines that cannot be read give nothing.
fn taken(read: impl Fn(&Path) -> String) -> Vec<Taken> {
    let mut all = Vec::new();
    for (files, is_account) in [(SUBORDINATE, false), (ACCOUNTS, true)] {
        for file in files {
            let text = read(Path::new(file));
            all.extend(text.lines().filter_map(|line| entry(file, line, is_account)));
        }
    }
    all
}

/// `name:first:count` of a range, `name:password:number:…` of an account.
fn entry(file: &str, line: &str, is_account: bool) -> Option<Taken> {
    let mut fields = line.trim().split(':');
    let name = fields.next()?;
    let (first, count) = match is_account {
        true => (fields.nth(1)?.parse().ok()?, 1),
        false => (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?),
    };
    let by = match is_account {
        true => format!("{file} has {name} with the number {first}"),
        false => format!("{file} gives {count} from {first} on to {name}"),
    };
    Some(Taken { users: Users { first, count }, by })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn machine(path: &Path) -> String {
        match path.to_str().unwrap() {
            "/etc/subuid" => "ann:100000:65536\nbob:690000:65536\n",
            "/etc/subgid" => "ann:100000:65536\n# a remark\nbob:x:y\n",
            "/etc/passwd" => "root:x:0:0::/root:/bin/sh\nzed:x:755536:1000::/home/zed:/bin/sh\n",
            _ => "root:x:0:\n",
        }
        .into()
    }

    #[test]
    fn a_range_that_somebody_has_is_told_with_one_that_nobody_has() {
        let taken = taken(machine);
        let check = |first| judge("sandbox.users", "sandbox.users.first", Users { first, count: 1_000 }, &taken);
        assert_eq!(check(600_000).state, State::Ok);
        let clash = check(700_000);
        assert_eq!(clash.state, State::Warn);
        assert!(clash.found.contains("/etc/subuid gives 65536 from 690000 on to bob"), "{clash:?}");
        assert!(clash.advice.unwrap().contains("set sandbox.users.first to 755537"), "behind bob's range stands zed");
        assert_eq!(check(755_537).state, State::Ok);
        assert!(check(755_000).found.contains("bob"), "only its start meets the range");
    }

    #[test]
    fn lines_that_say_nothing_take_nothing() {
        assert!(entry("/etc/subuid", "", false).is_none());
        assert!(entry("/etc/subuid", "bob:1", false).is_none());
        assert!(entry("/etc/passwd", "bob:x:one:1", true).is_none());
        assert_eq!(entry("/etc/group", "g:x:7:a,b", true).unwrap().users, Users { first: 7, count: 1 });
    }
}
