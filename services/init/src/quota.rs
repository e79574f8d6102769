//! How much of the card the files of each service may take: ext4's quotas of users
//! (quotactl(2)), for each service is a user of its own. init's files are root's, who has none.

use nix::errno::Errno;
use nix::sys::quota::{Dqblk, QuotaType, QuotaValidFlags, quotactl_set};
use roost_service::spec::{self, CardRoom, ServiceSpec};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Of a card that mail has filled, the box itself keeps so much: an update's notes, settings, and what
/// other services write. Mail stops at twice as much by itself and says so (`room.rs` of the mail service).
const RESERVE: u64 = 16 << 20;
/// On a small card it is this part of it.
const PART: u64 = 16;
/// Files of a small service for each MiB: many small ones use up a card as well.
const FILES_PER_MIB: u64 = 64;
/// Of all files that the card can have, this part is for the box itself.
const FILES_PART: u64 = 16;
/// Bytes in what quotactl(2) counts in (`QIF_DQBLKSIZE`).
const BLOCK: u64 = 1024;

/// What a user may have on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// User number.
    pub user: u32,
    /// Bytes.
    pub bytes: u64,
    /// Files, folders and everything else with an inode.
    pub files: u64,
}

/// The quota of a service on a card for `bytes` bytes and `files` files.
pub fn of(spec: &ServiceSpec, bytes: u64, files: u64) -> Quota {
    let user = spec.user;
    match spec.limits.card_mib {
        CardRoom::Mib(mib) => Quota {
            user,
            bytes: u64::from(mib) << 20,
            files: u64::from(mib) * FILES_PER_MIB,
        },
        CardRoom::Rest(_) => Quota {
            user,
            bytes: bytes - RESERVE.min(bytes / PART),
            files: files - files / FILES_PART,
        },
    }
}

/// Sets those of all services in the image's table, on the file system at `mount_point` whose
/// device is `node`.
///
/// # Errors
/// A sentence: the table cannot be read, or the file system has no quotas.
pub fn set(node: &Path, mount_point: &Path) -> Result<(), String> {
    let table = File::open(spec::PATH).map_err(|e| format!("{}: {e}", spec::PATH))?;
    let table: Vec<ServiceSpec> = serde_json::from_reader(BufReader::new(table))
        .map_err(|e| format!("{}: {e}", spec::PATH))?;
    let size = rustix::fs::statvfs(mount_point).map_err(|e| format!("its size: {e}"))?;
    // Without the part that is root's alone.
    let blocks = size.f_blocks - (size.f_bfree - size.f_bavail);
    for spec in &table {
        let quota = of(spec, blocks * size.f_frsize, size.f_files);
        set_one(node, quota).map_err(|e| match e {
            Errno::ESRCH => "this file system was made without quotas".to_owned(),
            other => format!("{}: {other}", spec.name),
        })?;
    }
    Ok(())
}

fn set_one(node: &Path, quota: Quota) -> nix::Result<()> {
    let mut limits = Dqblk::default();
    // None of the soft limits, which allow more for a week.
    limits.set_blocks_hard_limit(quota.bytes / BLOCK);
    limits.set_inodes_hard_limit(quota.files);
    let user = quota.user.cast_signed();
    let what = QuotaValidFlags::QIF_LIMITS;
    quotactl_set(QuotaType::USRQUOTA, node, user, &limits, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::spec::Rest;

    #[test]
    fn small_services_have_what_their_spec_says_and_mail_all_but_a_reserve() {
        let mut spec = ServiceSpec::plain("dns", 850);
        spec.limits.card_mib = CardRoom::Mib(16);
        let (user, bytes, files) = (850, 16 << 20, 1024);
        assert_eq!(of(&spec, 1 << 40, 1 << 20), Quota { user, bytes, files });
        spec.limits.card_mib = CardRoom::Rest(Rest::Rest);
        let rest = of(&spec, 1 << 40, 1 << 20);
        assert_eq!(rest.bytes, (1 << 40) - (16 << 20));
        assert_eq!(rest.files, (1 << 20) - (1 << 16));
        assert_eq!(of(&spec, 64 << 20, 160).bytes, 60 << 20);
        assert_eq!(of(&spec, 0, 0).bytes, 0);
    }
}
