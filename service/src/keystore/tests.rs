use std::os::unix::fs::PermissionsExt;

use super::*;

const QUICK: u8 = 12;

struct Files {
    _folder: tempfile::TempDir,
    source: KeySource,
}

fn files(secret: &[u8; 32], password: &str, given: &str) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let source = KeySource { keystore: folder.path().join("key.json"), password_file: folder.path().join("password") };
    write_key_with(&source.keystore, secret, password, QUICK).unwrap();
    fs::write(&source.password_file, given).unwrap();
    protect(&source.password_file, 0o600);
    Files { _folder: folder, source }
}

fn protect(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn document(files: &Files) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(&files.source.keystore).unwrap()).unwrap()
}

#[test]
fn a_key_survives_the_disk() {
    let secret = generate();
    let files = files(&secret, "correct horse", "correct horse\n");
    assert_eq!(*read_key(&files.source).unwrap(), *secret);
    let mode = fs::metadata(&files.source.keystore).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let text = fs::read_to_string(&files.source.keystore).unwrap();
    assert!(!text.contains(&hex::encode(*secret)));
}

#[test]
fn two_keys_are_never_the_same() {
    assert_ne!(*generate(), *generate());
}

#[test]
fn another_password_is_refused() {
    let files = files(&[7; 32], "correct horse", "wrong horse");
    assert!(matches!(read_key(&files.source), Err(KeystoreError::WrongPassword { .. })));
}

#[test]
fn a_changed_ciphertext_is_refused() {
    let files = files(&[7; 32], "p", "p");
    let mut document = document(&files);
    document["crypto"]["ciphertext"] = hex::encode([1; 32]).into();
    fs::write(&files.source.keystore, document.to_string()).unwrap();
    assert!(matches!(read_key(&files.source), Err(KeystoreError::WrongPassword { .. })));
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let files = files(&[7; 32], "p", "p");
    for path in [&files.source.keystore, &files.source.password_file] {
        protect(path, 0o640);
        let error = read_key(&files.source).unwrap_err();
        assert!(matches!(error, KeystoreError::Exposed { mode: 0o640, .. }), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
        protect(path, 0o400);
        read_key(&files.source).unwrap();
    }
}

#[test]
fn a_key_is_never_overwritten() {
    let files = files(&[7; 32], "p", "p");
    let error = write_key_with(&files.source.keystore, &[8; 32], "p", QUICK).unwrap_err();
    assert!(matches!(error, KeystoreError::File { action: "write", .. }), "{error}");
    assert_eq!(*read_key(&files.source).unwrap(), [7; 32]);
}

#[test]
fn hostile_files_are_refused_without_work() {
    let files = files(&[7; 32], "p", "p");
    let good = document(&files);
    let cases = [
        ("/version", 1.into()),
        ("/crypto/cipher", "aes-128-cbc".into()),
        ("/crypto/cipherparams/iv", "00".into()),
        ("/crypto/ciphertext", "00".into()),
        ("/crypto/kdfparams/dklen", 16.into()),
        ("/crypto/kdfparams/n", (1u64 << 31).into()),
        ("/crypto/kdfparams/n", 1000.into()),
        ("/crypto/kdfparams/p", 1000.into()),
    ];
    for (pointer, value) in cases {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        fs::write(&files.source.keystore, changed.to_string()).unwrap();
        let error = read_key(&files.source).unwrap_err();
        assert!(matches!(error, KeystoreError::Malformed { .. }), "{pointer}: {error}");
    }
}

#[test]
fn a_secret_that_is_no_key_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    assert!(matches!(write_key_with(&path, &[0; 32], "p", QUICK), Err(KeystoreError::Encryption(_))));
    assert!(!path.exists());
}

/// The PBKDF2 example of the web3 secret storage definition; scrypt is what this module itself writes.
#[test]
fn the_published_pbkdf2_example_opens() {
    let vector = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    let files = files(&[7; 32], "p", "testpassword");
    fs::write(&files.source.keystore, vector).unwrap();
    let secret = read_key(&files.source).unwrap();
    assert_eq!(hex::encode(*secret), "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
}
