//! The system's CSPRNG.

use std::io;

/// Fills `bytes`.
#[cfg(target_os = "linux")]
pub(super) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    use rustix::io::Errno;
    use rustix::rand::{GetRandomFlags, getrandom};

    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Fills `bytes`.
#[cfg(not(target_os = "linux"))]
pub(super) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    use std::fs::File;
    use std::io::Read as _;
    use std::sync::OnceLock;

    static SOURCE: OnceLock<File> = OnceLock::new();
    let mut source = match SOURCE.get() {
        Some(source) => source,
        None => {
            let opened = File::open("/dev/urandom")?;
            SOURCE.get_or_init(|| opened)
        }
    };
    source.read_exact(bytes)
}
