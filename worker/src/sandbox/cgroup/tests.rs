use super::*;
use std::fs::{read_to_string, write};
use std::process::Command;
use std::time::{Duration, Instant};

/// A group on this machine, or why there is none.
fn real(limits: CgroupLimits) -> Option<Cgroup> {
    let name = format!("test-{:?}", std::thread::current().id()).replace(['(', ')'], "");
    match Cgroup::create(&name, limits) {
        Ok(group) => Some(group),
        Err(error) => {
            println!("not tested on this machine: {error}");
            None
        }
    }
}

#[test]
fn a_group_counts_and_kills_what_is_in_it_and_goes_away() {
    let limits = CgroupLimits { memory: Some(64 << 20), processes: Some(16) };
    let Some(group) = real(limits) else { return };
    let mut busy = Command::new("/bin/sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    group.add(busy.id()).unwrap();
    assert_eq!(group.members(), [busy.id().cast_signed()]);
    std::thread::sleep(Duration::from_millis(200));
    if group.cpu_ms().is_some() {
        let begin = Instant::now();
        while group.cpu_ms().unwrap() < 20 {
            assert!(begin.elapsed() < Duration::from_secs(20), "no CPU time was counted: {:?}", group.cpu_ms());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    group.set_memory(128 << 20).unwrap();
    group.set_memory(32 << 20).unwrap();
    assert!(!group.was_oom_killed());
    group.kill_all();
    assert!(!busy.wait().unwrap().success());
    let folders: Vec<PathBuf> = group.each().cloned().collect();
    drop(group);
    let begin = Instant::now();
    while folders.iter().any(|folder| folder.exists()) {
        assert!(begin.elapsed() < Duration::from_secs(5), "{folders:?} were not removed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_name_that_could_leave_the_folder_is_refused() {
    for name in ["", "../up", "a/b", "a.b"] {
        assert!(matches!(Cgroup::create(name, CgroupLimits::default()), Err(SandboxError::Refused(_))), "{name}");
    }
}

/// A version 2 group in a plain folder, with the files that the kernel would have put there.
fn unified(folder: &Path) -> Cgroup {
    for file in ["memory.max", "memory.oom.group", "memory.swap.max", "pids.max", "cgroup.procs", "cgroup.kill"] {
        write(folder.join(file), "").unwrap();
    }
    write(folder.join("cpu.stat"), "usage_usec 1234567\nuser_usec 1000000\n").unwrap();
    write(folder.join("memory.events"), "low 0\nhigh 0\nmax 4\noom 1\noom_kill 0\noom_group_kill 0\n").unwrap();
    Cgroup { folders: Folders::Unified(folder.to_owned()) }
}

#[test]
fn version_2_files_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = |file: &str| read_to_string(folder.path().join(file)).unwrap();
    let group = unified(folder.path());
    group.limit(CgroupLimits { memory: Some(1 << 20), processes: Some(7) }).unwrap();
    group.add(42).unwrap();
    assert_eq!(["memory.max", "pids.max", "memory.oom.group", "memory.swap.max"].map(text), ["1048576", "7", "1", "0"]);
    assert_eq!(["cgroup.procs"].map(text), ["42"]);
    assert_eq!((group.version(), group.cpu_ms(), group.was_oom_killed()), (2, Some(1234), false));
    write(folder.path().join("memory.events"), "oom 1\noom_kill 2\n").unwrap();
    assert!(group.was_oom_killed());
    group.kill_all();
    assert_eq!(text("cgroup.kill"), "1");
    assert!(group.bounds_processes());
    std::fs::remove_file(folder.path().join("pids.max")).unwrap();
    assert!(!group.bounds_processes());
    group.limit(CgroupLimits { memory: Some(2 << 20), processes: Some(7) }).unwrap();
}
