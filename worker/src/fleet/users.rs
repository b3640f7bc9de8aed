//! User numbers for children: what two processes of one user may do to each other, children of two tenants must not.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A range of user numbers that nothing else on the machine has.
pub(super) struct Users {
    /// Only root may become somebody else.
    enabled: bool,
    first: u32,
    count: u32,
}

/// A user number in use. Whoever holds this has the number alone, among all workers of the machine.
pub(super) struct Uid {
    number: u32,
    /// A name that the kernel gives to one socket at a time, and takes back when its process ends in whatever way.
    _claim: UnixDatagram,
}

impl Uid {
    pub(super) const fn number(&self) -> u32 {
        self.number
    }
}

impl Users {
    pub(super) fn new(first: u32, count: u32) -> Self {
        Self { enabled: nix::unistd::geteuid().is_root(), first, count }
    }

    /// A number that nobody has; `None` where this process cannot use one.
    pub(super) fn take(&self) -> Result<Option<Uid>, String> {
        if !self.enabled {
            return Ok(None);
        }
        for number in self.first..self.first.saturating_add(self.count) {
            let name = SocketAddr::from_abstract_name(format!("capa-worker-user-{number}"));
            match name.and_then(|name| UnixDatagram::bind_addr(&name)) {
                Ok(claim) => return Ok(Some(Uid { number, _claim: claim })),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => return Err(format!("a user for a job's process cannot be claimed: {error}")),
            }
        }
        Err(format!("all {} users for jobs' processes are taken: raise sandbox.users.count", self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_children_are_the_same_user() {
        // Numbers that no worker on this machine is given.
        let first = 3_000_000_000 + std::process::id() * 4;
        let users = Users { enabled: true, first, count: 2 };
        let of_another_worker = Users { enabled: true, first, count: 2 };
        let one = users.take().unwrap().unwrap();
        let two = of_another_worker.take().unwrap().unwrap();
        assert_eq!((one.number(), two.number()), (first, first + 1));
        assert!(users.take().err().unwrap().contains("sandbox.users.count"));
        drop(one);
        assert_eq!(of_another_worker.take().unwrap().unwrap().number(), first);
    }

    #[test]
    fn nobody_but_root_becomes_somebody_else() {
        let users = Users { enabled: false, first: 1, count: 1 };
        assert!(users.take().unwrap().is_none());
    }
}
