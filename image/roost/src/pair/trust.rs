//! Whether the certificate that was shown is the box's.
//!
//! | What is known | and it was shown | then |
//! |---|---|---|
//! | `--fingerprint` | the same | go on |
//! | `--fingerprint` | another | refused |
//! | a card made here, or a pairing, with what was shown | | go on |
//! | a card made here, or a pairing, of that name or address | another | refused: somebody may be in between |
//! | nothing | | the user compares words |

use super::WebAddress;
use crate::ask::{can_ask, confirm};
use crate::device::cards::Card;
use crate::device::paired::Paired;
use crate::error::Failure;
use crate::ui::Ui;
use roost_service::fingerprint::Fingerprint;

/// What this computer knows.
pub struct Known<'a> {
    /// Boxes that it is paired with.
    pub boxes: &'a [Paired],
    /// Cards that were made here.
    pub cards: &'a [Card],
    /// What the user says: words, or hexadecimal digits.
    pub said: Option<&'a str>,
}

impl Known<'_> {
    /// Makes sure that `shown` belongs to the box at `web`, which calls itself `name`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it does not, or if nobody says that it does.
    pub fn check(
        &self,
        web: &WebAddress,
        name: &str,
        shown: Fingerprint,
        ui: &Ui,
    ) -> Result<(), Failure> {
        if let Some(said) = self.said {
            return match is(said, shown)? {
                true => Ok(()),
                false => Err(changed(web, said, shown)),
            };
        }
        for known in self.boxes {
            if known.fingerprint()? == shown {
                return Ok(());
            }
        }
        if self.cards.iter().any(|card| card.shows(shown)) {
            return Ok(());
        }
        let host = web.0.host();
        let meant = |of: &str| of == name || host.strip_suffix(".local").unwrap_or(host) == of;
        for known in self.boxes {
            let there = known.address.split(':').next() == Some(host) && !web.0.is_loopback();
            if meant(&known.name) || there {
                let words = known.fingerprint()?.words().join(" ");
                return Err(changed(web, &words, shown));
            }
        }
        // The newest card of that name is the one that somebody has just put into a box.
        // Those of `roost run` have no name of their own.
        let named = |card: &&Card| card.web.is_none() && meant(&card.name);
        if let Some(card) = self.cards.iter().find(named) {
            return Err(changed(web, &words_of(card), shown));
        }
        compare(web, name, shown, ui)
    }
}

fn words_of(card: &Card) -> String {
    Fingerprint::from_hex(&card.fingerprint)
        .map_or_else(|| card.fingerprint.clone(), |known| known.words().join(" "))
}

/// Whether `said`, words or digits, means this certificate.
fn is(said: &str, shown: Fingerprint) -> Result<bool, Failure> {
    let digits: String = said
        .chars()
        .filter(|c| !matches!(c, ':' | ' '))
        .collect::<String>()
        .to_lowercase();
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(digits == shown.hex());
    }
    let words: Vec<String> = said.split_whitespace().map(str::to_lowercase).collect();
    if words.len() != shown.words().len() {
        return Err(Failure::usage(format!(
            "--fingerprint: {said:?} is neither six words nor 64 hexadecimal digits"
        ))
        .hint(
            "put the words into quotes: --fingerprint \"legal winner thank year wave sausage\"",
        ));
    }
    Ok(words == shown.words())
}

fn changed(web: &WebAddress, known: &str, shown: Fingerprint) -> Failure {
    Failure::new(format!("{web} is not the box that it should be"))
        .because(format!(
            "it shows another certificate\nknown  {known}\nshown  {}\n\
             Somebody may be between you and the box; or its card was written on another computer, or another box has this address. \
             Nothing was sent.",
            shown.words().join(" ")
        ))
        .hint("look at the words on the box's screen, or at those that `roost flash` showed last. If they are those that were shown here, say so: --fingerprint \"WORDS\". If not, do not enter code or password there")
}

fn compare(web: &WebAddress, name: &str, shown: Fingerprint, ui: &Ui) -> Result<(), Failure> {
    let words = shown.words().join(" ");
    if !can_ask(ui) {
        return Err(Failure::usage(format!("nobody has said that {web} is your box"))
            .because(format!("its certificate says  {words}"))
            .hint("compare that with what `roost flash` or the box's screen shows, then add --fingerprint \"WORDS\""));
    }
    ui.info(format!(
        "The box at {web} calls itself {name}. Its certificate in words:\n\n    {words}\n\n\
         `roost flash` showed the words when it wrote the card, and a screen on the box shows them.\n\
         If they differ, somebody is between you and the box."
    ));
    match confirm("Are they the same?")? {
        true => Ok(()),
        false => Err(
            Failure::interrupted("you said no; nothing was sent to the box")
                .hint("find out what answers at that address; your router lists who is who"),
        ),
    }
}
