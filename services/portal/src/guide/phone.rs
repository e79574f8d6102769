//! Thunderbird for Android's way: a QR code with JSON, "Export for Mobile" version 1
//! (`feature/migration/qrcode/qr-code-format.md` of its repository).
//!
//! It holds no password: a photo of the screen must not be enough to read somebody's mail.

use super::{Guide, Person};
use roost_service::mail::ports;
use serde_json::json;

/// Format version.
const FORMAT: u8 = 1;
/// The first of one code.
const SEQUENCE: [u8; 2] = [1, 1];
/// Kind of incoming server.
const IMAP: u8 = 0;
/// Kind of outgoing server.
const SMTP: u8 = 0;
/// TLS from the first byte.
const TLS: u8 = 3;
/// A password, inside TLS.
const PASSWORD: u8 = 1;

impl Guide {
    /// Text of the QR code.
    pub fn phone_code(&self, person: &Person) -> String {
        let Person {
            login,
            address,
            display_name,
        } = person;
        let host = &self.host;
        json!([
            FORMAT,
            SEQUENCE,
            [IMAP, host, ports::IMAPS, TLS, PASSWORD, login],
            [[
                [SMTP, host, ports::SUBMISSIONS, TLS, PASSWORD, login],
                [address, display_name],
            ]],
        ])
        .to_string()
    }
}
