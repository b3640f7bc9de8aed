//! The committed descriptions of the APIs are those that the program serves. `UPDATE_SNAPSHOTS=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail by panicking, too")]

fn check(name: &str, current: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "{name} is stale: run the tests once with UPDATE_SNAPSHOTS=1 and look at the diff");
}

#[test]
fn openapi_is_fresh() {
    check("openapi.json", &indexer::openapi());
}

#[test]
fn graphql_schema_is_fresh() {
    check("schema.graphql", &indexer::graphql_schema());
}
