//! The bars, as far as every machine can measure them. Whether they are met is for `cargo xtask bench` to say.

use crate::place::Place;

#[test]
fn rows_are_measured_or_skipped_by_name() {
    let place = Place::new();
    let ran = place.run(&[
        "bench",
        "--rows",
        "--json",
        "--row",
        "sign_receipt",
        "--row",
        "warm_noop",
        "--row",
        "gemm",
        "--row",
        "idle",
    ]);
    let rows = ran.json()["rows"].clone();
    for key in ["sign_receipt", "warm_noop_wasm_p50", "warm_noop_wasm_p99", "warm_noop_wasm_rate"] {
        assert!(rows[key]["measured"].as_u64().unwrap() > 0, "{key}: {rows:#}");
        assert!(rows[key]["pass"].is_boolean(), "{key}: {rows:#}");
    }
    for key in ["gemm_bf16_8192", "warm_noop_p50", "idle_supervisor_cpu"] {
        let row = &rows[key];
        assert!(row["skipped"].is_string() || row["measured"].is_u64(), "{key}: {rows:#}");
    }
    assert_eq!(rows.as_object().unwrap().len(), 11);
    assert!(ran.json()["machine"]["cores"].as_u64().unwrap() > 0);
}
