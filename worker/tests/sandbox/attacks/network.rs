//! Connections, to the supervisor and out of the machine.

use super::{Attack, DENIED, call};
use crate::scene::Scene;
use nix::libc;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "connect by TCP",
        refusals: DENIED,
        run: |scene| TcpStream::connect(("127.0.0.1", scene.tcp)).map(drop),
    },
    Attack { name: "listen for TCP", refusals: DENIED, run: |_| TcpListener::bind("127.0.0.1:0").map(drop) },
    Attack { name: "send by UDP", refusals: DENIED, run: udp },
    Attack { name: "connect to an abstract socket", refusals: DENIED, run: abstract_socket },
    Attack {
        name: "connect to a socket in a folder",
        refusals: DENIED,
        run: |scene| UnixStream::connect(scene.folder.join("socket")).map(drop),
    },
    Attack { name: "make a pair of sockets", refusals: DENIED, run: |_| UnixDatagram::pair().map(drop) },
    Attack { name: "ask the kernel about routes", refusals: DENIED, run: |_| socket(libc::AF_NETLINK, libc::SOCK_RAW) },
    Attack { name: "talk to the hypervisor", refusals: DENIED, run: |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM) },
    Attack { name: "read packets", refusals: DENIED, run: |_| socket(libc::AF_PACKET, libc::SOCK_RAW) },
    Attack { name: "use the kernel's ciphers", refusals: DENIED, run: |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET) },
];

fn udp(scene: &Scene) -> io::Result<()> {
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"secret", ("127.0.0.1", scene.udp)).map(drop)
}

fn abstract_socket(scene: &Scene) -> io::Result<()> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(&scene.abstract_name)?).map(drop)
}

fn socket(family: i32, kind: i32) -> io::Result<()> {
    call(libc::SYS_socket, [family as usize, kind as usize, 0]).map(drop)
}
