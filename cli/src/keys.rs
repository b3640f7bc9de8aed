//! Keystores and their passwords.

use crate::error::CliError;
use crate::output::Output;
use alloy::primitives::Address;
use protocol::signature::SigningKey;
use serde::Deserialize;
use service::keystore::{KeySource, KeystoreError, open_key, read_key};
use std::io::{IsTerminal, stdin};
use std::path::Path;
use zeroize::Zeroizing;

/// Opens a keystore with the password file, or by asking.
pub fn open(keystore: &Path, password_file: Option<&Path>) -> Result<SigningKey, CliError> {
    if !keystore.exists() {
        return Err(CliError::NotFound(format!(
            "there is no key at {}: make one with `capa wallet new`, or name another one",
            keystore.display()
        )));
    }
    let secret = match password_file {
        Some(file) => read_key(&KeySource { keystore: keystore.into(), password_file: file.into() })?,
        None => open_key(keystore, &ask(&format!("Password of {}: ", keystore.display()))?)?,
    };
    SigningKey::from_bytes(&secret)
        .ok_or_else(|| CliError::Failed(format!("{} holds no valid key", keystore.display())))
}

/// The password for a new keystore.
pub fn new_password(password_file: Option<&Path>, output: &Output) -> Result<Zeroizing<String>, CliError> {
    if let Some(file) = password_file {
        let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|error| {
            CliError::Usage(format!("the password file {} cannot be read: {error}", file.display()))
        })?);
        return Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()));
    }
    let password = ask("New password: ")?;
    if password.is_empty() {
        return Err(CliError::Usage("an empty password protects nothing: choose one".into()));
    }
    if *password != *ask("The same again: ")? {
        return Err(CliError::Usage("the two passwords differ: try again".into()));
    }
    output.note("Nobody can restore this password: keep it.");
    Ok(password)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, CliError> {
    if !stdin().is_terminal() {
        return Err(CliError::Usage("a password is needed: name a file with --password-file".into()));
    }
    Ok(Zeroizing::new(rpassword::prompt_password(prompt)?))
}

/// The address in a keystore, which needs no password.
pub fn address(keystore: &Path) -> Result<Address, CliError> {
    #[derive(Deserialize)]
    struct Public {
        address: String,
    }
    let text = match std::fs::read_to_string(keystore) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("there is no key at {}: make one with `capa wallet new`", keystore.display());
            return Err(CliError::NotFound(text));
        }
        Err(source) => return Err(KeystoreError::File { action: "read", path: keystore.into(), source }.into()),
    };
    let malformed = |reason: String| KeystoreError::Malformed { path: keystore.into(), reason };
    let public: Public = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    public.address.parse().map_err(|_| malformed("it states no address".into()).into())
}
