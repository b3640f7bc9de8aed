//! Rebuilds when a migration changes: the macro that embeds them cannot watch their folder.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
