//! The first two programs of the box: `stage1` in the initramfs and `init`, PID 1.
//!
//! Pure parts decide, thin parts act:
//!
//! - Decide, without a system call: [`boot_times`], [`supervisor`] (services), [`machine`]
//!   (boot, rescue, shutdown), [`network`], [`dhcp`], [`lease`], [`netlink`], [`sntp`],
//!   [`ext4`], [`superblock`], [`lending`] (who has the USB disk), [`undo`], [`uevent`], [`verity`], [`ring`], [`lines`], [`reset`], [`screen`],
//!   [`container`] (what a service sees).
//! - Act: [`kmsg`], [`boot`], [`block`], [`card`], [`devmapper`], [`mounts`], [`data`],
//!   [`card_errors`], [`clock`], [`devices`], [`disks`], [`keep`], [`lookup`], [`wish`], [`launch`], [`container::enter`], [`limits`], [`seccomp`], [`ports`], [`processes`], [`signals`], [`watchdog`], [`control`], [`logs`],
//!   [`status`], [`trial`], [`halt`], and [`pid1`], the loop that ties them together.

pub mod block;
pub mod boot;
pub mod boot_times;
pub mod card;
pub mod card_errors;
pub mod clock;
pub mod container;
pub mod control;
pub mod data;
pub mod devices;
pub mod devmapper;
pub mod dhcp;
pub mod disks;
pub mod ext4;
pub mod halt;
pub mod keep;
pub mod kmsg;
pub mod launch;
pub mod lease;
pub mod lending;
pub mod limits;
pub mod lines;
pub mod logs;
pub mod lookup;
pub mod machine;
pub mod mounts;
pub mod netlink;
pub mod network;
pub mod pid1;
pub mod ports;
pub mod processes;
pub mod quota;
pub mod reset;
pub mod ring;
pub mod screen;
pub mod seccomp;
pub mod signals;
pub mod sntp;
pub mod spill;
pub mod status;
pub mod superblock;
pub mod supervisor;
pub mod trial;
pub mod uevent;
pub mod undo;
pub mod verity;
pub mod watchdog;
pub mod wish;
