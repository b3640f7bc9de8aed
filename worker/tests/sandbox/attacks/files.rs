//! Files, and what the kernel shows as files.

use super::{Attack, DENIED, at, call};
use crate::scene::Scene;
use nix::libc;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "read /etc/passwd", refusals: DENIED, run: |_| read(Path::new("/etc/passwd")) },
    Attack { name: "read another's file", refusals: DENIED, run: |scene| read(&scene.secret) },
    Attack {
        name: "read the first process' environment",
        refusals: DENIED,
        run: |_| read(Path::new("/proc/1/environ")),
    },
    Attack { name: "read the supervisor's environment", refusals: DENIED, run: |scene| of(scene, "environ", read) },
    Attack { name: "open the supervisor's memory", refusals: DENIED, run: |scene| of(scene, "mem", open_both) },
    Attack { name: "read the supervisor's mappings", refusals: DENIED, run: |scene| of(scene, "maps", read) },
    Attack { name: "list the supervisor's descriptors", refusals: DENIED, run: |scene| of(scene, "fd", list) },
    Attack { name: "list /", refusals: DENIED, run: |_| list(Path::new("/")) },
    Attack { name: "climb out of an inherited folder", refusals: DENIED, run: |_| climb() },
    Attack { name: "write another's file", refusals: DENIED, run: |scene| open_both(&scene.secret) },
    Attack { name: "make a file", refusals: DENIED, run: |scene| make(&scene.folder.join("made")) },
    Attack { name: "make a folder", refusals: DENIED, run: |scene| std::fs::create_dir(scene.folder.join("folder")) },
    Attack { name: "make a link to another's file", refusals: DENIED, run: link },
    Attack { name: "rename another's file", refusals: DENIED, run: rename },
    Attack { name: "cut another's file", refusals: DENIED, run: truncate },
    Attack { name: "change another's file's mode", refusals: DENIED, run: mode },
    Attack { name: "open /dev/null for writing", refusals: DENIED, run: |_| open_both(Path::new("/dev/null")) },
    Attack { name: "open a file by its handle", refusals: DENIED, run: |_| by_handle() },
    Attack { name: "watch a folder", refusals: DENIED, run: |_| call(libc::SYS_inotify_init1, [0]).map(drop) },
];

fn read(path: &Path) -> io::Result<()> {
    std::fs::read(path).map(drop)
}

fn open_both(path: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).write(true).open(path).map(drop)
}

fn list(path: &Path) -> io::Result<()> {
    std::fs::read_dir(path).map(drop)
}

fn make(path: &Path) -> io::Result<()> {
    File::create_new(path)?;
    std::fs::remove_file(path)
}

fn of(scene: &Scene, file: &str, attack: fn(&Path) -> io::Result<()>) -> io::Result<()> {
    attack(&Path::new("/proc").join(scene.parent.to_string()).join(file))
}

fn link(scene: &Scene) -> io::Result<()> {
    let link = scene.folder.join("link");
    std::fs::hard_link(&scene.secret, &link)?;
    std::fs::remove_file(link)
}

fn rename(scene: &Scene) -> io::Result<()> {
    let other = scene.folder.join("renamed");
    std::fs::rename(&scene.secret, &other)?;
    std::fs::rename(other, &scene.secret)
}

fn truncate(scene: &Scene) -> io::Result<()> {
    let path = CString::new(scene.secret.as_os_str().as_bytes())?;
    call(libc::SYS_truncate, [path.as_ptr() as usize, 6]).map(drop)
}

fn mode(scene: &Scene) -> io::Result<()> {
    let path = CString::new(scene.secret.as_os_str().as_bytes())?;
    call(libc::SYS_fchmodat, [libc::AT_FDCWD as usize, path.as_ptr() as usize, 0o666]).map(drop)
}

/// Through every descriptor that there is, whatever it was opened for.
fn climb() -> io::Result<()> {
    let mut last = Err(io::Error::from_raw_os_error(libc::EPERM));
    for descriptor in (0..64usize).chain([libc::AT_FDCWD as usize]) {
        let up = c"../../../../../../etc/passwd";
        match call(libc::SYS_openat, [descriptor, up.as_ptr() as usize, libc::O_RDONLY as usize]) {
            Ok(_) => return Ok(()),
            Err(error) if [Some(libc::EBADF), Some(libc::ENOTDIR)].contains(&error.raw_os_error()) => {}
            Err(error) => last = Err(error),
        }
    }
    last
}

fn by_handle() -> io::Result<()> {
    let handle = [0u32; 4];
    call(libc::SYS_open_by_handle_at, [libc::AT_FDCWD as usize, at(&handle), 0]).map(drop)
}
