//! Where blank children may be made: nowhere that a device must be free of the worker's own processes.

use super::device::Site;
use std::collections::BTreeSet;
use tokio::sync::watch;

/// Sites on which a child is being made in the background, and sites on which none may be.
pub(super) struct Blanks(watch::Sender<Marks>);

#[derive(Default)]
struct Marks {
    making: BTreeSet<Site>,
    closed: BTreeSet<Site>,
}

impl Default for Blanks {
    fn default() -> Self {
        Self(watch::Sender::new(Marks::default()))
    }
}

impl Blanks {
    /// Whether somebody may make a child for a site; then [`Blanks::end`] must follow.
    pub(super) fn begin(&self, site: Site) -> bool {
        let mut begun = false;
        self.0.send_modify(|marks| begun = !marks.closed.contains(&site) && marks.making.insert(site));
        begun
    }

    /// Nobody makes one any more.
    pub(super) fn end(&self, site: Site) {
        self.0.send_modify(|marks| {
            marks.making.remove(&site);
        });
    }

    /// Whether no child may be made for a site now.
    pub(super) fn is_closed(&self, site: Site) -> bool {
        self.0.borrow().closed.contains(&site)
    }

    /// Waits until no child may be made for a site.
    pub(super) async fn closed(&self, site: Site) {
        let _ = self.0.subscribe().wait_for(|marks| marks.closed.contains(&site)).await;
    }

    /// Lets no child be made for a site from here on, and waits for one that is.
    pub(super) async fn close(&self, site: Site) {
        self.0.send_modify(|marks| {
            marks.closed.insert(site);
        });
        // The sender is this value's own, so that waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|marks| !marks.making.contains(&site)).await;
    }

    /// Lets children be made for a site again.
    pub(super) fn open(&self, site: Site) {
        self.0.send_modify(|marks| {
            marks.closed.remove(&site);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_site_waits_for_its_maker_and_lets_no_other_begin() {
        let (blanks, site) = (std::sync::Arc::new(Blanks::default()), Site::Gpu(1));
        assert!(blanks.begin(site));
        assert!(!blanks.begin(site), "one at a time");
        let closing = tokio::spawn({
            let blanks = blanks.clone();
            async move { blanks.close(site).await }
        });
        while !blanks.is_closed(site) {
            tokio::task::yield_now().await;
        }
        assert!(!closing.is_finished(), "its maker is still there");
        blanks.end(site);
        closing.await.unwrap();
        assert!(!blanks.begin(site) && blanks.begin(Site::Gpu(0)));
        blanks.open(site);
        assert!(blanks.begin(site));
    }
}
