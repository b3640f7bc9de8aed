//! Headers that sources may include, read into memory at the start: the compiler itself opens no file.
//!
//! NVRTC takes headers by name and knows no folders, so an `#include "neighbour.h"` within a header is rewritten to the
//! name that the header has from the folder's root. Only headers that a source can reach are handed to the compiler.

use alloy::primitives::{B256, keccak256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};

/// Most files, and bytes in all.
const MAX_FILES: usize = 16_384;
const MAX_BYTES: usize = 128 << 20;
/// How deep folders are searched.
const MAX_DEPTH: usize = 16;

/// Headers by the name that a source includes them by.
#[derive(Default)]
pub(super) struct Headers {
    files: BTreeMap<String, Header>,
    digest: B256,
}

struct Header {
    name: CString,
    text: CString,
    /// Names that it includes.
    includes: Vec<String>,
}

impl Headers {
    /// Reads all headers of the folders; where two have one of the same name, the first folder's is taken.
    pub(super) fn read(folders: &[PathBuf]) -> Result<Self, String> {
        let mut texts = BTreeMap::new();
        for folder in folders {
            let mut found = Vec::new();
            let failed = |error| format!("{} cannot be read: {error}: see cuda.headers", folder.display());
            files_below(folder, 0, &mut found).map_err(failed)?;
            for path in found {
                let Some(name) = path.strip_prefix(folder).ok().and_then(Path::to_str).map(str::to_owned) else {
                    continue;
                };
                if let std::collections::btree_map::Entry::Vacant(free) = texts.entry(name) {
                    free.insert(String::from_utf8_lossy(&std::fs::read(&path).map_err(failed)?).into_owned());
                }
            }
            let bytes: usize = texts.values().map(String::len).sum();
            if texts.len() > MAX_FILES || bytes > MAX_BYTES {
                return Err(format!(
                    "{} holds too much: name a folder of CUDA headers in cuda.headers",
                    folder.display()
                ));
            }
        }
        Ok(Self::new(&texts))
    }

    fn new(texts: &BTreeMap<String, String>) -> Self {
        let mut files = BTreeMap::new();
        let mut identity = Vec::new();
        for (name, text) in texts {
            let text = with_full_names(name, text, texts);
            let includes = text.lines().filter_map(|line| Some(included(line)?.1.to_owned())).collect();
            identity.extend(keccak256(name).0);
            identity.extend(keccak256(&text).0);
            // A header with a zero byte is none.
            if let (Ok(c_name), Ok(text)) = (CString::new(name.as_str()), CString::new(text)) {
                files.insert(name.clone(), Header { name: c_name, text, includes });
            }
        }
        Self { files, digest: keccak256(identity) }
    }

    /// Names what all headers say.
    pub(super) const fn digest(&self) -> B256 {
        self.digest
    }

    /// Names and texts of the headers that a source can reach. A source that includes none, or one whose name is made
    /// by a macro, reaches none.
    pub(super) fn reached_by(&self, source: &[u8]) -> Vec<(&CStr, &CStr)> {
        if self.files.is_empty() {
            return Vec::new();
        }
        let source = String::from_utf8_lossy(source);
        let mut next: Vec<&str> = source.lines().filter_map(|line| Some(included(line)?.1)).collect();
        let mut reached = BTreeSet::new();
        while let Some(name) = next.pop() {
            if let Some((name, header)) = self.files.get_key_value(name)
                && reached.insert(name)
            {
                next.extend(header.includes.iter().map(String::as_str));
            }
        }
        let header =
            |name: &String| self.files.get(name).map(|header| (header.name.as_c_str(), header.text.as_c_str()));
        reached.into_iter().filter_map(header).collect()
    }
}

fn files_below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if depth > MAX_DEPTH || found.len() > MAX_FILES {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, depth + 1, found)?;
        } else if path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// The text before the name in a line that includes a header, and the name.
fn included(line: &str) -> Option<(&str, &str)> {
    let directive = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?.trim_start();
    let close = match directive.chars().next()? {
        '"' => '"',
        '<' => '>',
        _ => return None,
    };
    let name = directive[1..].split(close).next()?;
    let before = &line[..line.len() - directive.len()];
    Some((before, name))
}

/// A header whose neighbours are included by their full names. Its lines stay where they are.
fn with_full_names(name: &str, text: &str, texts: &BTreeMap<String, String>) -> String {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let rewrite = |line: &str| match included(line) {
        // Only a name in quotes is looked for beside the header.
        Some((before, near)) if line[before.len()..].starts_with('"') && texts.contains_key(&joined(folder, near)) => {
            format!("{before}\"{}\"\n", joined(folder, near))
        }
        _ => format!("{}\n", line.trim_end_matches('\r')),
    };
    text.lines().map(rewrite).collect()
}

/// A path from a folder, without `.` and `..`.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> Headers {
        let files = [
            ("a.h", "#pragma once\n#  include \"b/c.h\"\n#include <d.h>\n"),
            ("b/c.h", "#include \"e.h\" // near\n#include \"../d.h\"\n#include_next <x.h>\n"),
            ("b/e.h", "int e;"),
            ("d.h", "#include \"a.h\"\r\n#include \"none.h\"\r\n"),
            ("f.h", "int f;"),
        ];
        Headers::new(&files.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
    }

    #[test]
    fn a_source_reaches_what_its_headers_include() {
        let headers = headers();
        let names = |source: &str| -> Vec<String> {
            let reached = headers.reached_by(source.as_bytes());
            reached.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("int x;\n #include <a.h>\n"), ["a.h", "b/c.h", "b/e.h", "d.h"]);
        assert_eq!(names("#include \"f.h\""), ["f.h"]);
        assert_eq!(names("// include <f.h>\n#include MACRO\n#include \"/etc/passwd\""), [""; 0]);
    }

    #[test]
    fn neighbours_are_included_by_their_full_names() {
        let headers = headers();
        let text = |name: &str| headers.files[name].text.to_string_lossy().into_owned();
        assert_eq!(text("b/c.h"), "#include \"b/e.h\"\n#include \"d.h\"\n#include_next <x.h>\n");
        assert_eq!(text("d.h"), "#include \"a.h\"\n#include \"none.h\"\n");
    }

    #[test]
    fn the_first_folder_counts_and_a_missing_one_is_named() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(two.path().join("deep")).unwrap();
        std::fs::write(one.path().join("x.h"), "int one;").unwrap();
        std::fs::write(two.path().join("x.h"), "int two;").unwrap();
        std::fs::write(two.path().join("deep/y.h"), "#include \"../x.h\"").unwrap();
        let read = |folders: &[&Path]| Headers::read(&folders.iter().map(|f| f.to_path_buf()).collect::<Vec<_>>());
        let both = read(&[one.path(), two.path()]).unwrap();
        let reached = both.reached_by(b"#include <deep/y.h>");
        assert_eq!(reached, [(c"deep/y.h", c"#include \"x.h\"\n"), (c"x.h", c"int one;\n")]);
        assert_ne!(both.digest(), read(&[two.path(), one.path()]).unwrap().digest());
        assert!(read(&[Path::new("/no/such/folder")]).err().unwrap().contains("/no/such/folder"));
    }
}
