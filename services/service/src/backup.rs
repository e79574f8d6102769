//! How the owner's laptop reaches the backup service: by the device API, whose connection becomes the
//! service's own ([`UPGRADE`]). What is said there stands in `services/backup/repository/src/wire.rs`.

use std::path::PathBuf;

/// The spec's name of the service.
pub const SERVICE: &str = "backup";
/// Path of the device API.
pub const PATH: &str = "/api/v1/backup";
/// The protocol's name in the header `Upgrade`.
pub const UPGRADE: &str = "roost-backup/1";

/// The service's socket, to which the portal pipes laptops.
pub fn socket() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("laptops.sock")
}
