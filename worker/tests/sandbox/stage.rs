//! The supervisor's side: it sets a scene, starts children, and hears what they tell.

use crate::scene::{Act, Scene, Setup, Told};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;
use tempfile::TempDir;
use worker::sandbox::{Cgroup, Isolation, Lockdown, Process, Profile, Spawn, Supervision};

/// No child takes this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// A user that no machine has by default.
const USER: u32 = 1_870_000_001;

/// What there is to attack, for as long as it lives.
pub(crate) struct Stage {
    pub(crate) scene: Scene,
    _folder: TempDir,
    _listeners: (TcpListener, UdpSocket, UnixListener, UnixListener),
}

impl Stage {
    pub(crate) fn new() -> Self {
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), 0o777);
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        open(&secret, 0o666);
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let in_folder = UnixListener::bind(folder.path().join("socket")).unwrap();
        open(&folder.path().join("socket"), 0o777);
        let abstract_name = format!("capa-sandbox-test-{}", std::process::id());
        let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap();
        let scene = Scene {
            parent: std::process::id().cast_signed(),
            tcp: tcp.local_addr().unwrap().port(),
            udp: udp.local_addr().unwrap().port(),
            abstract_name,
            folder: folder.path().to_owned(),
            secret,
        };
        Self { scene, _folder: folder, _listeners: (tcp, udp, in_folder, hidden) }
    }

    /// Nobody has got through to the supervisor or touched its files.
    pub(crate) fn assert_whole(&self) {
        assert_eq!(std::fs::read_to_string(&self.scene.secret).unwrap(), "secret");
        let mut names: Vec<_> =
            std::fs::read_dir(&self.scene.folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["secret", "socket"]);
        let (tcp, udp, in_folder, hidden) = &self._listeners;
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        in_folder.set_nonblocking(true).unwrap();
        hidden.set_nonblocking(true).unwrap();
        assert!(tcp.accept().is_err() && in_folder.accept().is_err() && hidden.accept().is_err());
        assert!(udp.recv(&mut [0; 16]).is_err());
    }
}

/// As in production.
pub(crate) fn lockdown(profile: Profile) -> Lockdown {
    Lockdown {
        profile,
        user: Some(USER),
        network: true,
        address_space: None,
        open_files: 256,
        read: vec![],
        devices: vec![],
    }
}

/// A child and the socket to it.
pub(crate) struct Actor {
    pub(crate) process: Process,
    pub(crate) channel: Supervision,
    pub(crate) isolation: Isolation,
}

impl Actor {
    /// Starts a child and waits until it is locked.
    pub(crate) async fn start(lockdown: Option<Lockdown>, act: Act, scene: &Scene, cgroup: Option<&Cgroup>) -> Self {
        let (channel, stdin) = Supervision::pair().unwrap();
        let spawn = Spawn {
            program: std::env::current_exe().unwrap(),
            arguments: vec!["child".into()],
            environment: vec![],
            stdin,
        };
        let process = Process::spawn(spawn, cgroup).await.unwrap();
        let setup = Setup { lockdown, act, scene: scene.clone() };
        channel.send(&serde_json::to_vec(&setup).unwrap(), &[]).await.unwrap();
        let mut actor = Self { process, channel, isolation: Isolation::default() };
        let Told::Ready { isolation, missing } = actor.hear().await else { panic!("the child did not become ready") };
        for reason in missing {
            println!("    not enforced on this machine: {reason}");
        }
        actor.isolation = isolation;
        actor
    }

    /// What the child tells next.
    pub(crate) async fn hear(&self) -> Told {
        match tokio::time::timeout(DEADLINE, self.channel.recv()).await.expect("the child is silent") {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(error) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                panic!("{error}; the child {:?}: {}", self.process.try_exited(), self.process.log())
            }
        }
    }

    pub(crate) async fn hear_note(&self) -> String {
        match self.hear().await {
            Told::Note(text) => text,
            other => panic!("not a note: {other:?}"),
        }
    }
}

/// Runs a case's future.
pub(crate) fn block_on(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * DEADLINE, case).await.expect("the case takes too long") });
}
