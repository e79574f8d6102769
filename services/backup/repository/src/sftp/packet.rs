//! Packets of SFTP, version 3 (draft-ietf-secsh-filexfer-02), as bytes: those that a client sends and those that it
//! gets. No input and output here.
//!
//! russh-sftp has them too; there a handle has to be UTF-8, and a status that the draft does not have, as newer
//! servers send, ends the session.

use bytes::{Buf, Bytes};

/// The version that is spoken.
const VERSION: u32 = 3;
/// Longest packet that is read, in bytes: what OpenSSH takes for the longest too.
pub const MAX_PACKET: u32 = 256 << 10;
/// Most bytes that are written or read by one packet: every server takes these (section 3 of the draft).
pub const PIECE: usize = 32 << 10;
/// Asks for what was written to a file to be put on the medium (OpenSSH, PROTOCOL, section 4.7).
pub const FSYNC: &str = "fsync@openssh.com";

/// Opens for reading.
pub const READ: u32 = 0x01;
/// Opens for writing: a file that may be there, and is made anew.
pub const WRITE_ANEW: u32 = 0x02 | 0x08 | 0x10;
/// That a mode is told.
const HAS_SIZE: u32 = 0x01;
const HAS_OWNER: u32 = 0x02;
const HAS_MODE: u32 = 0x04;
const HAS_TIMES: u32 = 0x08;
const HAS_MORE: u32 = 0x8000_0000;
/// Of a mode: which kind of file (stat(2)).
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;

/// What a client asks for. Paths and handles are bytes as the server has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// The first packet.
    Init,
    /// A handle for a file: [`Reply::Handle`]. One that is made is for its owner alone.
    Open { path: &'a [u8], flags: u32 },
    /// Gives a handle back.
    Close { handle: &'a [u8] },
    /// [`Reply::Data`], which may be less than `length`.
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    /// Puts bytes into a file.
    Write {
        handle: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    /// [`Reply::Attributes`] of what a link leads to.
    Stat { path: &'a [u8] },
    /// [`Reply::Attributes`] of an open file.
    Fstat { handle: &'a [u8] },
    /// A handle for a folder.
    OpenFolder { path: &'a [u8] },
    /// [`Reply::Names`], some of them; in the end a status that says so.
    ReadFolder { handle: &'a [u8] },
    /// A folder for its owner alone.
    MakeFolder { path: &'a [u8] },
    /// Removes a file.
    Remove { path: &'a [u8] },
    /// Gives a file another name, under which there must be none (section 6.5).
    Rename { from: &'a [u8], to: &'a [u8] },
    /// Puts an open file on the medium; of servers that name [`FSYNC`].
    Sync { handle: &'a [u8] },
}

fn string(into: &mut Vec<u8>, text: &[u8]) {
    // Nothing of ours is near 4 GiB.
    into.extend_from_slice(&(text.len() as u32).to_be_bytes());
    into.extend_from_slice(text);
}

impl Request<'_> {
    /// The packet, its length first. `id` comes back with the answer.
    pub fn to_bytes(self, id: u32) -> Vec<u8> {
        let mut packet = vec![0; 4];
        packet.push(match self {
            Self::Init => 1,
            Self::Open { .. } => 3,
            Self::Close { .. } => 4,
            Self::Read { .. } => 5,
            Self::Write { .. } => 6,
            Self::Fstat { .. } => 8,
            Self::OpenFolder { .. } => 11,
            Self::ReadFolder { .. } => 12,
            Self::Remove { .. } => 13,
            Self::MakeFolder { .. } => 14,
            Self::Stat { .. } => 17,
            Self::Rename { .. } => 18,
            Self::Sync { .. } => 200,
        });
        let first = match self {
            Self::Init => VERSION,
            _ => id,
        };
        packet.extend_from_slice(&first.to_be_bytes());
        let mode = |packet: &mut Vec<u8>, mode: u32| {
            packet.extend_from_slice(&HAS_MODE.to_be_bytes());
            packet.extend_from_slice(&mode.to_be_bytes());
        };
        match self {
            Self::Init => {}
            Self::Open { path, flags } => {
                string(&mut packet, path);
                packet.extend_from_slice(&flags.to_be_bytes());
                mode(&mut packet, 0o600);
            }
            Self::MakeFolder { path } => {
                string(&mut packet, path);
                mode(&mut packet, 0o700);
            }
            Self::Close { handle: text }
            | Self::Fstat { handle: text }
            | Self::ReadFolder { handle: text }
            | Self::OpenFolder { path: text }
            | Self::Remove { path: text }
            | Self::Stat { path: text } => string(&mut packet, text),
            Self::Read {
                handle,
                offset,
                length,
            } => {
                string(&mut packet, handle);
                packet.extend_from_slice(&offset.to_be_bytes());
                packet.extend_from_slice(&length.to_be_bytes());
            }
            Self::Write {
                handle,
                offset,
                data,
            } => {
                string(&mut packet, handle);
                packet.extend_from_slice(&offset.to_be_bytes());
                string(&mut packet, data);
            }
            Self::Rename { from, to } => {
                string(&mut packet, from);
                string(&mut packet, to);
            }
            Self::Sync { handle } => {
                string(&mut packet, FSYNC.as_bytes());
                string(&mut packet, handle);
            }
        }
        let length = packet.len() as u32 - 4;
        packet[..4].copy_from_slice(&length.to_be_bytes());
        packet
    }
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Init`]: its version, and names of what it knows beyond that.
    Version { version: u32, more: Vec<Bytes> },
    /// How something ended: 0 is well; and the server's own words.
    Status { code: u32, message: String },
    /// Names a file or a folder that is open.
    Handle(Bytes),
    /// Bytes of a file.
    Data(Bytes),
    /// What is in a folder.
    Names(Vec<Entry>),
    /// About a file.
    Attributes(Attributes),
}

/// A file or a folder in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the folder's.
    pub name: Bytes,
    /// About it.
    pub attributes: Attributes,
}

/// What is told about a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Whether it is a folder.
    pub is_folder: Option<bool>,
}

/// Something that is no packet of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what answers there does not speak SFTP")]
pub struct Strange;

/// Takes from the front, and never more than there is.
struct Reader(Bytes);

impl Reader {
    fn byte(&mut self) -> Result<u8, Strange> {
        self.0.try_get_u8().map_err(|_| Strange)
    }

    fn u32(&mut self) -> Result<u32, Strange> {
        self.0.try_get_u32().map_err(|_| Strange)
    }

    fn u64(&mut self) -> Result<u64, Strange> {
        self.0.try_get_u64().map_err(|_| Strange)
    }

    fn string(&mut self) -> Result<Bytes, Strange> {
        let length = self.u32()? as usize;
        match length <= self.0.len() {
            true => Ok(self.0.split_to(length)),
            false => Err(Strange),
        }
    }

    fn attributes(&mut self) -> Result<Attributes, Strange> {
        let flags = self.u32()?;
        let has = |flag| flags & flag != 0;
        let mut found = Attributes::default();
        if has(HAS_SIZE) {
            found.size = Some(self.u64()?);
        }
        if has(HAS_OWNER) {
            self.u64()?;
        }
        if has(HAS_MODE) {
            found.is_folder = Some(self.u32()? & KIND == FOLDER);
        }
        if has(HAS_TIMES) {
            self.u64()?;
        }
        if has(HAS_MORE) {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(found)
    }
}

/// A packet without its length, and which request it answers; that of [`Reply::Version`] is 0.
///
/// # Errors
/// [`Strange`].
pub fn parse(packet: Bytes) -> Result<(u32, Reply), Strange> {
    let mut from = Reader(packet);
    let kind = from.byte()?;
    if kind == 2 {
        let version = from.u32()?;
        let mut more = Vec::new();
        while !from.0.is_empty() {
            more.push(from.string()?);
            from.string()?;
        }
        return Ok((0, Reply::Version { version, more }));
    }
    let id = from.u32()?;
    let reply = match kind {
        101 => {
            let code = from.u32()?;
            // Some servers leave the words out.
            let message = from.string().unwrap_or_default();
            let message = String::from_utf8_lossy(&message).into_owned();
            Reply::Status { code, message }
        }
        102 => Reply::Handle(from.string()?),
        103 => Reply::Data(from.string()?),
        104 => {
            let mut names = Vec::new();
            for _ in 0..from.u32()? {
                let name = from.string()?;
                // As `ls -l` would show it.
                from.string()?;
                let attributes = from.attributes()?;
                names.push(Entry { name, attributes });
            }
            Reply::Names(names)
        }
        105 => Reply::Attributes(from.attributes()?),
        _ => return Err(Strange),
    };
    Ok((id, reply))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(kind: u8, rest: &[&[u8]]) -> Bytes {
        let mut bytes = vec![kind];
        rest.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.into()
    }

    #[test]
    fn requests_are_those_of_the_draft() {
        let all = [
            (Request::Init, "0000000501".to_owned() + "00000003"),
            (
                Request::Open {
                    path: b"a",
                    flags: READ,
                },
                "0000001603".to_owned()
                    + "00000007"
                    + "0000000161"
                    + "00000001"
                    + "00000004"
                    + "00000180",
            ),
            (
                Request::Write {
                    handle: b"h",
                    offset: 1 << 32,
                    data: b"xy",
                },
                "0000001806".to_owned()
                    + "00000007"
                    + "0000000168"
                    + "0000000100000000"
                    + "000000027879",
            ),
            (
                Request::Rename {
                    from: b"a",
                    to: b"b",
                },
                "0000000f12".to_owned() + "00000007" + "0000000161" + "0000000162",
            ),
            (
                Request::Sync { handle: b"h" },
                "0000001fc8".to_owned()
                    + "00000007"
                    + "00000011"
                    + &hex::encode(FSYNC)
                    + "0000000168",
            ),
        ];
        for (request, bytes) in all {
            assert_eq!(hex::encode(request.to_bytes(7)), bytes, "{request:?}");
        }
    }

    #[test]
    fn answers_are_understood_as_servers_write_them() {
        let (id, four) = (7_u32.to_be_bytes(), |n: u32| n.to_be_bytes());
        // A handle that is no text, as OpenSSH's 200th is.
        let handle = packet(102, &[&id, &four(4), &[0, 0, 0, 200]]);
        assert_eq!(
            parse(handle),
            Ok((7, Reply::Handle(Bytes::from_static(&[0, 0, 0, 200]))))
        );
        // A status of a later version, and one without words.
        for code in [15, 4] {
            let message = String::new();
            assert_eq!(
                parse(packet(101, &[&id, &four(code)])),
                Ok((7, Reply::Status { code, message }))
            );
        }
        let version = packet(2, &[&four(3), &four(17), FSYNC.as_bytes(), &four(1), b"1"]);
        let more = vec![Bytes::from(FSYNC)];
        assert_eq!(parse(version), Ok((0, Reply::Version { version: 3, more })));
        // All that can be told of a file, what nobody knows included.
        let all = HAS_SIZE | HAS_OWNER | HAS_MODE | HAS_TIMES | HAS_MORE;
        let attributes = packet(
            105,
            &[
                &id,
                &four(all),
                &9_u64.to_be_bytes(),
                &[0; 8],
                &four(0o040_755),
                &[0; 8],
                &four(1),
                &four(1),
                b"k",
                &four(0),
            ],
        );
        let found = Attributes {
            size: Some(9),
            is_folder: Some(true),
        };
        assert_eq!(parse(attributes), Ok((7, Reply::Attributes(found))));
    }

    proptest! {
        #[test]
        fn junk_is_refused_and_takes_no_memory(kind in 0_u8..=255, rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let length = rest.len();
            if let Ok((_, Reply::Names(names))) = parse(packet(kind, &[&rest])) {
                // An entry has twelve bytes at least.
                prop_assert!(names.len() <= length / 12);
            }
        }
    }
}
