//! When which part of a boot began and ended, as init has noted it.

use serde::{Deserialize, Serialize};

/// Whose part a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The kernel, until its first program.
    Kernel,
    /// The program of the initramfs.
    Stage1,
    /// PID 1's own work.
    Init,
    /// A service, from its start until it says that it is ready.
    Service,
}

/// Something that takes time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BootStep {
    /// Whose it is.
    pub stage: Stage,
    /// What it is; of a service, its name.
    pub name: String,
    /// Microseconds since the kernel's start.
    pub start_us: u64,
    /// The same; missing if it has not ended yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_us: Option<u64>,
}

/// Something that has come true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BootMark {
    /// What it is.
    pub name: String,
    /// Microseconds since the kernel's start.
    pub at_us: u64,
}

/// The whole boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BootTimes {
    /// Image version.
    pub version: String,
    /// In the order in which they began.
    pub steps: Vec<BootStep>,
    /// In the order in which they came true.
    pub marks: Vec<BootMark>,
}
