//! A device that keeps one passkey, and what a browser makes of its answers (WebAuthn level 3, sections
//! 5.8.1, 6.1 and 6.5). It signs with a real key; what else it says is up to the test.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What the device says about its user (section 6.1, flags).
pub const PRESENT: u8 = 0x01;
pub const VERIFIED: u8 = 0x04;
const HAS_KEY: u8 = 0x40;

pub struct Device {
    key: SigningKey,
    pub id: Vec<u8>,
    pub counter: u32,
    pub flags: u8,
    /// Taken from the options unless the test says otherwise.
    pub rp_id: Option<String>,
    /// The same.
    pub user: Option<String>,
}

impl Device {
    pub fn new(seed: u8) -> Self {
        Self {
            key: SigningKey::from_slice(&[seed; 32]).unwrap(),
            id: vec![seed; 20],
            counter: 0,
            flags: PRESENT | VERIFIED,
            rp_id: None,
            user: None,
        }
    }

    fn data(&self, rp_id: &str, flags: u8) -> Vec<u8> {
        let rp_id = self.rp_id.as_deref().unwrap_or(rp_id);
        let mut data = Sha256::digest(rp_id).to_vec();
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn client_data(kind: &str, options: &Value, origin: &str) -> String {
        json!({
            "type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": false,
        })
        .to_string()
    }

    /// Answers `navigator.credentials.create` with these options, on a page of this origin.
    pub fn create(&mut self, options: &str, origin: &str) -> String {
        let options: Value = serde_json::from_str(options).unwrap();
        let options = &options["publicKey"];
        self.user = options["user"]["id"].as_str().map(str::to_owned);
        let mut data = self.data(options["rp"]["id"].as_str().unwrap(), self.flags | HAS_KEY);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        // COSE_Key (RFC 9052 section 7): EC2, ES256, P-256, x, y.
        let point = self.key.verifying_key().to_sec1_point(false);
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(point.x().unwrap());
        data.extend([0x22, 0x58, 0x20]);
        data.extend(point.y().unwrap());
        // CBOR (RFC 8949): {"fmt": "none", "attStmt": {}, "authData": bytes}.
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        object.extend(data);
        let client = Self::client_data("webauthn.create", options, origin);
        json!({
            "id": BASE64.encode(&self.id), "rawId": BASE64.encode(&self.id), "type": "public-key",
            "response": {
                "attestationObject": BASE64.encode(object), "clientDataJSON": BASE64.encode(client),
            },
        })
        .to_string()
    }

    /// Answers `navigator.credentials.get` with these options, on a page of this origin.
    pub fn get(&mut self, options: &str, origin: &str) -> String {
        let options: Value = serde_json::from_str(options).unwrap();
        let options = &options["publicKey"];
        let data = self.data(options["rpId"].as_str().unwrap(), self.flags);
        let client = Self::client_data("webauthn.get", options, origin);
        let mut signed = data.clone();
        signed.extend(Sha256::digest(&client));
        let signature: Signature = self.key.sign(&signed);
        json!({
            "id": BASE64.encode(&self.id), "rawId": BASE64.encode(&self.id), "type": "public-key",
            "response": {
                "authenticatorData": BASE64.encode(data), "clientDataJSON": BASE64.encode(client),
                "signature": BASE64.encode(signature.to_der()), "userHandle": self.user,
            },
        })
        .to_string()
    }
}
