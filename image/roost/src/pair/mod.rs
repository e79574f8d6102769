//! `roost pair`: this computer and a box get to know each other.
//!
//! - [`trust`]: whether what answers is the box.
//! - [`ask`]: what has to be typed. [`laptops`]: `--list` and `--revoke`.
//!
//! The key is written down before the box is asked to take it: an answer that is lost on the way
//! leaves no box that knows a key which nobody has.

mod ask;
mod laptops;
mod trust;

use crate::ask::can_ask;
use crate::backup;
use crate::cli::PairArgs;
use crate::device::address::{Address, WebAddress};
use crate::device::cards::{Card, Cards};
use crate::device::error::DeviceError;
use crate::device::hello::{self, Hello, connect};
use crate::device::identity::{Identity, Seed, computer_name};
use crate::device::link::Link;
use crate::device::paired::{Boxes, Paired, pem};
use crate::device::stop::Stop;
use crate::device::tls::Expect;
use crate::device::{ANSWER_LIMIT, CONNECT_LIMIT};
use crate::error::Failure;
use crate::ui::Ui;
use roost_backup_repository::code::Code;
use roost_service::fingerprint::Fingerprint;
use roost_service::update::PORT;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde_json::{Value, json};

/// Answers of the box that are asked about again.
const WRONG_CODE: &str = "wrong_code";
const SECOND_NEEDED: &str = "second_needed";
const WRONG_PASSWORD: &str = "wrong_password";
const PASSWORD_REFUSED: &str = "password_refused";

/// `roost pair`.
pub fn run(args: &PairArgs, ui: &Ui) -> Result<(), Failure> {
    if args.list {
        return laptops::list(args, ui);
    }
    if let Some(name) = &args.revoke {
        return laptops::revoke(args, name, ui);
    }
    Pairing::begin(args, ui)?.pair()
}

/// A box whose certificate is the right one.
struct Pairing<'a> {
    args: &'a PairArgs,
    ui: &'a Ui,
    boxes: Boxes,
    cards: Cards,
    /// What `roost flash` has left of its card.
    card: Option<Card>,
    web: WebAddress,
    hello: Hello,
    certificate: CertificateDer<'static>,
    fingerprint: Fingerprint,
}

/// What was done, for scripts.
#[derive(Serialize)]
struct Done<'a> {
    name: &'a str,
    address: &'a str,
    fingerprint: String,
    fingerprint_words: [&'static str; 6],
    laptop: &'a str,
    file: std::path::PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_code: Option<&'a str>,
}

impl<'a> Pairing<'a> {
    /// Finds the box, and makes sure that it is the one.
    fn begin(args: &'a PairArgs, ui: &'a Ui) -> Result<Self, Failure> {
        let (boxes, cards) = (Boxes::of_user()?, Cards::of_user()?);
        let web = address(args, &cards)?;
        let look = || -> Result<_, DeviceError> {
            // Nothing is sent that anybody might not know.
            let mut link = connect(&web, Expect::Anybody)?;
            let certificate = link.certificate()?;
            Ok((hello::ask(&mut link, &web)?, certificate))
        };
        let (hello, certificate) = look().map_err(|e| web_failure(e, "cannot pair with", &web))?;
        let fingerprint = Fingerprint::of(&certificate);
        let trusted = trust::Known {
            boxes: &boxes.all()?,
            cards: &cards.all()?,
            said: args.fingerprint.as_deref(),
        };
        trusted.check(&web, &hello.name, fingerprint, ui)?;
        let card = cards
            .all()?
            .into_iter()
            .find(|card| card.shows(fingerprint));
        Ok(Self {
            args,
            ui,
            boxes,
            cards,
            card,
            web,
            hello,
            certificate,
            fingerprint,
        })
    }

    fn failure(&self, error: DeviceError) -> Failure {
        web_failure(error, "cannot pair with", &self.web)
    }

    /// Where its device API is.
    fn api(&self) -> Address {
        let port = match (self.args.api_port, &self.card) {
            (Some(port), _) => port,
            (None, Some(card)) if card.web.as_deref() == Some(&self.web.to_string()) => {
                card.api_port.unwrap_or(PORT)
            }
            (None, _) => self.web.api_port(),
        };
        self.web.0.with_port(port)
    }

    fn pair(self) -> Result<(), Failure> {
        let before = match self.boxes.with(self.fingerprint)? {
            Some(paired) => Some(paired),
            // The box takes the key on its card when it gets an owner, here or in a browser.
            None => self.of_card()?,
        };
        if let Some(before) = &before
            && let Some(holds) = self.holds(before)?
        {
            self.cards.forget(self.fingerprint)?;
            self.boxes.forget_former(&holds)?;
            return self.done(&holds, &Value::Null, !before.pending);
        }
        let laptop = computer_name(self.args.laptop.as_deref())?;
        let key = match before {
            // The box may have taken it just before the line was cut.
            Some(before) if before.pending => before.key,
            _ => Seed::make()?,
        };
        let record = Paired {
            name: self.hello.name.clone(),
            address: self.api().to_string(),
            certificate: pem(&self.certificate),
            laptop,
            key,
            pending: true,
            installed: None,
        };
        let identity = Identity::of(&record.key)?;
        let laptop = json!({ "name": record.laptop, "key": identity.public });
        let sent = match self.hello.paired {
            false => self.become_owner(&record, &laptop),
            true => self.join(&record, &laptop),
        };
        let answer = match sent {
            Ok(answer) => answer,
            // Refused, so there is nothing to remember.
            Err(refused @ DeviceError::Api(_)) => {
                self.boxes.forget(self.fingerprint)?;
                return Err(self.failure(refused));
            }
            Err(lost) => match self.holds(&record)? {
                Some(_) => Value::Null,
                None => return Err(self.failure(lost)),
            },
        };
        let record = Paired {
            pending: false,
            ..record
        };
        self.boxes.put(&record)?;
        self.cards.forget(self.fingerprint)?;
        self.boxes.forget_former(&record)?;
        self.done(&record, &answer, false)
    }

    /// What the card says of this computer.
    fn of_card(&self) -> Result<Option<Paired>, Failure> {
        let promised = self.card.as_ref().map(Card::promised).transpose()?;
        Ok(promised.flatten().map(|known| known.paired))
    }

    /// The pairing, if the box knows the key of `record` already.
    fn holds(&self, record: &Paired) -> Result<Option<Paired>, Failure> {
        let api = self.api();
        let expect = Expect::One(self.fingerprint, Some(record.identity()?));
        let ask = || -> Result<(), DeviceError> {
            let socket = api.connect(CONNECT_LIMIT)?;
            let mut link = Link::open(socket, expect, &Stop::default())?;
            link.request(
                &api.host_header(),
                "GET",
                "/api/v1/hello",
                None,
                ANSWER_LIMIT,
            )?;
            Ok(())
        };
        if ask().is_err() {
            return Ok(None);
        }
        let record = Paired {
            address: api.to_string(),
            name: self.hello.name.clone(),
            pending: false,
            ..record.clone()
        };
        self.boxes.put(&record)?;
        Ok(Some(record))
    }

    /// A new box: the code, and what its owner chooses.
    fn become_owner(&self, record: &Paired, laptop: &Value) -> Result<Value, DeviceError> {
        let typed = self.args.code.is_none() && self.card.is_none();
        let mut code = match (&self.args.code, &self.card) {
            (Some(code), _) => code.clone(),
            (None, Some(card)) => card.code.clone(),
            (None, None) => ask::code(self.ui)?,
        };
        let (domain, account) = match self.hello.needs_mailbox {
            true => ask::mailbox(self.args, self.ui)?,
            false => (None, None),
        };
        let mut password = ask::new_password(self.args, self.ui)?;
        loop {
            let body = json!({
                "code": code,
                "password": password.as_str(),
                "domain": domain,
                "account": account,
                "laptop": laptop,
            });
            match self.post(record, "/api/v1/pair", &body) {
                Err(DeviceError::Api(error)) if error.code == WRONG_CODE && typed => {
                    self.ui.warn(error.because.unwrap_or(error.what));
                    code = ask::code(self.ui)?;
                }
                Err(DeviceError::Api(error))
                    if error.code == PASSWORD_REFUSED
                        && self.args.password_file.is_none()
                        && can_ask(self.ui) =>
                {
                    self.ui.warn(error.because.unwrap_or(error.what));
                    password = ask::new_password(self.args, self.ui)?;
                }
                other => return other,
            }
        }
    }

    /// A box that has an owner: the owner's password.
    fn join(&self, record: &Paired, laptop: &Value) -> Result<Value, DeviceError> {
        if self.args.code.is_some() {
            return Err(Failure::new(format!("the code of {} is used up", self.hello.name))
                .because("the box has an owner already, and each code works once")
                .hint("if that is you, leave out --code: you are asked for the admin password. If nobody of your home has paired it, switch it off and write its card again: roost flash")
                .into());
        }
        if self.card.is_some() {
            self.ui.warn(format!(
                "{} has an owner already: the code of its card is used up",
                self.hello.name
            ));
        }
        let mut password = ask::password(self.args, self.ui)?;
        let mut second = self.args.second.clone();
        loop {
            let body = json!({
                "password": password.as_str(),
                "second": second,
                "laptop": laptop,
            });
            let asks = can_ask(self.ui);
            match self.post(record, "/api/v1/laptops", &body) {
                Err(DeviceError::Api(error))
                    if error.code == SECOND_NEEDED && second.is_none() && asks =>
                {
                    second = Some(ask::second()?);
                }
                Err(DeviceError::Api(error))
                    if error.code == WRONG_PASSWORD
                        && self.args.password_file.is_none()
                        && asks =>
                {
                    self.ui.warn(error.because.unwrap_or(error.what));
                    password = ask::password(self.args, self.ui)?;
                }
                other => return other,
            }
        }
    }

    fn post(&self, record: &Paired, path: &str, body: &Value) -> Result<Value, DeviceError> {
        self.boxes.put(record)?;
        let mut link = connect(&self.web, Expect::One(self.fingerprint, None))?;
        let host = self.web.0.host_header();
        link.request(&host, "POST", path, Some(body), ANSWER_LIMIT)
    }

    /// What opens the box's backups; `None` if it has none to give, or cannot be reached now: then
    /// `roost backup code` will show it.
    fn recovery_code(&self, record: &Paired) -> Option<Code> {
        let address: Address = record.address.parse().ok()?;
        let expect = Expect::One(self.fingerprint, record.identity().ok());
        let socket = address.connect(CONNECT_LIMIT).ok()?;
        let link = Link::open(socket, expect, &Stop::default()).ok()?;
        backup::code_over(link, &address.host_header())
    }

    fn done(&self, record: &Paired, answer: &Value, before: bool) -> Result<(), Failure> {
        let text = |key: &str| answer.get(key).and_then(Value::as_str);
        let (account, mail_password) = (text("account"), text("mail_password"));
        let mut shown = match before {
            true => format!(
                "Nothing to do: {} knows this computer already, as {:?}.\n",
                record.name, record.laptop
            ),
            false => format!(
                "{} knows this computer from now on, as {:?}.\n",
                record.name, record.laptop
            ),
        };
        if let (Some(account), Some(password)) = (account, mail_password) {
            shown += &format!(
                "\n  mail account   {account}\n  its password   {password}   (shown only now)\n"
            );
        }
        let code = match before {
            true => None,
            false => self.recovery_code(record),
        };
        if let Some(code) = &code {
            shown += &format!("\n{}\n", backup::page(code));
        }
        if !before {
            shown += "\nNext: roost status\n";
        }
        let done = Done {
            name: &record.name,
            address: &record.address,
            fingerprint: self.fingerprint.hex(),
            fingerprint_words: self.fingerprint.words(),
            laptop: &record.laptop,
            file: self.boxes.file(self.fingerprint),
            account,
            mail_password,
            recovery_code: code.as_ref().map(Code::as_str),
        };
        self.ui.result(shown, &done);
        Ok(())
    }
}

/// Where the box's pages are.
fn address(args: &PairArgs, cards: &Cards) -> Result<WebAddress, Failure> {
    if let Some(address) = &args.address {
        return Ok(address.clone());
    }
    let hint = "say where it is: roost pair ADDRESS. Your router lists it, and a screen on the box shows it";
    match cards.all()?.as_slice() {
        [card] => card
            .web()
            .parse()
            .map_err(|why: String| Failure::usage("cannot pair").because(why).hint(hint)),
        [] => Err(Failure::usage("nothing says where the box is")
            .because("no card was flashed on this computer whose box was not paired since")
            .hint(hint)),
        several => {
            let names: Vec<String> = several.iter().map(Card::web).collect();
            Err(
                Failure::usage("several cards were flashed on this computer")
                    .because(names.join("\n"))
                    .hint(format!("say which: roost pair {}", names[0])),
            )
        }
    }
}

/// As [`DeviceError::failure`], for the address that was typed.
fn web_failure(error: DeviceError, what: &str, web: &WebAddress) -> Failure {
    let again = "run the same command again";
    match error {
        DeviceError::Stranger { .. } => {
            Failure::new(format!("{what} {web}"))
                .because("it showed another certificate than a moment ago: somebody is between you and the box")
                .hint("connect both to another network, e.g. a cable between your router and each of them")
        }
        DeviceError::NoBox(why) => Failure::new(format!("{what} {web}"))
            .because(format!("what answers there is no Roost box: {why}"))
            .hint("check address and port; a box's pages are at port 443"),
        DeviceError::Cut(_) | DeviceError::Silent(_) => {
            Failure::new(format!("{what} {web}")).because(error).hint(again)
        }
        // The API's words are for this very case.
        DeviceError::Api(error) => {
            let failure = Failure::new(format!("{what} {web}"));
            let cause = Failure::new(error.what);
            let failure = match error.because {
                Some(because) => failure.because(cause.because(because)),
                None => failure.because(cause),
            };
            match error.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        DeviceError::Connect(error) => {
            let hint = error.hint().replace("roost status", "roost pair");
            Failure::new(format!("{what} {web}")).because(error).hint(hint)
        }
        error => error.failure(what, &web.0),
    }
}
