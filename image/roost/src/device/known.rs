//! The boxes that may be meant: those that this computer is paired with, and those whose cards were
//! flashed here.
//!
//! `roost flash` writes this computer's key onto the card, and the box takes it when it gets its owner,
//! whoever that is and from wherever. So a box may know this computer before this computer has heard of
//! that:
//!
//! | Standing | Means | Next |
//! |---|---|---|
//! | paired | the box has answered to the key | |
//! | promised | only its card was flashed here | its pages are asked whether it has an owner: without one the key opens nothing |
//! | owned | it has an owner, and has not answered to the key yet | an answer makes it paired, and that is kept |
//!
//! It is known by its certificate in each of them.

use super::address::{Address, WebAddress};
use super::cards::Cards;
use super::paired::{Boxes, Paired};
use crate::error::Failure;

/// A box that may be meant.
#[derive(Debug, Clone)]
pub struct Known {
    /// Where it is, by what it is known, and this computer's key for it.
    pub paired: Paired,
    /// How far the two know each other.
    pub standing: Standing,
}

/// How far box and computer know each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The box has answered to this computer's key.
    Paired,
    /// Its card was flashed here.
    Promised(Promise),
    /// The same, and it has an owner.
    Owned,
}

/// What is known of a box whose card was flashed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Where its pages are.
    pub web: WebAddress,
    /// Its pairing code, normalised.
    pub code: String,
}

/// All of them.
pub struct All {
    /// Those that this computer is paired with, by their names.
    pub paired: Vec<Known>,
    /// Those whose cards were flashed here and which it is not paired with, the newest card first.
    pub promised: Vec<Known>,
}

impl All {
    /// What this computer keeps.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if something of it cannot be read.
    pub fn load(boxes: &Boxes, cards: &Cards) -> Result<Self, Failure> {
        let boxes = boxes.all()?;
        let mut promised = Vec::new();
        for card in cards.all()? {
            let Some(known) = card.promised()? else {
                continue;
            };
            let certificate = &known.paired.certificate;
            if boxes
                .iter()
                .all(|paired| paired.certificate != *certificate)
            {
                promised.push(known);
            }
        }
        let standing = Standing::Paired;
        let known = |paired| Known {
            paired,
            standing: standing.clone(),
        };
        Ok(Self {
            paired: boxes.into_iter().map(known).collect(),
            promised,
        })
    }

    /// Those that may answer, the one that is meant first, and whether it is clear that it is that one.
    ///
    /// A card that was written anew is the box of that name from then on, and it is known which
    /// certificate it shows.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if nothing says which is meant, or if there is none.
    pub fn candidates(mut self, typed: Option<&Address>) -> Result<(Vec<Known>, bool), Failure> {
        let Some(typed) = typed else {
            return match (self.paired.len(), self.promised.as_slice()) {
                (0, []) => Err(none()),
                (1, _) => Ok((self.with_its_cards(0), true)),
                (0, [first, rest @ ..])
                    if rest
                        .iter()
                        .all(|other| other.paired.address == first.paired.address) =>
                {
                    let clear = rest.is_empty();
                    Ok((self.promised, clear))
                }
                (0, several) => Err(which(
                    "several cards were flashed on this computer, and it is paired with no box",
                    several,
                )),
                (_, _) => Err(which(
                    "this laptop is paired with several boxes",
                    &self.paired,
                )),
            };
        };
        if let Some(at) = (self.paired.iter()).position(|known| known.paired.is_called(typed)) {
            return Ok((self.with_its_cards(at), true));
        }
        let called = |known: &Known| known.paired.is_called(typed);
        if self.promised.iter().any(called) {
            self.promised.retain(called);
            let clear = self.promised.len() == 1;
            return Ok((self.promised, clear));
        }
        // Addresses wander: which of them is there now, its certificate says.
        let mut all = self.paired;
        all.append(&mut self.promised);
        match all.is_empty() {
            true => Err(none()),
            false => Ok((all, false)),
        }
    }

    /// A box that this computer is paired with, and cards that were flashed for one of that name since.
    fn with_its_cards(mut self, at: usize) -> Vec<Known> {
        let known = self.paired.swap_remove(at);
        let same = |other: &Known| other.paired.name == known.paired.name;
        self.promised.retain(same);
        self.promised.insert(0, known);
        self.promised
    }
}

fn none() -> Failure {
    Failure::usage("this laptop is paired with no box")
        .hint("pair with it first: roost pair ADDRESS")
}

fn which(what: &str, several: &[Known]) -> Failure {
    let list: Vec<String> = several
        .iter()
        .map(|known| format!("{} at {}", known.paired.name, known.paired.address))
        .collect();
    Failure::usage(what)
        .because(list.join("\n"))
        .hint(format!("say which: --box {}", several[0].paired.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::identity::Seed;

    fn known(name: &str, address: &str, standing: Standing) -> Known {
        let paired = Paired {
            name: name.into(),
            address: address.into(),
            certificate: format!("{name} {address}"),
            laptop: "desk".into(),
            key: Seed::make().unwrap(),
            pending: standing != Standing::Paired,
            installed: None,
        };
        Known { paired, standing }
    }

    fn paired(name: &str, address: &str) -> Known {
        known(name, address, Standing::Paired)
    }

    fn promised(name: &str, address: &str) -> Known {
        let promise = Promise {
            web: address.parse().unwrap(),
            code: "7QXM4KPB".into(),
        };
        known(name, address, Standing::Promised(promise))
    }

    fn told(paired: &[Known], promised: &[Known], typed: &str) -> String {
        let all = All {
            paired: paired.to_vec(),
            promised: promised.to_vec(),
        };
        let typed: Option<Address> = (!typed.is_empty()).then(|| typed.parse().unwrap());
        match all.candidates(typed.as_ref()) {
            Ok((candidates, clear)) => {
                let one = |known: &Known| {
                    let new = known.standing != Standing::Paired;
                    format!("{}{}", known.paired.address, if new { "*" } else { "" })
                };
                let list: Vec<String> = candidates.iter().map(one).collect();
                format!("{}{}", list.join(" "), if clear { "" } else { " ?" })
            }
            Err(failure) => {
                let text = anstream::adapter::strip_str(&failure.render()).to_string();
                text.lines().next().unwrap().to_owned()
            }
        }
    }

    #[test]
    fn which_box_is_meant() {
        let (attic, cellar) = (paired("attic", "attic.local"), paired("cellar", "10.0.0.2"));
        let card = promised("attic", "attic.local");
        let again = promised("attic", "attic.local");
        let other = promised("shed", "10.0.0.3");
        let one = std::slice::from_ref;
        // Nothing typed.
        assert_eq!(told(one(&attic), &[], ""), "attic.local");
        assert_eq!(told(&[], one(&card), ""), "attic.local*");
        // A card was flashed twice; and once more for a box that is known.
        let both = [card.clone(), again];
        assert_eq!(told(&[], &both, ""), "attic.local* attic.local* ?");
        assert_eq!(
            told(one(&attic), one(&card), ""),
            "attic.local attic.local*"
        );
        // A card for another box does not change which is meant.
        assert_eq!(told(one(&attic), one(&other), ""), "attic.local");
        assert_eq!(
            told(&[], &[], ""),
            "error: this laptop is paired with no box"
        );
        let two = [attic.clone(), cellar.clone()];
        let several = "error: this laptop is paired with several boxes";
        assert_eq!(told(&two, one(&card), ""), several);
        let cards = [card.clone(), other.clone()];
        let several =
            "error: several cards were flashed on this computer, and it is paired with no box";
        assert_eq!(told(&[], &cards, ""), several);
        // A name.
        assert_eq!(told(&two, &cards, "attic"), "attic.local attic.local*");
        assert_eq!(told(&two, &cards, "cellar.local"), "10.0.0.2");
        assert_eq!(told(&two, &cards, "shed"), "10.0.0.3*");
        // An address.
        let all = "attic.local 10.0.0.2 attic.local* 10.0.0.3* ?";
        assert_eq!(told(&two, &cards, "192.168.1.9"), all);
        assert_eq!(
            told(&[], &[], "192.168.1.9"),
            "error: this laptop is paired with no box"
        );
    }
}
