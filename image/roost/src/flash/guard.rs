//! What may be written over: the decision, apart from asking and writing.

use super::media::{Bus, Medium, Use};
use roost_board::layout::SECTOR;
use std::path::Path;

/// What is decided about a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is made to be taken out, nothing uses it, and it is large enough.
    Fit,
    /// Only if its name is typed, for these reasons.
    TypeName(Vec<String>),
    /// Never, for this reason; and what to do, if there is something.
    Never(String, Option<String>),
}

/// Places without which this machine does not run.
const SYSTEM: [&str; 7] = ["/", "/usr", "/etc", "/var", "/bin", "/lib", "/sbin"];

/// Decides about a disk that is to hold `needed` bytes; `None` if that is not known yet.
pub fn judge(medium: &Medium, needed: Option<u64>) -> Verdict {
    let never = |why: String| Verdict::Never(why, None);
    // What this machine runs from comes first: no other reason is as good.
    for what in &medium.uses {
        if let Use::Mounted { place, .. } = what
            && is_system(place)
        {
            return never(format!("this machine runs from it ({})", place.display()));
        }
    }
    for what in &medium.uses {
        match what {
            Use::Swap { part } => {
                return Verdict::Never(
                    format!("this machine swaps to {part}"),
                    Some(format!("swapoff /dev/{part}")),
                );
            }
            Use::Held { by } => {
                return Verdict::Never(
                    format!("it is part of {by} (RAID, LVM or encryption)"),
                    Some(format!("take {by} out of use first")),
                );
            }
            Use::Mounted { .. } => {}
        }
    }
    if medium.bytes == 0 {
        return never("there is no card in it".to_owned());
    }
    if medium.read_only {
        return Verdict::Never(
            "it is write-protected".to_owned(),
            Some("slide the switch at the card's side".to_owned()),
        );
    }
    if medium.block != SECTOR {
        return never(format!(
            "it counts in blocks of {} bytes, the image in blocks of {SECTOR}",
            medium.block
        ));
    }
    if let Some(needed) = needed
        && medium.bytes < needed
    {
        let size = crate::ui::size;
        return never(format!(
            "it has {}, the image needs {}",
            size(medium.bytes),
            size(needed)
        ));
    }
    let mut reasons = Vec::new();
    for what in &medium.uses {
        if let Use::Mounted { part, place } = what {
            reasons.push(format!("{part} is mounted on {}", place.display()));
        }
    }
    if !medium.removable && medium.bus != Bus::Loop {
        reasons.push(match medium.bus {
            Bus::Usb => "it is a disk, not a card or a stick".to_owned(),
            _ => "it is built into this machine".to_owned(),
        });
    }
    if medium.has_run {
        reasons
            .push("it is the card of a box that has run: the mail on it would be lost".to_owned());
    }
    match reasons.is_empty() {
        true => Verdict::Fit,
        false => Verdict::TypeName(reasons),
    }
}

fn is_system(place: &Path) -> bool {
    SYSTEM.iter().any(|system| place == Path::new(system)) || place.starts_with("/boot")
}
