//! Private keys at rest: web3 secret storage version 3, the format of geth, MetaMask and Foundry.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aes::cipher::{KeyIvInit, StreamCipher};
use alloy::primitives::{Address, keccak256};
use alloy::signers::local::PrivateKeySigner;
use eth_keystore::{EthKeystore, KdfparamsType};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

/// scrypt's cost for keys that hold money: 2^17 takes about a second and 128 MiB, as in geth.
const LOG_N: u8 = 17;
const R: u32 = 8;
const P: u32 = 1;
const DERIVED_LENGTH: usize = 32;
const IV_LENGTH: usize = 16;

type Cipher = ctr::Ctr128BE<aes::Aes128>;

/// Where a key lies. Both files must be readable by their owner alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySource {
    /// The encrypted key, as [`write_key`] or any Ethereum wallet writes it.
    pub keystore: PathBuf,
    /// A file whose first line is the password.
    pub password_file: PathBuf,
}

/// Why a key could not be read or written. Every variant is final: somebody has to change a file.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A file is missing or cannot be opened.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Others than the owner may read the file.
    #[error("{} may be read by others (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key file, or one that this program does not understand.
    #[error("{} is not a web3 version 3 key file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The password does not open the file.
    #[error("the password does not open {}: check the password file", path.display())]
    WrongPassword {
        /// The key file.
        path: PathBuf,
    },
    /// The operating system gave no randomness, or the scrypt cost is out of range.
    #[error("cannot encrypt a key: {0}")]
    Encryption(String),
}

/// Reads and decrypts a key. Takes about a second for a key written at the default cost.
///
/// # Errors
/// When a file is missing, readable by others, not a key file, or closed by another password.
pub fn read_key(source: &KeySource) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    let password = read_private(&source.password_file)?;
    open_key(&source.keystore, password.lines().next().unwrap_or_default())
}

/// As [`read_key`], with a password that a person has just typed.
///
/// # Errors
/// As [`read_key`].
pub fn open_key(keystore: &Path, password: &str) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    let text = read_private(keystore)?;
    let malformed = |reason: String| KeystoreError::Malformed { path: keystore.to_owned(), reason };
    let store: EthKeystore = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    check_shape(&store).map_err(malformed)?;
    let secret = eth_keystore::decrypt_key(keystore, password).map_err(|error| match error {
        eth_keystore::KeystoreError::MacMismatch => KeystoreError::WrongPassword { path: keystore.to_owned() },
        other => malformed(other.to_string()),
    })?;
    let secret = Zeroizing::new(secret);
    let key: [u8; 32] = secret.as_slice().try_into().map_err(|_| malformed("the key is not 32 bytes".into()))?;
    let key = Zeroizing::new(key);
    address(&key).ok_or_else(|| malformed("the key is not a secp256k1 private key".into()))?;
    Ok(key)
}

/// Encrypts `secret` under `password` into a new file that its owner alone can read.
///
/// # Errors
/// When the file exists already (a key is never overwritten) or cannot be written.
pub fn write_key(path: &Path, secret: &[u8; 32], password: &str) -> Result<(), KeystoreError> {
    write_key_with(path, secret, password, LOG_N)
}

/// As [`write_key`] with scrypt's cost as `2^log_n`: 12 is quick enough for tests and local chains, and nothing else.
///
/// # Errors
/// As [`write_key`], and when `log_n` is out of range.
pub fn write_key_with(path: &Path, secret: &[u8; 32], password: &str, log_n: u8) -> Result<(), KeystoreError> {
    let text = encrypt(secret, password.as_bytes(), log_n)?;
    let failed = |source| KeystoreError::File { action: "write", path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// A new private key from the operating system's randomness.
///
/// # Panics
/// When the operating system has no randomness to give: no key must be made then.
pub fn generate() -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0u8; 32]);
    loop {
        OsRng.try_fill_bytes(key.as_mut_slice()).expect("the operating system provides randomness");
        // About one draw in 2^128 is not a valid scalar.
        if address(&key).is_some() {
            return key;
        }
    }
}

fn address(key: &[u8; 32]) -> Option<Address> {
    PrivateKeySigner::from_slice(key).ok().map(|signer| signer.address())
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, KeystoreError> {
    let failed = |source| KeystoreError::File { action: "read", path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeystoreError::Exposed { path: path.to_owned(), mode });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

/// Refuses what the decrypting library would panic on, or would take an unbounded time or memory for.
fn check_shape(store: &EthKeystore) -> Result<(), String> {
    let crypto = &store.crypto;
    if store.version != 3 || crypto.cipher != "aes-128-ctr" {
        return Err(format!("version {} with cipher {}", store.version, crypto.cipher));
    }
    if crypto.cipherparams.iv.len() != IV_LENGTH || crypto.ciphertext.len() != 32 {
        return Err("the initialisation vector or the ciphertext has the wrong length".into());
    }
    let (length, affordable) = match &crypto.kdfparams {
        KdfparamsType::Scrypt { dklen, n, p, r, .. } => {
            let memory = u64::from(*n).saturating_mul(u64::from(*r)).saturating_mul(128);
            (*dklen, n.is_power_of_two() && *p <= 16 && memory <= 1 << 30)
        }
        KdfparamsType::Pbkdf2 { c, dklen, prf, .. } => (*dklen, prf == "hmac-sha256" && (1..=10_000_000).contains(c)),
    };
    if usize::from(length) != DERIVED_LENGTH || !affordable {
        return Err("its key derivation parameters are not supported".into());
    }
    Ok(())
}

fn encrypt(secret: &[u8; 32], password: &[u8], log_n: u8) -> Result<String, KeystoreError> {
    let refused = |error: &dyn std::fmt::Display| KeystoreError::Encryption(error.to_string());
    let (salt, iv, id) = (random::<32>()?, random::<IV_LENGTH>()?, random::<16>()?);
    let parameters = scrypt::Params::new(log_n, R, P).map_err(|error| refused(&error))?;
    let mut derived = Zeroizing::new([0u8; DERIVED_LENGTH]);
    scrypt::scrypt(password, &salt, &parameters, derived.as_mut_slice()).map_err(|error| refused(&error))?;
    let mut ciphertext = *secret;
    let mut cipher = Cipher::new_from_slices(&derived[..16], &iv).map_err(|error| refused(&error))?;
    cipher.apply_keystream(&mut ciphertext);
    let mac = keccak256([&derived[16..], &ciphertext].concat());
    let address = address(secret).ok_or_else(|| refused(&"the key is not a secp256k1 private key"))?;
    let document = json!({
        "version": 3,
        "id": uuid(id),
        "address": hex::encode(address),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": hex::encode(iv) },
            "ciphertext": hex::encode(ciphertext),
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": DERIVED_LENGTH, "n": 1u64 << log_n, "r": R, "p": P, "salt": hex::encode(salt),
            },
            "mac": hex::encode(mac),
        },
    });
    Ok(document.to_string())
}

fn random<const N: usize>() -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0u8; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| KeystoreError::Encryption(error.to_string()))?;
    Ok(bytes)
}

/// A version 4 UUID, which the format asks for and nothing reads.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests;
