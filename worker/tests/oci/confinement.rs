//! What a job cannot see or do.

use crate::machine::Machine;
use bytes::Bytes;
use std::io::Write;
use std::net::TcpListener;
use worker::execute::Executor;

#[test]
fn a_container_has_no_network() {
    let Some(machine) = Machine::new() else { return };
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    host.set_nonblocking(true).unwrap();
    let port = host.local_addr().unwrap().port();
    let detail = machine.failure_of("nc -w 3 192.0.2.1 80 < /dev/null");
    assert!(detail.contains("unreachable"), "{detail}");
    let detail = machine.failure_of(&format!("echo hello | nc -w 3 127.0.0.1 {port}"));
    assert!(detail.contains("refused"), "{detail}");
    assert_eq!(host.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "the host's loopback is not its own");
    assert_eq!(machine.output_of("ls /sys/class/net > /capa/outputs/0"), "lo\n");
}

#[test]
fn an_operator_can_give_containers_the_hosts_network() {
    let Some(mut machine) = Machine::new() else { return };
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    machine.config.network = true;
    let executor = machine.executor();
    assert!(!executor.isolation().unwrap().network, "and then it is told");
    let answer = std::thread::spawn(move || host.accept().unwrap().0.write_all(b"hello").unwrap());
    let job = machine.job(&format!("nc -w 5 127.0.0.1 {port} < /dev/null > /capa/outputs/0"));
    assert_eq!(machine.run(&executor, job).unwrap().outputs, [Bytes::from_static(b"hello")]);
    answer.join().unwrap();
    let status = machine.run(&executor, machine.job("grep -q 'CapEff:.0000000000000000' /proc/self/status"));
    status.unwrap();
}

#[test]
fn the_hosts_files_and_processes_are_not_there() {
    let Some(machine) = Machine::new() else { return };
    let secret = machine.folder.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let path = secret.display();
    let detail = machine.failure_of(&format!("cat {path} /proc/1/root{path} /proc/self/root{path}"));
    assert_eq!(detail.matches("No such file").count(), 3, "{detail}");
    assert_eq!(machine.output_of("ls / > /capa/outputs/0"), "bin\ncapa\ndev\netc\nproc\nsys\ntmp\n");
    assert_eq!(machine.output_of("cd /proc; echo [0-9]* > /capa/outputs/0"), "1\n", "only its own process is seen");
    let open = machine.output_of("ls -l /proc/self/fd/ > /capa/outputs/0");
    assert!(!open.contains(&machine.folder.path().display().to_string()), "{open}");
    let disks = machine.output_of("ls /dev > /capa/outputs/0");
    let known = [
        "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ];
    assert!(disks.lines().all(|name| known.contains(&name)), "{disks}");
}

#[test]
fn only_outputs_and_scratch_can_be_written() {
    let Some(machine) = Machine::new() else { return };
    for path in [
        "/evil",
        "/bin/busybox",
        "/capa/evil",
        "/capa/inputs/0",
        "/capa/inputs/1",
        "/etc/hosts",
        "/proc/sys/kernel/hostname",
        "/sys/evil",
    ] {
        let detail = machine.failure_of(&format!("echo evil > {path}"));
        let refused =
            ["Read-only file system", "Permission denied", "nonexistent directory", "Operation not permitted"];
        assert!(refused.iter().any(|word| detail.contains(word)), "{path}: {detail}");
    }
    let detail = machine.failure_of("dd if=/dev/zero of=/dev/fill bs=4096 count=100");
    assert!(detail.contains("No space left"), "{detail}");
    machine.output_of("echo fine > /tmp/a; echo fine > /dev/shm/a; echo fine > /capa/outputs/0");
}

#[test]
fn a_container_has_no_privilege_and_gains_none() {
    let Some(machine) = Machine::new() else { return };
    let status = machine.output_of("cat /proc/self/status /proc/self/uid_map > /capa/outputs/0");
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()));
    let map: Vec<&str> = status.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(map, ["0", "1879048192", "65536"], "its root is nobody on the host");
    for script in [
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /",
        "unshare -U sh -c true",
        "unshare -n sh -c true",
        "chroot /tmp",
        "mknod /tmp/disk b 8 0",
    ] {
        let detail = machine.failure_of(script);
        let refused = detail.contains("not permitted") || detail.contains("ermission denied");
        assert!(refused, "{script}: {detail}");
    }
}

#[test]
fn links_in_outputs_lead_nowhere() {
    let Some(machine) = Machine::new() else { return };
    for script in [
        "rm /capa/outputs/0; ln -s /etc/passwd /capa/outputs/0",
        "rm /capa/outputs/0; mkfifo /capa/outputs/0",
        "rm /capa/outputs/0",
        "rm /capa/outputs/0; ln -s . /capa/outputs/0",
    ] {
        let detail = machine.failure_of(script);
        assert!(detail.contains("/capa/outputs/0"), "{script}: {detail}");
    }
    machine.assert_clean();
}
