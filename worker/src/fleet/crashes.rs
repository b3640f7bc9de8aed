//! Whose fault it is that a job's process crashed.
//!
//! A process that is ended by a signal for what it did, or that aborts itself, was running a stranger's code: that is the
//! program's doing, and what it used is billed, or else whoever knows how to crash a compiler would use this machine for
//! nothing. But a broken driver or a bad memory module looks just the same to each client. So where the jobs of two
//! payers crash one after the other, and no job ends in any other way in between, the site itself is suspected: the
//! second crash and those that follow it are the node's failure, and bill nothing.

use super::device::Site;
use crate::node::lock;
use alloy::primitives::Address;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The payer whose job crashed last on each site, since a job ended in another way there.
#[derive(Debug, Default)]
pub(super) struct Crashes(Mutex<BTreeMap<Site, Address>>);

impl Crashes {
    /// A payer's job crashed: whether the site is to blame.
    pub(super) fn is_the_nodes(&self, site: Site, payer: Address) -> bool {
        let mut last = lock(&self.0);
        *last.entry(site).or_insert(payer) != payer
    }

    /// A job ended in another way.
    pub(super) fn forget(&self, site: Site) {
        lock(&self.0).remove(&site);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    #[test]
    fn a_payer_that_crashes_alone_pays_for_it() {
        let crashes = Crashes::default();
        for _ in 0..3 {
            assert!(!crashes.is_the_nodes(Site::Gpu(0), ONE));
        }
        assert!(!crashes.is_the_nodes(Site::Cpu, OTHER), "another site");
        crashes.forget(Site::Gpu(0));
        assert!(!crashes.is_the_nodes(Site::Gpu(0), OTHER), "a job of somebody ended well in between");
    }

    #[test]
    fn a_site_on_which_two_payers_crash_is_to_blame() {
        let crashes = Crashes::default();
        assert!(!crashes.is_the_nodes(Site::Gpu(0), ONE));
        assert!(crashes.is_the_nodes(Site::Gpu(0), OTHER));
        assert!(crashes.is_the_nodes(Site::Gpu(0), OTHER));
    }
}
