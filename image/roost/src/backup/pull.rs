//! The laptop's end of a backup: it keeps what the box gives.

use crate::device::address::Address;
use crate::device::error::DeviceError;
use crate::device::link::Link;
use crate::device::{ANSWER_LIMIT, Device};
use crate::error::Failure;
use roost_backup_repository::store::Store;
use roost_backup_repository::wire::{Call, Ended, Wire, keep, line};
use roost_service::backup::{PATH, UPGRADE};
use std::io;
use std::time::Duration;

/// Longest silence of a box at work: it tells how far it is twice a second, but opening a repository
/// takes a small board some seconds, and holding a busy mail store still up to half a minute.
const SILENCE: Duration = Duration::from_secs(180);

/// Does what the box asks, until it says how that has ended.
///
/// # Errors
///
/// [`DeviceError`], whatever went wrong on the way.
pub fn talk(
    device: &mut Device<'_>,
    call: &Call,
    store: &dyn Store,
    seen: impl FnMut(u64, u64, u64),
) -> Result<Ended, DeviceError> {
    let link = device.connect()?;
    over(link, &device.address.host_header(), call, store, seen)
}

/// The same over a connection that is there; `host` is the header's value.
///
/// # Errors
///
/// As [`talk`].
pub fn over(
    mut link: Link,
    host: &str,
    call: &Call,
    store: &dyn Store,
    seen: impl FnMut(u64, u64, u64),
) -> Result<Ended, DeviceError> {
    link.upgrade_to(host, PATH, UPGRADE, ANSWER_LIMIT)?;
    let mut conversation = Conversation(link);
    let call = line(call).map_err(Broken::from)?;
    conversation.send(&call)?;
    Ok(keep(&mut conversation, store, seen)?)
}

/// The failure of a command that wanted something else.
pub fn no_success(what: &str, address: &Address, ended: Ended) -> Failure {
    let failure = Failure::new(format!("{what} {address}"));
    match ended {
        Ended::Failed { message, hint } => {
            let failure = failure.because(crate::device::words::plain(&message));
            match hint {
                Some(hint) => failure.hint(crate::device::words::plain(&hint)),
                None => failure,
            }
        }
        Ended::Done(_) | Ended::Code(_) => failure
            .because("the box answers something else than was asked")
            .hint("use the `roost` that the box was built with"),
    }
}

struct Conversation(Link);

/// Why it broke off.
struct Broken(DeviceError);

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self(DeviceError::NotUnderstood(error.to_string()))
    }
}

impl From<Broken> for DeviceError {
    fn from(broken: Broken) -> Self {
        broken.0
    }
}

impl Wire for Conversation {
    type Error = Broken;

    fn line(&mut self, max: usize) -> Result<Vec<u8>, Broken> {
        self.0.line(max, SILENCE).map_err(Broken)
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        self.0.bytes(length, SILENCE).map_err(Broken)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.0.send_raw(bytes, SILENCE).map_err(Broken)
    }
}
