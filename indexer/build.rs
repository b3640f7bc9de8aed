//! Puts the web page into the binary: `web/dist` if it was built, else a static page that needs no build.
//!
//! The result is a table of paths and contents, `assets.rs` in the build's folder.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let built = here.join("../web/dist");
    let has_build = built.join("index.html").is_file();
    // Cargo reruns this for a missing path every time, so without a build it watches what would make one appear.
    println!("cargo::rerun-if-changed={}", if has_build { "../web/dist" } else { "../web" });
    println!("cargo::rerun-if-changed=fallback");
    let folder = if has_build { built } else { here.join("fallback") };
    let mut files = Vec::new();
    collect(&folder, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let path = file.strip_prefix(&folder)?.to_str().ok_or("a file name that is not UTF-8")?.replace('\\', "/");
        let file = file.canonicalize()?;
        writeln!(table, "    ({path:?}, include_bytes!({:?})),", file.to_str().ok_or("a path that is not UTF-8")?)?;
    }
    table.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("assets.rs"), table)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
