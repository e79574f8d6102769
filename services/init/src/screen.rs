//! What an attached screen and the serial console show: where the box is, and how to pair with it.
//!
//! The portal says code and fingerprint (`Request::Announce`), init knows name and addresses. The
//! block is shown when one of them has changed, once they have been still for [`SETTLE`]: addresses
//! come one by one. It is written to the consoles' devices and not to the kernel's log, which
//! everybody can read who may read logs.
//!
//! The frame is ASCII: the console's font has 256 or 512 glyphs, and a serial terminal may know
//! no UTF-8.

use roost_service::card;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// So long nothing must have changed before the block is shown.
pub const SETTLE: Duration = Duration::from_secs(2);
/// Addresses shown at most: a screen has 25 lines.
const MAX_ADDRESSES: usize = 6;
/// Longest fingerprint, in bytes; six words have at most 53.
const MAX_FINGERPRINT: usize = 64;
/// Letters between the frame's sides at least.
const WIDTH: usize = 58;

/// What is shown, and when.
#[derive(Debug, Default)]
pub struct Screen {
    name: String,
    addresses: Vec<IpAddr>,
    announced: Option<Announced>,
    /// When the block is to be shown again.
    due: Option<Duration>,
    shown: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Announced {
    code: Option<String>,
    name: Option<String>,
    fingerprint: String,
}

impl Screen {
    /// Takes what the portal says.
    ///
    /// # Errors
    /// Says what cannot be shown; then everything is as it was.
    pub fn announce(
        &mut self,
        now: Duration,
        code: Option<String>,
        name: Option<String>,
        fingerprint: String,
    ) -> Result<(), String> {
        if let Some(code) = &code
            && card::normalise_code(code).as_ref() != Some(code)
        {
            return Err("the code is none".into());
        }
        if !name.as_deref().is_none_or(card::is_label) {
            return Err("the name is none".into());
        }
        let printable = |c: char| c == ' ' || c.is_ascii_graphic();
        if fingerprint.is_empty()
            || fingerprint.len() > MAX_FINGERPRINT
            || !fingerprint.chars().all(printable)
        {
            return Err(format!(
                "the fingerprint is not one line of at most {MAX_FINGERPRINT} letters"
            ));
        }
        self.announced = Some(Announced {
            code,
            name,
            fingerprint,
        });
        self.due = Some(now + SETTLE);
        Ok(())
    }

    /// Takes the box's name and its addresses (`address/prefix`).
    pub fn place(&mut self, now: Duration, name: &str, addresses: &[String]) {
        let mut addresses: Vec<IpAddr> = addresses
            .iter()
            .filter_map(|text| text.split('/').next()?.parse().ok())
            .filter(is_for_browsers)
            .collect();
        // IPv4 first: it is the shorter one to type.
        addresses.sort_unstable();
        addresses.dedup();
        if self.name != name || self.addresses != addresses {
            name.clone_into(&mut self.name);
            self.addresses = addresses;
            self.due = Some(now + SETTLE);
        }
    }

    /// When [`Screen::take`] may have something.
    pub fn deadline(&self) -> Option<Duration> {
        self.due.filter(|_| self.announced.is_some())
    }

    /// The block, if it is time and it is another one than before.
    pub fn take(&mut self, now: Duration) -> Option<String> {
        if self.deadline()? > now {
            return None;
        }
        self.due = None;
        let block = self.block()?;
        if block == self.shown {
            return None;
        }
        self.shown.clone_from(&block);
        Some(block)
    }

    fn block(&self) -> Option<String> {
        let Announced {
            code,
            name,
            fingerprint,
        } = self.announced.as_ref()?;
        let on_network = name.as_ref().unwrap_or(&self.name);
        let what = match code {
            Some(_) => "is waiting for its owner. Open one of these in a browser:",
            None => "is running. Its portal:",
        };
        let mut lines = vec![format!("{} {what}", self.name), String::new()];
        lines.push(format!("  https://{on_network}.local"));
        for address in self.addresses.iter().take(MAX_ADDRESSES) {
            lines.push(match address {
                IpAddr::V4(address) => format!("  https://{address}"),
                IpAddr::V6(address) => format!("  https://[{address}]"),
            });
        }
        if self.addresses.is_empty() {
            lines.push("  (no address yet: is the network cable plugged in?)".into());
        }
        lines.push(String::new());
        if let Some(code) = code {
            lines.push(format!("Pairing code   {}", card::display_code(code)));
        }
        lines.push(format!("Fingerprint    {fingerprint}"));
        let width = lines.iter().map(String::len).max().unwrap_or(0).max(WIDTH);
        // A terminal puts the carriage return before each line feed by itself.
        let edge = format!("+{}+\n", "-".repeat(width + 4));
        let mut block = format!("\n{edge}");
        for line in &lines {
            block += &format!("|  {line:width$}  |\n");
        }
        Some(block + &edge)
    }
}

/// Neither this machine's own nor one that needs the name of an interface behind it.
fn is_for_browsers(address: &IpAddr) -> bool {
    !address.is_loopback()
        && match address {
            IpAddr::V4(address) => !address.is_link_local(),
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        }
}

/// The kernel's consoles, opened at the first block. They stay open: closing a serial line waits
/// until all of it is sent.
#[derive(Debug, Default)]
pub struct Consoles(Option<Vec<File>>);

impl Consoles {
    /// Shows text on every console. A block fits into a terminal's buffer (4 KiB); what one does
    /// not take is left out, because PID 1 waits for none.
    pub fn show(&mut self, text: &str) {
        for console in self.0.get_or_insert_with(open) {
            let _ = console.write_all(text.as_bytes());
        }
    }
}

fn open() -> Vec<File> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let table = fs::read_to_string("/proc/consoles").unwrap_or_default();
    consoles(&table)
        .filter_map(|name| {
            rustix::fs::open(Path::new("/dev").join(name), flags, Mode::empty()).ok()
        })
        .map(File::from)
        .collect()
}

/// Names of the consoles in `/proc/consoles` that are terminals and can be written.
fn consoles(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| {
        let (name, rest) = line.split_once(' ')?;
        let flags = rest.trim_start().split(' ').next()?;
        (name.starts_with("tty") && flags.contains('W')).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn placed() -> Screen {
        let mut screen = Screen::default();
        let addresses = ["fd00::5/64", "fe80::1/64", "192.168.1.5/24", "127.0.0.1/8"];
        screen.place(S, "attic", &addresses.map(str::to_owned));
        screen
    }

    fn words() -> String {
        "legal winner thank year wave sausage".into()
    }

    #[test]
    fn nothing_is_shown_before_the_portal_has_spoken() {
        let mut screen = placed();
        assert_eq!((screen.deadline(), screen.take(9 * S)), (None, None));
    }

    #[test]
    fn the_block_of_a_box_without_owner() {
        let mut screen = placed();
        screen
            .announce(2 * S, Some("7QXM4KPB".into()), None, words())
            .unwrap();
        assert_eq!(screen.take(3 * S), None, "not yet still");
        assert_eq!(screen.deadline(), Some(4 * S));
        let expected = "
+----------------------------------------------------------------------+
|  attic is waiting for its owner. Open one of these in a browser:     |
|                                                                      |
|    https://attic.local                                               |
|    https://192.168.1.5                                               |
|    https://[fd00::5]                                                 |
|                                                                      |
|  Pairing code   7QXM-4KPB                                            |
|  Fingerprint    legal winner thank year wave sausage                 |
+----------------------------------------------------------------------+
";
        let block = screen.take(4 * S).unwrap();
        assert!(block.is_ascii());
        let lines = |text: &str| {
            text.lines()
                .map(|l| l.trim_end().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            lines(&block)
                .iter()
                .filter(|l| l.starts_with('|'))
                .map(|l| l.trim_end_matches('|').trim_end().to_owned())
                .collect::<Vec<_>>(),
            lines(expected)
                .iter()
                .filter(|l| l.starts_with('|'))
                .map(|l| l.trim_end_matches('|').trim_end().to_owned())
                .collect::<Vec<_>>()
        );
        let widths: Vec<usize> = block
            .lines()
            .filter(|l| !l.is_empty())
            .map(str::len)
            .collect();
        assert!(
            widths
                .iter()
                .all(|width| *width == widths[0] && *width <= 80)
        );
        assert_eq!(screen.take(9 * S), None, "once");
    }

    #[test]
    fn it_is_shown_again_when_something_is_new() {
        let mut screen = placed();
        let code = || Some("7QXM4KPB".to_owned());
        screen.announce(S, code(), None, words()).unwrap();
        assert!(screen.take(3 * S).is_some());
        screen.announce(4 * S, code(), None, words()).unwrap();
        assert_eq!(screen.take(6 * S), None, "the same again");
        screen.place(7 * S, "attic", &["192.168.1.6/24".into()]);
        // Comes within the time to settle: shown once, with both.
        screen.place(8 * S, "attic", &[]);
        assert_eq!(screen.take(9 * S), None);
        let block = screen.take(10 * S).unwrap();
        assert!(block.contains("no address yet"), "{block}");
        screen
            .announce(11 * S, None, Some("attic-2".into()), words())
            .unwrap();
        let block = screen.take(13 * S).unwrap();
        assert!(
            block.contains("attic is running")
                && block.contains("//attic-2.local")
                && !block.contains("7QXM"),
            "{block}"
        );
    }

    #[test]
    fn what_would_move_the_cursor_is_refused() {
        let mut screen = placed();
        let refused = [
            (Some("7qxm-4kpb".to_owned()), words()),
            (None, String::new()),
            (None, "a\u{1b}[2J".into()),
            (None, "wörter".into()),
            (None, "x".repeat(65)),
        ];
        for (code, fingerprint) in refused {
            assert!(screen.announce(S, code, None, fingerprint).is_err());
        }
        let name = Some("a.b".to_owned());
        assert!(screen.announce(S, None, name, words()).is_err());
        assert_eq!(screen.deadline(), None);
    }

    #[test]
    fn many_addresses_do_not_fill_the_screen() {
        let mut screen = Screen::default();
        let many: Vec<String> = (1..=200).map(|n| format!("10.0.0.{n}/8")).collect();
        screen.place(S, &"n".repeat(63), &many);
        screen.announce(S, None, None, "x".repeat(64)).unwrap();
        let block = screen.take(3 * S).unwrap();
        assert!(block.lines().count() <= 25 && block.len() < 4096);
    }

    #[test]
    fn consoles_of_a_pi() {
        let table = "ttyAMA10             -W- (EC p a)  204:74\n\
                     tty1                 -WU (EC  p  )    4:1\n\
                     ttyS9                R-- (E   p  )    4:73\n\
                     netcon0              -W- (E   p  )\n";
        assert_eq!(consoles(table).collect::<Vec<_>>(), ["ttyAMA10", "tty1"]);
    }
}
