//! Images that are not allowed, not intact, or not for this machine.

use crate::layout::{Archive, GZIP, TAR, digest, gzip};
use crate::machine::Machine;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use worker::execute::{ExecuteError, ImageError, ImageStore, OciConfig};

/// Why an allowed image cannot be unpacked.
fn refused(machine: &Machine, image: &str) -> ImageError {
    let config = OciConfig { images: vec![image.to_owned()], ..machine.config.clone() };
    let error = ImageStore::open(&config).unwrap().unpack(image).unwrap_err();
    let names = machine.config.store.join("rootfs").read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let unfinished = names.filter(|name| name.to_string_lossy().starts_with(".unfinished"));
    assert_eq!(unfinished.count(), 0, "a refused image leaves nothing");
    error
}

fn flip_last_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn only_allowed_images_run() {
    let Some(mut machine) = Machine::new() else { return };
    let executor = machine.executor();
    machine.image = machine.layout.image(vec![Archive::busybox()], json!({ "User": "0" }));
    let error = machine.run(&executor, machine.job("exit 0")).unwrap_err();
    assert!(matches!(&error, ExecuteError::Unsupported(reason) if reason.contains("execute.oci.images")), "{error:?}");
}

#[test]
fn corrupted_blobs_are_found_before_they_are_used() {
    let Some(mut machine) = Machine::new() else { return };
    let layer = gzip(&Archive::busybox().file("more", 0o644, b"more").finish());
    let content = [digest(&Archive::busybox().file("more", 0o644, b"more").finish())];
    let blob = machine.layout.blob(GZIP, &layer);
    let image = machine.layout.manifest(vec![blob.clone()], &content, json!({}), "amd64");
    flip_last_byte(&machine.layout.path(blob["digest"].as_str().unwrap()));
    assert!(matches!(refused(&machine, &image), ImageError::Corrupted(_)));
    // To a job it is the node's failure, which nobody is billed for.
    machine.config.images = vec![image.clone()];
    machine.image = image.clone();
    let error = machine.run(&machine.executor(), machine.job("exit 0")).unwrap_err();
    assert!(matches!(&error, ExecuteError::Node(reason) if reason.contains("corrupted")), "{error:?}");
    flip_last_byte(&machine.layout.path(&image));
    assert!(matches!(refused(&machine, &image), ImageError::Corrupted(_)));
    std::fs::remove_file(machine.layout.path(&image)).unwrap();
    assert!(matches!(refused(&machine, &image), ImageError::Unreadable { .. }));
    machine.assert_clean();
}

#[test]
fn a_layer_must_hold_what_its_configuration_promises() {
    let Some(machine) = Machine::new() else { return };
    let blob = machine.layout.blob(TAR, &Archive::new().file("a", 0o644, b"a").finish());
    let other = [digest(b"something else")];
    let image = machine.layout.manifest(vec![blob.clone()], &other, json!({}), "amd64");
    assert!(matches!(refused(&machine, &image), ImageError::Corrupted(_)));
    let image = machine.layout.manifest(vec![blob], &[], json!({}), "amd64");
    assert!(matches!(refused(&machine, &image), ImageError::Malformed(_)));
}

#[test]
fn an_index_leads_to_the_image_of_this_machine() {
    let Some(mut machine) = Machine::new() else { return };
    let describe = |machine: &Machine, image: &str, platform: &str| -> Value {
        let size = machine.layout.path(image).metadata().unwrap().len();
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image, "size": size,
            "platform": { "os": "linux", "architecture": platform }
        })
    };
    let other = machine.layout.manifest(vec![], &[], json!({}), "riscv64");
    let manifests = [describe(&machine, &other, "riscv64"), describe(&machine, &machine.image, "amd64")];
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = |machine: &Machine, manifests: &[Value]| {
        let text = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests }).to_string();
        machine.layout.blob(kind, text.as_bytes())["digest"].as_str().unwrap().to_owned()
    };
    let both = index(&machine, &manifests);
    let foreign = index(&machine, &manifests[..1]);
    assert!(matches!(refused(&machine, &foreign), ImageError::Platform(_)));
    assert!(matches!(refused(&machine, &other), ImageError::Platform(_)));
    machine.config.images = vec![both.clone()];
    machine.image = both;
    assert_eq!(machine.output_of("echo here > /capa/outputs/0"), "here\n");
}

#[test]
fn what_cannot_be_unpacked_is_named() {
    let Some(machine) = Machine::new() else { return };
    let kind = "application/vnd.oci.image.layer.v1.tar+zstd";
    let blob = machine.layout.blob(kind, b"(\xb5/\xfd");
    let image = machine.layout.manifest(vec![blob], &[digest(b"x")], json!({}), "amd64");
    let error = refused(&machine, &image).to_string();
    assert!(error.contains(kind) && error.contains("gzip"), "{error}");
    let config = OciConfig { store: machine.folder.path().join("nowhere"), ..machine.config.clone() };
    assert!(matches!(ImageStore::open(&config).unwrap_err(), ImageError::Unreadable { .. }));
    let neither = machine.layout.blob("application/json", b"{}")["digest"].as_str().unwrap().to_owned();
    assert!(matches!(refused(&machine, &neither), ImageError::Malformed(_)));
}

#[test]
fn a_user_that_the_image_does_not_have_is_named() {
    let Some(mut machine) = Machine::new() else { return };
    let image = machine.layout.image(vec![Archive::busybox()], json!({ "User": "somebody" }));
    machine.config.images = vec![image.clone()];
    machine.image = image;
    let error = machine.run(&machine.executor(), machine.job("exit 0")).unwrap_err();
    assert!(matches!(&error, ExecuteError::Node(reason) if reason.contains("somebody")), "{error:?}");
}

/// `capa-worker image` with the example's configuration and these images.
fn image_verb(machine: &Machine, images: &[&str]) -> Output {
    let example = include_str!("../../worker.example.toml");
    let store = format!("store = {:?}", machine.config.store);
    let text = example.replace("images = []", &format!("images = {images:?}")).replace("store = \"images\"", &store);
    let file = machine.folder.path().join("worker.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_capa-worker"));
    command.args(["image", "--config"]).arg(file).output().unwrap()
}

#[test]
fn the_operator_can_unpack_images_before_jobs_come() {
    let Some(machine) = Machine::new() else { return };
    let missing = digest(b"not there");
    let output = image_verb(&machine, &[&machine.image]);
    assert!(output.status.success(), "{output:?}");
    let ready = format!("{} is ready in {}", machine.image, machine.config.store.join("rootfs").display());
    assert!(String::from_utf8_lossy(&output.stdout).contains(&ready), "{output:?}");
    let output = image_verb(&machine, &[&machine.image, &missing]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains(&missing) && text.contains("cannot be read"), "{text}");
}
