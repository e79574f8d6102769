//! The filters of a service's system calls (seccomp(2)): read before the fork, loaded last of all.
//!
//! The builder has compiled them (`image/roost/src/seccomp.rs`): programs for the kernel, which
//! checks each before it takes it. So nothing is parsed here.

use std::fs;
use std::io;
use std::path::Path;

/// Folder of the programs in the image.
pub const FOLDER: &str = "/etc/roost/seccomp";
/// Programs that every service gets besides its own.
const SHARED: [&str; 2] = ["absent", "hostile"];
/// There only in test images that log calls instead of refusing them.
const RECORD: &str = "record";
/// Most instructions of a program (`BPF_MAXINSNS`, `linux/bpf_common.h`).
const MAX_STEPS: usize = 4096;
/// `SECCOMP_SET_MODE_FILTER` (`linux/seccomp.h`).
const SET_MODE_FILTER: libc::c_uint = 1;
/// `SECCOMP_FILTER_FLAG_LOG`: whatever is refused stands in the kernel's log.
const FLAG_LOG: libc::c_ulong = 1 << 1;

/// For each program of a service, in their order. Calls that are answered as by an older kernel are
/// made by every honest program at its start: no news.
const FLAGS: [libc::c_ulong; 3] = [0, FLAG_LOG, FLAG_LOG];

/// The programs of one service.
#[derive(Debug)]
pub struct Filters(Vec<Vec<libc::sock_filter>>);

/// Reads a service's programs.
///
/// # Errors
/// A sentence that says which one is missing or broken: without all of them the service must not
/// start.
pub fn load(folder: &Path, service: &str) -> Result<Filters, String> {
    // What is loaded later decides first; the order makes no difference to the answer.
    let own = Path::new("services").join(service);
    let programs = SHARED
        .iter()
        .map(Path::new)
        .chain([own.as_path()])
        .map(|name| {
            let path = folder.join(name);
            let why = |e: String| format!("its filter {}: {e}", path.display());
            steps(&fs::read(&path).map_err(|e| why(e.to_string()))?).map_err(why)
        });
    programs.collect::<Result<_, _>>().map(Filters)
}

/// A program as the builder wrote it: `struct sock_filter`, little endian.
fn steps(bytes: &[u8]) -> Result<Vec<libc::sock_filter>, String> {
    let steps: Vec<_> = bytes
        .chunks_exact(8)
        .map(|b| libc::sock_filter {
            code: u16::from_le_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    if !bytes.len().is_multiple_of(8) || !(1..=MAX_STEPS).contains(&steps.len()) {
        return Err(format!("{} bytes are no program", bytes.len()));
    }
    Ok(steps)
}

impl Filters {
    /// Loads them for the calling thread and all that it starts, for ever. The thread must have
    /// `no_new_privs`. Allocates nothing, so that a child may call it between fork and exec.
    ///
    /// # Errors
    /// EINVAL for a program that the kernel does not take.
    #[expect(
        unsafe_code,
        reason = "neither std nor rustix has seccomp(2) with flags"
    )]
    pub fn install(&self) -> io::Result<()> {
        for (steps, flags) in self.0.iter().zip(FLAGS) {
            let program = libc::sock_fprog {
                len: steps.len() as libc::c_ushort,
                filter: steps.as_ptr().cast_mut(),
            };
            // SAFETY: the kernel only reads `program` and the `len` steps behind it, which live
            // until it returns.
            let done =
                unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &program) };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

/// In an image that records calls: lets the kernel log each of them, and not the first ten of
/// five seconds. Says whether this is one.
///
/// # Errors
/// Those of the kernel's setting.
pub fn recording() -> io::Result<bool> {
    let records = Path::new(FOLDER).join(RECORD).exists();
    if records {
        fs::write("/proc/sys/kernel/printk_ratelimit", "0")?;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_missing_or_broken_is_named() {
        let folder = std::env::temp_dir().join(format!("roost-seccomp-{}", std::process::id()));
        fs::create_dir_all(folder.join("services")).unwrap();
        let text = |folder: &Path| {
            let text = load(folder, "mail").unwrap_err();
            text.replace(&folder.display().to_string(), "FOLDER")
        };
        assert_eq!(
            text(&folder),
            "its filter FOLDER/absent: No such file or directory (os error 2)"
        );
        for name in SHARED {
            fs::write(folder.join(name), [6, 0, 0, 0, 0, 0, 0xff, 0x7f]).unwrap();
        }
        fs::write(folder.join("services/mail"), [6, 0, 0]).unwrap();
        assert_eq!(
            text(&folder),
            "its filter FOLDER/services/mail: 3 bytes are no program"
        );
        fs::write(folder.join("services/mail"), []).unwrap();
        assert_eq!(
            text(&folder),
            "its filter FOLDER/services/mail: 0 bytes are no program"
        );
        fs::write(folder.join("services/mail"), [6, 0, 0, 0, 0, 0, 0xff, 0x7f]).unwrap();
        assert_eq!(load(&folder, "mail").unwrap().0.len(), 3);
        fs::remove_dir_all(folder).unwrap();
    }
}
