//! Layers over layers, and layers that attack the machine that unpacks them.

use crate::layout::{Archive, TAR, digest};
use crate::machine::Machine;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use worker::execute::{ImageError, ImageStore, OciConfig};

/// Unpacks an image of these layers.
fn unpack(machine: &Machine, layers: Vec<Archive>) -> Result<PathBuf, ImageError> {
    let image = machine.layout.image(layers, json!({}));
    let config = OciConfig { images: vec![image.clone()], ..machine.config.clone() };
    ImageStore::open(&config).unwrap().unpack(&image)
}

/// Unpacks layers that must be refused, and returns the reason.
fn refused(machine: &Machine, layers: Vec<Archive>) -> String {
    match unpack(machine, layers).unwrap_err() {
        error @ ImageError::Layer { .. } => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn names(folder: PathBuf) -> Vec<String> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[test]
fn upper_layers_replace_and_remove() {
    let Some(machine) = Machine::new() else { return };
    let lower = Archive::new()
        .folder("a/")
        .file("a/kept", 0o644, b"1")
        .file("a/replaced", 0o644, b"1")
        .file("a/removed", 0o644, b"1")
        .folder("b/")
        .file("b/hidden", 0o644, b"1")
        .folder("b/c/")
        .file("b/c/hidden", 0o644, b"1")
        .folder("gone/")
        .file("gone/below", 0o644, b"1")
        .file("turned", 0o644, b"1");
    let upper = Archive::new()
        .file("a/replaced", 0o644, b"22")
        .file("a/.wh.removed", 0o644, b"")
        .file("b/c/new", 0o644, b"2")
        // The marker may come after what its own layer adds.
        .file("b/.wh..wh..opq", 0o644, b"")
        .file(".wh.gone", 0o644, b"")
        .file(".wh.never-there", 0o644, b"")
        .folder("turned/")
        .file("turned/inside", 0o644, b"2")
        .hard_link("a/linked", "a/kept");
    let rootfs = unpack(&machine, vec![lower, upper]).unwrap();
    assert_eq!(names(rootfs.clone()), ["a", "b", "turned"]);
    assert_eq!(names(rootfs.join("a")), ["kept", "linked", "replaced"]);
    assert_eq!(std::fs::read(rootfs.join("a/replaced")).unwrap(), b"22");
    assert_eq!((names(rootfs.join("b")), names(rootfs.join("b/c"))), (vec!["c".to_owned()], vec!["new".to_owned()]));
    assert_eq!(names(rootfs.join("turned")), ["inside"]);
    let facts = rootfs.join("a/linked").metadata().unwrap();
    assert_eq!((facts.nlink(), facts.mtime()), (2, 1_000_000_000));
    assert_eq!((facts.uid(), facts.gid()), (machine.config.user, machine.config.user), "root inside is nobody outside");
}

#[test]
fn paths_that_climb_are_refused() {
    let Some(machine) = Machine::new() else { return };
    for path in ["../escaped", "a/../../escaped", "/../escaped", "./../../escaped"] {
        let reason = refused(&machine, vec![Archive::new().file(path, 0o644, b"evil")]);
        assert!(reason.contains("climbs out"), "{path}: {reason}");
    }
    let reason = refused(&machine, vec![Archive::new().file("../.wh.images", 0o644, b"")]);
    assert!(reason.contains("climbs out"), "{reason}");
    let reason = refused(&machine, vec![Archive::new().file("a/.wh...", 0o644, b"")]);
    assert!(reason.contains("removes nothing"), "{reason}");
    assert!(!machine.config.store.join("escaped").exists() && !machine.config.store.join("rootfs/escaped").exists());
}

#[test]
fn links_are_followed_inside_the_image_only() {
    let Some(machine) = Machine::new() else { return };
    let outside = machine.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let target = outside.to_str().unwrap();
    let lower = Archive::new().folder("deep/").link("deep/out", target).link("up", "../../../../../../..");
    let upper = Archive::new()
        .file("deep/out/evil", 0o644, b"evil")
        .file("up/evil", 0o644, b"evil")
        .file("deep/out/.wh.secret", 0o644, b"")
        .file("deep/out/.wh..wh..opq", 0o644, b"");
    let rootfs = unpack(&machine, vec![lower, upper]).unwrap();
    assert_eq!(names(outside.clone()), ["secret"], "nothing was written or removed outside");
    assert_eq!(std::fs::read(rootfs.join("evil")).unwrap(), b"evil", "above the root is the root");
    for (target, word) in
        [("/etc/passwd", "hard link to nothing"), ("../../secret", "climbs out"), ("deep", "not a file")]
    {
        let layer = Archive::new().folder("deep/").hard_link("stolen", target);
        let reason = refused(&machine, vec![layer]);
        assert!(reason.contains(word), "{target}: {reason}");
    }
    let through = Archive::new().link("door", target).hard_link("stolen", "door/secret");
    assert!(refused(&machine, vec![through]).contains("hard link to nothing"));
}

#[test]
fn a_file_replaces_a_link_instead_of_following_it() {
    let Some(machine) = Machine::new() else { return };
    let victim = machine.folder.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    let path = victim.to_str().unwrap();
    let lower = Archive::new().link("file", path).link("folder", machine.folder.path().to_str().unwrap());
    let upper = Archive::new().file("file", 0o644, b"evil").folder("folder/").file("folder/victim", 0o644, b"evil");
    let rootfs = unpack(&machine, vec![lower, upper]).unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(rootfs.join("file").symlink_metadata().unwrap().is_file());
    assert!(rootfs.join("folder").symlink_metadata().unwrap().is_dir());
}

#[test]
fn devices_and_privileges_are_left_out() {
    let Some(machine) = Machine::new() else { return };
    let layer = Archive::new().device("disk").file("tool", 0o6755, b"#!").file("plain", 0o1644, b"");
    let rootfs = unpack(&machine, vec![layer]).unwrap();
    assert_eq!(names(rootfs.clone()), ["plain", "tool"]);
    assert_eq!(rootfs.join("tool").metadata().unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn bombs_are_bounded() {
    let Some(mut machine) = Machine::new() else { return };
    machine.config.max_image = 10 << 20;
    let zeros = vec![0u8; 6 << 20];
    let reason =
        refused(&machine, vec![Archive::new().file("a", 0o644, &zeros), Archive::new().file("b", 0o644, &zeros)]);
    assert!(reason.contains("execute.oci.max_image"), "{reason}");
    // A name of two megabytes: memory is bounded before anything is written.
    let mut name = tar::Header::new_gnu();
    name.set_entry_type(tar::EntryType::GNULongName);
    name.set_size(2 << 20);
    name.set_cksum();
    let mut bytes = name.as_bytes().to_vec();
    bytes.extend(vec![b'a'; 2 << 20]);
    bytes.extend(Archive::new().file("a", 0o644, b"").finish());
    let blob = machine.layout.blob(TAR, &bytes);
    let image = machine.layout.manifest(vec![blob], &[digest(&bytes)], json!({}), "amd64");
    let config = OciConfig { images: vec![image.clone()], ..machine.config.clone() };
    let reason = ImageStore::open(&config).unwrap().unpack(&image).unwrap_err().to_string();
    assert!(reason.contains("headers are too long"), "{reason}");
    let deep = "d/".repeat(49);
    let long = Archive::new().link("a", "b").file(&deep, 0o644, b"");
    unpack(&machine, vec![long]).unwrap();
}

#[test]
fn an_image_is_unpacked_once() {
    let Some(machine) = Machine::new() else { return };
    let store = ImageStore::open(&machine.config).unwrap();
    let rootfs = store.unpack(&machine.image).unwrap();
    let before = rootfs.metadata().unwrap().ino();
    machine.output_of("echo again > /capa/outputs/0");
    assert_eq!(store.unpack(&machine.image).unwrap().metadata().unwrap().ino(), before);
    assert_eq!(names(rootfs.clone()), ["bin"], "no job changes an image, not even by its mount points");
}
