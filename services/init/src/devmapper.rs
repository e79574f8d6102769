//! Making device-mapper devices through `/dev/mapper/control` (linux/dm-ioctl.h).

use crate::verity::Table;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::fs::{File, OpenOptions};
use std::io;

/// Size of `struct dm_ioctl`.
const HEADER: usize = 312;
/// Size of `struct dm_target_spec`.
const SPEC: usize = 40;
/// Room for a header, one target and its parameters.
const BUFFER: usize = 1024;

const DM_READONLY_FLAG: u32 = 1 << 0;

const DM_DEV_CREATE: Opcode = command(3);
const DM_DEV_SUSPEND: Opcode = command(6);
const DM_TABLE_LOAD: Opcode = command(9);

const fn command(number: u8) -> Opcode {
    opcode::read_write::<[u8; HEADER]>(0xfd, number)
}

/// The argument of every device-mapper ioctl. Fields are 8-byte aligned in it.
#[repr(C, align(8))]
struct Request([u8; BUFFER]);

impl Request {
    fn new(name: &str, flags: u32) -> Self {
        let mut request = Self([0; BUFFER]);
        for (at, value) in [
            (0, 4u32),
            (12, BUFFER as u32),
            (16, HEADER as u32),
            (28, flags),
        ] {
            request.put_u32(at, value);
        }
        // name[128] at 48; ours are short, and the rest stays zero.
        request.0[48..48 + name.len()].copy_from_slice(name.as_bytes());
        request
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn put_u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }

    /// `struct dm_target_spec` and the parameter string behind the header.
    fn put_table(&mut self, table: &Table) -> io::Result<()> {
        let params = table.params.as_bytes();
        if HEADER + SPEC + params.len() + 1 > BUFFER || table.target.len() > 15 {
            return Err(io::Error::other("device-mapper table is too long"));
        }
        self.put_u32(20, 1);
        self.put_u64(HEADER, 0);
        self.put_u64(HEADER + 8, table.sectors);
        self.0[HEADER + 24..HEADER + 24 + table.target.len()]
            .copy_from_slice(table.target.as_bytes());
        self.0[HEADER + SPEC..HEADER + SPEC + params.len()].copy_from_slice(params);
        Ok(())
    }

    /// `dev` of the answer, in the kernel's huge encoding (`new_encode_dev`).
    fn device_number(&self) -> (u32, u32) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[40..48]);
        let dev = u64::from_ne_bytes(bytes);
        let major = (dev >> 8) & 0xfff;
        let minor = (dev & 0xff) | ((dev >> 12) & 0xf_ff00);
        (major as u32, minor as u32)
    }
}

#[expect(unsafe_code, reason = "device-mapper has no interface but ioctl")]
fn call<const COMMAND: Opcode>(control: &File, request: &mut Request) -> io::Result<()> {
    // SAFETY: all three commands take a `struct dm_ioctl` and read and write
    // no more than `data_size` bytes from its start, which is the size of
    // `Request`.
    unsafe { ioctl(control, Updater::<COMMAND, Request>::new(request)) }?;
    Ok(())
}

/// An active, read-only device-mapper device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// `major:minor`.
    pub number: String,
    /// Node under `/dev`.
    pub node: String,
}

/// Makes and activates the read-only device `name` (at most 127 bytes) with one target.
///
/// # Errors
/// Those of opening the control node and of the ioctls; the kernel's log says
/// more when a table is refused.
pub fn create(name: &str, table: &Table) -> io::Result<Mapped> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/mapper/control")?;
    let mut request = Request::new(name, 0);
    call::<DM_DEV_CREATE>(&control, &mut request)?;
    let (major, minor) = request.device_number();
    let mut request = Request::new(name, DM_READONLY_FLAG);
    request.put_table(table)?;
    call::<DM_TABLE_LOAD>(&control, &mut request)?;
    // "Suspend" without the suspend flag resumes: the loaded table becomes live.
    call::<DM_DEV_SUSPEND>(&control, &mut Request::new(name, DM_READONLY_FLAG))?;
    Ok(Mapped {
        number: format!("{major}:{minor}"),
        node: format!("/dev/dm-{minor}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_match_the_kernel_header() {
        // _IOWR(0xfd, n, struct dm_ioctl) on every architecture we build for.
        assert_eq!(DM_DEV_CREATE, 0xc138_fd03);
        assert_eq!(DM_DEV_SUSPEND, 0xc138_fd06);
        assert_eq!(DM_TABLE_LOAD, 0xc138_fd09);
    }

    #[test]
    fn long_tables_are_refused() {
        let table = Table {
            target: "linear",
            sectors: 8,
            params: "x".repeat(BUFFER),
        };
        assert!(Request::new("a", 0).put_table(&table).is_err());
    }

    #[test]
    fn device_numbers() {
        let mut request = Request::new("a", 0);
        request.put_u64(40, 0xfd03);
        assert_eq!(request.device_number(), (253, 3));
        request.put_u64(40, 0x10_fd01);
        assert_eq!(request.device_number(), (253, 257));
    }
}
