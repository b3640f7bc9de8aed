use std::io::Write;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    listen: String,
    #[serde(default)]
    password: Option<SecretString>,
    chain: Nested,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nested {
    chain_id: u64,
    endpoints: Vec<String>,
}

const GOOD: &str = "listen = 'file'\n[chain]\nchain_id = 1\nendpoints = ['a']\n";

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn with(file: Option<&Path>, variables: &[(&str, &str)]) -> Result<Service, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_from(file, "CAPA_TEST_", variables)
}

#[test]
fn the_environment_goes_over_the_file() {
    let variables = [
        ("CAPA_TEST_LISTEN", "environment"),
        ("CAPA_TEST_CHAIN__CHAIN_ID", "51866"),
        ("CAPA_TEST_CHAIN__ENDPOINTS", r#"["b", "c"]"#),
        ("CAPA_TESTING_LISTEN", "another program's"),
        ("LISTEN", "nobody's"),
    ];
    let loaded = with(Some(file(GOOD).path()), &variables).unwrap();
    assert_eq!((loaded.listen.as_str(), loaded.chain.chain_id), ("environment", 51866));
    assert_eq!(loaded.chain.endpoints, ["b", "c"]);
    let one = with(Some(file(GOOD).path()), &[("CAPA_TEST_CHAIN__CHAIN_ID", "2")]).unwrap();
    assert_eq!((one.listen.as_str(), one.chain.chain_id, one.chain.endpoints.len()), ("file", 2, 1));
}

#[test]
fn the_file_alone_and_the_environment_alone_are_enough() {
    assert_eq!(load::<Service>(Some(file(GOOD).path()), "CAPA_NOBODY_SETS_").unwrap().listen, "file");
    let variables =
        [("CAPA_TEST_LISTEN", "environment"), ("CAPA_TEST_CHAIN__CHAIN_ID", "7"), ("CAPA_TEST_CHAIN__ENDPOINTS", "[]")];
    assert_eq!(with(None, &variables).unwrap().chain.chain_id, 7);
}

#[test]
fn unknown_keys_are_refused_and_named() {
    let misspelt = file(&format!("lisen = 'x'\n{GOOD}"));
    let error = with(Some(misspelt.path()), &[]).unwrap_err();
    assert!(error.to_string().contains("lisen"), "{error}");
    let error = with(Some(file(GOOD).path()), &[("CAPA_TEST_CHAIN__CHIAN_ID", "1")]).unwrap_err();
    assert!(error.to_string().contains("chian_id"), "{error}");
}

#[test]
fn errors_name_where_the_value_came_from() {
    let wrong = file(&GOOD.replace("chain_id = 1", "chain_id = 'one'"));
    let error = with(Some(wrong.path()), &[]).unwrap_err().to_string();
    assert!(error.contains("chain_id") && error.contains(".toml"), "{error}");
    let error = with(Some(file(GOOD).path()), &[("CAPA_TEST_CHAIN__CHAIN_ID", "one")]).unwrap_err().to_string();
    assert!(error.contains("CAPA_TEST_CHAIN__CHAIN_ID"), "{error}");
}

#[test]
fn a_missing_file_and_a_missing_key_are_errors() {
    let error = with(Some(Path::new("no-such-file.toml")), &[]).unwrap_err();
    assert!(matches!(&error, ConfigError::Unreadable { .. }) && error.to_string().contains("no-such-file"));
    let error = with(Some(file("listen = 'x'").path()), &[]).unwrap_err();
    assert!(error.to_string().contains("chain"), "{error}");
    let error = with(Some(file("listen = ").path()), &[]).unwrap_err();
    assert!(matches!(error, ConfigError::Invalid(_)));
}

#[test]
fn secrets_show_nothing() {
    let good = file(GOOD);
    let loaded = with(Some(good.path()), &[("CAPA_TEST_PASSWORD", "hunter2")]).unwrap();
    let secret = loaded.password.as_ref().unwrap();
    assert_eq!(secret.expose(), "hunter2");
    assert!(!format!("{loaded:?} {secret} {secret:#?}").contains("hunter2"));
    for digits in ["424242", "-424242", "424242.5"] {
        let error = with(Some(good.path()), &[("CAPA_TEST_PASSWORD", digits)]).unwrap_err().to_string();
        assert!(!error.contains("424242") && error.contains("double quotes"), "{error}");
    }
    let loaded = with(Some(good.path()), &[("CAPA_TEST_PASSWORD", r#""0042""#)]).unwrap();
    assert_eq!(loaded.password.unwrap().expose(), "0042");
}
