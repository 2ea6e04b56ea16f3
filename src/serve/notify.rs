//! Telling systemd that the hub is up: `sd_notify(3)` by hand.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

const READY: &[u8] = b"READY=1\n";

/// Says that the hub answers, to whom `NOTIFY_SOCKET` in this environment names. Without it nobody asks.
pub(super) fn ready(environment: &[(OsString, OsString)]) -> io::Result<()> {
    let Some((_, name)) = environment.iter().find(|(key, value)| key == "NOTIFY_SOCKET" && !value.is_empty()) else {
        return Ok(());
    };
    let address = match name.as_bytes().split_first() {
        #[cfg(target_os = "linux")]
        Some((b'@', name)) => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)?
        }
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold the hub up.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(READY, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use std::os::linux::net::SocketAddrExt;

    #[test]
    fn the_service_manager_is_told_where_it_listens() {
        let name = format!("parachute-notify-{}", sys::random::hex(8));
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("short")).expect("bound");
        let environment = [("NOTIFY_SOCKET".into(), format!("@{name}").into())];
        ready(&environment).expect("somebody listens");
        let mut buffer = [0; 32];
        let length = manager.recv(&mut buffer).expect("a message");
        assert_eq!(&buffer[..length], READY);
        ready(&[]).expect("nobody asks");
        assert!(ready(&[("NOTIFY_SOCKET".into(), "/nonexistent/socket".into())]).is_err());
    }
}
