//! What lies on this machine's disk: configuration, key, data.

use super::{Check, Class, Report};
use crate::Config;
use alloy::primitives::Address;
use protocol::signature::SigningKey;
use service::keystore::read_key;
use std::path::{Path, PathBuf};

/// Resources of the catalog in which no kind of job is billed.
const UNSOLD: [&str; 3] = ["memory", "storage", "egress"];
/// Below this a ledger may fail to be written, and with it the proof of what was earned.
const LEAST_FREE: u64 = 256 << 20;
/// What the ledger of a busy worker may take within months.
const LEDGER: u64 = 1 << 30;

/// The configuration, if it can be used.
pub(super) fn config(report: &mut Report, path: &Path) -> Option<Config> {
    let loaded = crate::command::load(path).map_err(|error| error.to_string());
    let valid = loaded.and_then(|config| config.validate().map(|()| config).map_err(|error| error.to_string()));
    match valid {
        Ok(config) => {
            let offers: Vec<_> = config.offers.iter().map(|offer| offer.resource.as_str()).collect();
            let found = format!("{} sells {} for {}", path.display(), offers.join(", "), config.provider);
            report.add(Check::ok(Class::Config, "config.file", found));
            if let Some(check) = unsold(config.offers.iter().map(|offer| offer.resource.as_str())) {
                report.add(check);
            }
            Some(config)
        }
        Err(error) => {
            let advice = "correct the file, or write a new one with `capa-worker init`";
            report.add(Check::fail(Class::Config, "config.file", error, advice));
            None
        }
    }
}

/// A warning of offers that nobody can take: no kind of job is billed in what they sell.
fn unsold<'a>(resources: impl Iterator<Item = &'a str>) -> Option<Check> {
    let never: Vec<&str> = resources
        .filter(|name| {
            let class = name.split('.').next().unwrap_or_default();
            UNSOLD.contains(&class)
        })
        .collect();
    if never.is_empty() {
        return None;
    }
    let found =
        format!("{} never sell: no kind of job is billed in memory, storage or traffic alone", never.join(", "));
    let advice = "leave these [[offers]] out, and sell cpu, gpu, lease or the builtin kernels";
    Some(Check::warn(Class::Config, "config.offers", found, advice))
}

/// The worker key's address, if the key can be read.
pub(super) fn key(report: &mut Report, config: &Config) -> Option<Address> {
    let keystore = config.key.keystore.display();
    let key = read_key(&config.key).map(|secret| SigningKey::from_bytes(&secret));
    match key {
        Ok(Some(key)) => {
            let found = format!("{} in {keystore}, for its owner alone", key.address());
            report.add(Check::ok(Class::Key, "key.readable", found));
            if key.address() == config.provider {
                let advice = "use a key of its own, so that what you earn is not at stake on a machine that runs \
                              strangers' jobs";
                report.add(Check::warn(Class::Key, "key.separate", "the worker key is the provider's own", advice));
            } else {
                report.add(Check::ok(Class::Key, "key.separate", "earnings go to an address whose key is elsewhere"));
            }
            Some(key.address())
        }
        Ok(None) => {
            let advice = "make a new one with `capa-worker init`";
            report.add(Check::fail(Class::Key, "key.readable", format!("{keystore} holds no valid key"), advice));
            None
        }
        Err(error) => {
            let advice = "name the files in [key]; `capa-worker init` makes a new key";
            report.add(Check::fail(Class::Key, "key.readable", error, advice));
            None
        }
    }
}

/// Space where the ledger and the blobs lie.
pub(super) fn disk(report: &mut Report, config: &Config) {
    let folder = existing(&config.data);
    let free = match rustix::fs::statvfs(&folder) {
        Ok(status) => status.f_bavail.saturating_mul(status.f_frsize),
        Err(error) => {
            let found = format!("{} cannot be looked at: {error}", folder.display());
            report.add(Check::fail(Class::Disk, "disk.space", found, "correct `data`, or its permissions"));
            return;
        }
    };
    let blobs = config.direct.as_ref().map_or(0, |direct| direct.max_store.get());
    report.add(space(&config.data, free, blobs));
    if rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK).is_err() {
        let found = format!("{} cannot be written by this user", folder.display());
        let advice = "run the worker as the owner of that folder, or correct `data`";
        report.add(Check::fail(Class::Disk, "disk.writable", found, advice));
    } else {
        report.add(Check::ok(Class::Disk, "disk.writable", folder.display()));
    }
}

/// The check of `free` bytes where `blobs` bytes of blobs may be kept.
fn space(data: &Path, free: u64, blobs: u64) -> Check {
    let found = format!("{} has {} MiB free", data.display(), free >> 20);
    if free < LEAST_FREE {
        let advice = "make room at once: a worker that cannot write its ledger loses what it is owed";
        return Check::fail(Class::Disk, "disk.space", found, advice);
    }
    let wanted = LEDGER.saturating_add(blobs);
    if free < wanted {
        let advice = format!(
            "the ledger and the blobs of direct jobs may need {} MiB: make room, or lower direct.max_store",
            wanted >> 20
        );
        return Check::warn(Class::Disk, "disk.space", found, advice);
    }
    Check::ok(Class::Disk, "disk.space", found)
}

/// The folder, or the nearest one above it that exists.
fn existing(folder: &Path) -> PathBuf {
    let above = folder.ancestors().find(|folder| folder.is_dir()).filter(|folder| folder != &Path::new(""));
    above.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn offers_that_never_sell_are_named() {
        let names = ["cpu.x86-64", "memory", "gpu.h200", "egress"];
        let check = unsold(names.into_iter()).unwrap();
        assert_eq!(
            (check.state, check.found.starts_with("memory, egress never sell")),
            (State::Warn, true),
            "{check:?}"
        );
        assert_eq!(unsold(["cpu.x86-64", "lease.h200"].into_iter()), None);
    }

    #[test]
    fn space_is_judged_by_what_is_kept() {
        let data = Path::new("data");
        assert_eq!(space(data, 100 << 20, 0).state, State::Fail);
        assert_eq!(space(data, 2 << 30, 0).state, State::Ok);
        let tight = space(data, 2 << 30, 8 << 30);
        assert_eq!(tight.state, State::Warn);
        assert!(tight.advice.unwrap().contains("9216 MiB"));
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        assert_eq!(existing(Path::new("no-such-folder/b")), Path::new("."));
    }
}
