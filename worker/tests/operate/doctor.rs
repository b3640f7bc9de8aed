//! `doctor`: what it finds, and how its exit code tells.

use crate::place::{Place, check, is_confined};

#[test]
fn without_a_configuration_it_tries_the_machine() {
    let place = Place::new();
    let ran = place.run(&["doctor", "--json"]);
    let report = ran.json();
    let kernel = check(&report, "kernel.wasm.asian-option");
    assert_eq!(kernel["state"], "ok", "{kernel}");
    assert!(kernel["found"].as_str().unwrap().starts_with("the right answer after "), "{kernel}");
    assert_eq!(ran.code, if is_confined(&report) { 0 } else { 6 });
    assert!(report["checks"].as_array().unwrap().iter().all(|check| check["class"] != "config"), "{report:#}");
}

#[test]
fn each_class_of_problem_has_its_exit_code() {
    let place = Place::new();
    std::fs::write(place.config(), "speed = 9").unwrap();
    let broken = place.run(&["doctor", "--config", &place.config(), "--json"]);
    assert_eq!(broken.code, 2);
    assert!(check(&broken.json(), "config.file")["found"].as_str().unwrap().contains("speed"));
    assert_eq!(place.run(&["doctor", "--config", "/no/such/file.toml"]).code, 2);

    place.configure("http://127.0.0.1:1", "book.json", "");
    let offline = place.run(&["doctor", "--config", &place.config(), "--json"]);
    assert_eq!(offline.code, 4);
    let report = offline.json();
    assert_eq!(check(&report, "key.readable")["state"], "ok");
    assert_eq!(check(&report, "disk.space")["state"], "ok");
    assert!(check(&report, "chain.reachable")["advice"].is_string());

    std::os::unix::fs::symlink("/dev/null", place.file("other")).unwrap();
    std::fs::set_permissions(place.file("key.json"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let exposed = place.run(&["doctor", "--config", &place.config(), "--json"]);
    assert_eq!(exposed.code, 3);
    let found = check(&exposed.json(), "key.readable")["found"].as_str().unwrap().to_owned();
    assert!(found.contains("may be read by others"), "{found}");
}

#[test]
fn a_gpu_is_tried_with_a_real_kernel() {
    let place = Place::new();
    let libraries = emulated_cuda::libraries().unwrap();
    let cuda = format!("[execute.cuda]\nallow_emulated = true\nlibraries = {libraries:?}\n");
    place.configure("http://127.0.0.1:1", "book.json", &cuda);
    let report = place.run(&["doctor", "--config", &place.config(), "--json"]).json();
    for (id, part) in [("gpu.driver", "libcuda.so"), ("gpu.compiler", "libnvrtc.so"), ("gpu.builtins", "builtins.so")] {
        let check = check(&report, id);
        assert_eq!(check["state"], "ok", "{check}");
        let found = check["found"].as_str().unwrap();
        assert!(found.starts_with('/') && found.contains(part), "{found}");
    }
    assert!(check(&report, "gpu.device.0")["found"].as_str().unwrap().starts_with("emulated, compute capability"));
    assert_eq!(check(&report, "kernel.cuda.asian-option")["state"], "ok", "{report:#}");

    // A fake GPU is what a dishonest provider would want: without that word it is a failure.
    place.configure("http://127.0.0.1:1", "book.json", &cuda.replace("true", "false"));
    let report = place.run(&["doctor", "--config", &place.config(), "--json"]).json();
    assert_eq!(check(&report, "gpu.device.0")["state"], "fail", "{report:#}");
}
