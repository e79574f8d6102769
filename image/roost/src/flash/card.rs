//! The card's own file: where it lies in an image, and what goes into it.

use crate::error::Failure;
use crate::password::random;
use roost_service::card::{self, Card, Computer, Identity, Pairing, SIZE};
use roost_service::fingerprint::Fingerprint;
use roost_service::settings::Network;
use std::io::Read;

/// Blocks of the data file system; a file begins with one.
pub const BLOCK: usize = 4096;

/// Looks for the file's blocks in bytes that come piece by piece.
#[derive(Debug, Default)]
pub struct Finder {
    /// Where the next piece lies, in bytes.
    at: u64,
    /// Where blocks begin as the file does.
    found: Vec<Place>,
    /// Bytes compared so far of the one found last.
    compared: usize,
    /// Whether what follows is no placeholder.
    broken: bool,
}

/// Where the card's own file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub at: u64,
    /// The newest format of a card that the image's boxes read ([`card::FORMAT`]).
    pub format: u32,
}

/// Why an image cannot be made one card's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// There is none.
    #[error("it has no place for them: it was made by an older roost")]
    None,
    /// There are several.
    #[error("there are {0} places that look like theirs, and only one can be right")]
    Several(usize),
    /// The blocks behind the first are something else.
    #[error("their place does not lie in one piece, or holds another card's already")]
    Broken,
}

impl Finder {
    /// Begins to look at byte `at`, a multiple of [`BLOCK`].
    pub fn new(at: u64) -> Self {
        Self {
            at,
            ..Self::default()
        }
    }

    /// Takes the next bytes, whole blocks.
    pub fn feed(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK) {
            if let Some(format) = card::format_of(block) {
                self.broken |= self.is_inside();
                self.found.push(Place {
                    at: self.at,
                    format,
                });
                self.compared = 0;
            }
            if let Some(place) = self.found.last()
                && self.is_inside()
            {
                let whole = card::placeholder_of(place.format);
                let wanted = &whole[self.compared..][..BLOCK.min(block.len())];
                self.broken |= block != wanted;
                self.compared += block.len();
            }
            self.at += block.len() as u64;
        }
    }

    fn is_inside(&self) -> bool {
        !self.found.is_empty() && self.compared < SIZE
    }

    /// Where the one placeholder is.
    ///
    /// # Errors
    ///
    /// [`NoPlace`].
    pub fn only(&self) -> Result<Place, NoPlace> {
        match self.found[..] {
            [] => Err(NoPlace::None),
            [place] if !self.broken && self.compared == SIZE => Ok(place),
            [_] => Err(NoPlace::Broken),
            _ => Err(NoPlace::Several(self.found.len())),
        }
    }

    /// Looks at everything that `from` gives; places count from its start.
    ///
    /// # Errors
    ///
    /// What reading says.
    pub fn search(mut from: impl Read) -> std::io::Result<Self> {
        let mut finder = Self::new(0);
        let mut buffer = vec![0; 256 * BLOCK];
        loop {
            let length = super::image::read_full(&mut from, &mut buffer)?;
            finder.feed(&buffer[..length]);
            if length < buffer.len() {
                return Ok(finder);
            }
        }
    }
}

/// Everything that makes one card differ from the image.
pub struct Personal {
    /// The box's name, also in the certificate.
    pub name: String,
    /// The one-time pairing code, normalised.
    pub code: String,
    /// Of the certificate.
    pub fingerprint: Fingerprint,
    /// The file's bytes. They hold a private key: only the card gets them.
    pub file: Box<[u8; SIZE]>,
    /// The certificate in PEM; empty if the box makes its own.
    pub certificate: String,
    /// Which computer the box lets in once it has an owner, by the name that it will have there.
    pub lets_in: Option<String>,
}

impl Personal {
    /// Makes code and identity, for a box of this name that is to know `computer`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the system gives no random numbers, or if no box could call the computer so.
    pub fn new(
        name: &str,
        network: Option<Network>,
        computer: Option<Computer>,
    ) -> Result<Self, Failure> {
        Self::make(name, Some(name.to_owned()), network, computer)
    }

    /// What another card was told, for one that takes its place.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that is damaged.
    pub fn again(name: &str, card: &Card) -> Result<Self, Failure> {
        let cannot = "cannot make the card's own file anew";
        let file = card::render(card).map_err(|e| Failure::new(cannot).because(e))?;
        let pem = card.identity.as_ref().map(|known| &known.certificate_pem);
        let certificate = pem
            .map(|pem| pem::parse(pem).map_err(|e| Failure::new(cannot).because(e)))
            .transpose()?
            .map(pem::Pem::into_contents);
        let code = card.pairing.as_ref().map(|pairing| pairing.code.clone());
        Ok(Self {
            name: card.name.clone().unwrap_or_else(|| name.to_owned()),
            code: code.unwrap_or_default(),
            fingerprint: Fingerprint::of(&certificate.unwrap_or_default()),
            file: Box::new(file),
            certificate: pem.cloned().unwrap_or_default(),
            lets_in: None,
        })
    }

    /// The same for a box that is called as its image says.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn unnamed() -> Result<Self, Failure> {
        Self::make("roost", None, None, None)
    }

    fn make(
        name: &str,
        of_card: Option<String>,
        network: Option<Network>,
        computer: Option<Computer>,
    ) -> Result<Self, Failure> {
        let cannot = "cannot make the card's own file";
        let code = card::code(random()?);
        let (identity, certificate) =
            identity(name).map_err(|e| Failure::new(cannot).because(e))?;
        let pem = identity.certificate_pem.clone();
        let lets_in = computer.as_ref().map(|computer| computer.name.clone());
        let file = card::render(&Card {
            format: match computer {
                Some(_) => card::FORMAT,
                None => card::FORMAT_ALONE,
            },
            name: of_card,
            network,
            pairing: Some(Pairing { code: code.clone() }),
            identity: Some(identity),
            computer,
        })
        .map_err(|e| Failure::new(cannot).because(e))?;
        Ok(Self {
            name: name.to_owned(),
            code,
            fingerprint: Fingerprint::of(&certificate),
            file: Box::new(file),
            certificate: pem,
            lets_in,
        })
    }

    /// Where the box answers.
    pub fn address(&self) -> String {
        format!("https://{}.local", self.name)
    }

    /// Where it is paired; the code stands behind the # and so never reaches a server's log.
    pub fn pairing_address(&self) -> String {
        format!("{}/pair#{}", self.address(), card::display_code(&self.code))
    }
}

/// A key and its self-signed certificate, which is also given as DER.
///
/// ECDSA with P-256: browsers take no Ed25519 in certificates.
fn identity(name: &str) -> Result<(Identity, Vec<u8>), rcgen::Error> {
    let mut params = rcgen::CertificateParams::new(vec![format!("{name}.local"), name.to_owned()]);
    params.alg = &rcgen::PKCS_ECDSA_P256_SHA256;
    // A new Pi has no clock: whatever it believes the time to be, the certificate holds.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, format!("{name}.local"));
    let certificate = rcgen::Certificate::from_params(params)?;
    // Once: each call signs anew, and a signature of ECDSA is never the same.
    let der = certificate.serialize_der()?;
    let pem = |tag: &str, bytes: &[u8]| pem::encode(&pem::Pem::new(tag, bytes));
    let identity = Identity {
        key_pem: pem("PRIVATE KEY", &certificate.serialize_private_key_der()),
        certificate_pem: pem("CERTIFICATE", &der),
    };
    Ok((identity, der))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    fn with_placeholder(blocks: usize, at: &[usize]) -> Vec<u8> {
        let mut bytes = vec![0xa5; blocks * BLOCK];
        for at in at {
            bytes[at * BLOCK..][..SIZE].copy_from_slice(&card::placeholder());
        }
        bytes
    }

    proptest! {
        #[test]
        fn the_place_is_found_however_the_pieces_are_cut(at in 0_usize..20, piece in 1_usize..30) {
            let bytes = with_placeholder(24, &[at]);
            let mut finder = Finder::new(1 << 30);
            bytes.chunks(piece * BLOCK).for_each(|piece| finder.feed(piece));
            let place = Place { at: (1 << 30) + (at * BLOCK) as u64, format: card::FORMAT };
            prop_assert_eq!(finder.only(), Ok(place));
        }
    }

    #[test]
    fn anything_but_one_whole_placeholder_is_refused() {
        let only = |bytes: &[u8]| Finder::search(bytes).unwrap().only();
        assert_eq!(only(&with_placeholder(8, &[])), Err(NoPlace::None));
        assert_eq!(
            only(&with_placeholder(20, &[1, 9])),
            Err(NoPlace::Several(2))
        );
        assert_eq!(
            only(&with_placeholder(20, &[1])[..4 * BLOCK]),
            Err(NoPlace::Broken)
        );
        // The last block lies elsewhere; or a card's file stands there already.
        let mut bytes = with_placeholder(8, &[1]);
        bytes[4 * BLOCK..5 * BLOCK].fill(0);
        assert_eq!(only(&bytes), Err(NoPlace::Broken));
        let mut bytes = with_placeholder(8, &[1]);
        bytes[BLOCK + 40] = b'{';
        assert_eq!(only(&bytes), Err(NoPlace::Broken));
        // Not at the beginning of a block: somebody's text.
        let mut bytes = with_placeholder(8, &[]);
        let line = &card::placeholder()[..card::FIRST_LINE];
        bytes[100..100 + line.len()].copy_from_slice(line);
        assert_eq!(only(&bytes), Err(NoPlace::None));
        // An image from before there were computers on cards.
        let mut bytes = with_placeholder(8, &[1]);
        bytes[BLOCK..][..SIZE].copy_from_slice(&card::placeholder_of(1));
        let at = BLOCK as u64;
        assert_eq!(only(&bytes), Ok(Place { at, format: 1 }));
    }

    #[test]
    fn a_card_gets_a_code_and_an_identity_that_belong_together() {
        let computer = Computer {
            name: "desk".into(),
            key: "0f".repeat(32),
        };
        let personal = Personal::new("attic", None, Some(computer.clone())).unwrap();
        let card = card::parse(&personal.file[..]).unwrap().unwrap();
        assert_eq!(card.name.as_deref(), Some("attic"));
        assert_eq!(card.pairing.unwrap().code, personal.code);
        assert_eq!((card.format, card.computer), (card::FORMAT, Some(computer)));
        let address = personal.pairing_address();
        let typed = address.strip_prefix("https://attic.local/pair#").unwrap();
        assert_eq!(card::normalise_code(typed), Some(personal.code.clone()));

        let identity = card.identity.unwrap();
        assert_eq!(identity.certificate_pem, personal.certificate);
        let certificate =
            CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
        assert_eq!(Fingerprint::of(&certificate), personal.fingerprint);
        // rustls refuses a key that is not the certificate's.
        let config = rustls::ServerConfig::builder_with_provider(
            rustls::crypto::ring::default_provider().into(),
        )
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
        assert!(config.is_ok(), "{config:?}");
        let other = Personal::new("attic", None, None).unwrap();
        assert_ne!(other.code, personal.code);
        let card = card::parse(&other.file[..]).unwrap().unwrap();
        assert_eq!((card.format, card.computer), (card::FORMAT_ALONE, None));
    }
}
