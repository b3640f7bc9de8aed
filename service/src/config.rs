//! Layered configuration: a TOML file, and environment variables over it.
//!
//! A service declares one struct with `#[serde(deny_unknown_fields)]`; a misspelt key is then an error that names
//! it, never a default that silently applies.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// Why a configuration could not be loaded. Every variant is final: somebody has to edit something.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named is not there or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A key is missing, unknown, or of the wrong type. The text names the key and where it came from.
    #[error("the configuration is not valid: {0}")]
    Invalid(String),
    /// A document that the configuration names is not what it should be.
    #[error("{} is not valid: {source}", path.display())]
    Malformed {
        /// The document.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
}

/// Loads `C` from `file`, then from the environment variables that begin with `env_prefix`.
///
/// A nested key is written with two underscores: with the prefix `CAPA_KEEPER_`, the variable
/// `CAPA_KEEPER_CHAIN__CHAIN_ID` sets `chain.chain_id`. Lists are written as `["a", "b"]`.
///
/// # Errors
/// When the file cannot be read, or when a key is missing, unknown or of the wrong type.
pub fn load<C: DeserializeOwned>(file: Option<&Path>, env_prefix: &str) -> Result<C, ConfigError> {
    // Names and values that are not Unicode cannot be ours.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    load_from(file, env_prefix, variables)
}

/// Reads a JSON document that a configuration names, such as an address book.
///
/// # Errors
/// When the file cannot be read, or is not a `D`.
pub fn read_json<D: DeserializeOwned>(path: &Path) -> Result<D, ConfigError> {
    let text = std::fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| ConfigError::Malformed { path: path.to_owned(), source })
}

fn load_from<C: DeserializeOwned>(
    file: Option<&Path>,
    env_prefix: &str,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<C, ConfigError> {
    let mut layers = Figment::new();
    if let Some(path) = file {
        // Figment treats an absent file as an empty one, which would hide a mistyped path.
        std::fs::File::open(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        layers = layers.merge(Toml::file_exact(path));
    }
    layers.merge(Environment::new(env_prefix, variables)).extract().map_err(|errors| {
        let lines: Vec<String> = errors.into_iter().map(|error| error.to_string()).collect();
        ConfigError::Invalid(lines.join("; "))
    })
}

/// The layer of the environment. Figment's own reads the process's variables, which tests cannot set safely.
struct Environment {
    prefix: String,
    values: Vec<(String, String)>,
}

impl Environment {
    fn new(prefix: &str, variables: impl Iterator<Item = (String, String)>) -> Self {
        let values = variables.filter_map(|(name, value)| {
            let key = name.strip_prefix(prefix).filter(|key| !key.is_empty())?;
            Some((key.to_lowercase().replace("__", "."), value))
        });
        Self { prefix: prefix.to_owned(), values: values.collect() }
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        let prefix = self.prefix.clone();
        Metadata::named("the environment")
            .interpolater(move |_, keys| format!("{prefix}{}", keys.join("__").to_uppercase()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut values = Dict::new();
        for (key, text) in &self.values {
            let Ok(value) = text.parse::<Value>();
            insert(&mut values, key, value);
        }
        Ok(Profile::Default.collect(values))
    }
}

/// Puts `value` under a key such as `chain.chain_id`.
fn insert(values: &mut Dict, key: &str, value: Value) {
    let Some((first, rest)) = key.split_once('.') else {
        values.insert(key.to_owned(), value);
        return;
    };
    let inner = values.entry(first.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    match inner {
        Value::Dict(_, inner) => insert(inner, rest, value),
        // The outer key was given a value of its own, which its type will refuse.
        other => *other = figment::util::nest(rest, value),
    }
}

/// Text that must not be printed: it shows itself as `<redacted>` and wipes its memory when dropped.
#[derive(Clone)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Takes `secret` into custody.
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The text itself; the only way to it, so that each use can be found by name.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl fmt::Display for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl<'de> Deserialize<'de> for SecretString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Accepts text only, and says so without repeating what it was given: serde's own message would print it.
struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret as text; in an environment variable write digits in double quotes")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<SecretString, E> {
        Ok(SecretString::new(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<SecretString, E> {
        Ok(SecretString::new(value))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretString, E> {
        Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretString, E> {
        Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretString, E> {
        Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretString, E> {
        Err(E::invalid_type(de::Unexpected::Other("a truth value"), &self))
    }
}

#[cfg(test)]
mod tests;
