//! `capa-worker image`: every allowed container image, checked and unpacked.

use crate::execute::{ImageStore, OciConfig};
use std::process::ExitCode;

/// Prints a line for each image. The exit code says whether all of them can be used.
pub(super) fn unpack(config: &OciConfig) -> anyhow::Result<ExitCode> {
    let store = ImageStore::open(config)?;
    let mut unusable = 0;
    for image in store.allowed() {
        match store.unpack(image) {
            Ok(folder) => println!("{image} is ready in {}", folder.display()),
            Err(error) => {
                unusable += 1;
                eprintln!("{image} cannot be used: {error}");
            }
        }
    }
    if store.allowed().is_empty() {
        eprintln!("no image is allowed: list the digests in execute.oci.images");
    }
    Ok(if unusable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
