//! `roost init`: writes the commented `roost.toml` of a new box, and makes the owner's key.

use crate::ask::{can_ask, no_answer};
use crate::cli::InitArgs;
use crate::config::hash::PasswordHash;
use crate::config::names::{AccountName, BoxName, Domain, printable_text};
use crate::config::page;
use crate::config::read::Reason;
use crate::config::{Config, owner};
use crate::error::Failure;
use crate::keys::{self, Kept, UPDATE_KEY};
use crate::password::{self, Password};
use crate::ui::Ui;
use serde::Serialize;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Name of the file.
const FILE: &str = "roost.toml";

/// What the user has to say about a box.
struct Answers {
    name: BoxName,
    /// None: whoever pairs with the box chooses it.
    mailbox: Option<Mailbox>,
}

/// Domain and first account.
struct Mailbox {
    domain: Domain,
    account: AccountName,
    display_name: Option<String>,
    password: Password,
}

/// The owner's key, and where it is.
struct Keys {
    folder: PathBuf,
    update: Kept,
}

/// Writes the file.
pub fn run(args: &InitArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Written<'a> {
        file: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<&'a str>,
        keys: ShownKeys,
    }
    #[derive(Serialize)]
    struct ShownKeys {
        folder: PathBuf,
        update: String,
        made: Vec<&'static str>,
    }
    let path = match args.dir.as_path() {
        dir if dir == Path::new(".") => PathBuf::from(FILE),
        dir => dir.join(FILE),
    };
    // Asked before the questions are; the write below is what makes sure.
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(exists(&path));
    }
    let answers = collect(args, ui)?;
    let mailbox = answers.mailbox.as_ref();
    let hash = mailbox.map(|mailbox| mailbox.password.hash()).transpose()?;
    let owner = owner(mailbox.map(|mailbox| &mailbox.domain), &answers.name);
    let keys = keep_keys(&owner, ui)?;
    let text = render(&answers, hash.as_ref().map(PasswordHash::as_str), &keys);
    if let Err(problems) = Config::parse(FILE, text.as_bytes(), &args.dir) {
        return Err(Failure::new(
            "roost init made a file that roost refuses: a fault of roost itself",
        )
        .problems(problems));
    }
    write(&args.dir, &path, &text, args.force)?;

    let address = mailbox.map(|m| format!("{}@{}", m.account.as_str(), m.domain));
    let password = mailbox.and_then(|mailbox| mailbox.password.to_show());
    let mut shown = format!("Wrote {}\n", path.display());
    shown += &match &address {
        Some(address) => format!("  address   {address}\n"),
        None => "  address   chosen in the browser, when the box is paired\n".to_owned(),
    };
    if let Some(password) = password {
        shown += &format!("  password  {password}   (shown only now; the file has but its hash)\n");
    }
    shown += &format!("  key       {}\n", keys.folder.join(UPDATE_KEY).display());
    shown += match keys.update.new {
        true => "            signs updates, made now: keep a copy, the box believes no other\n",
        false => "            signs updates, there already: used as it is\n",
    };
    let made = match keys.update.new {
        true => vec![UPDATE_KEY],
        false => vec![],
    };
    shown += &match args.dir.as_path() {
        dir if dir == Path::new(".") => "Next: sudo $(which roost) flash\n".to_owned(),
        dir => format!("Next: cd {} && sudo $(which roost) flash\n", dir.display()),
    };
    ui.result(
        shown,
        &Written {
            file: path.display().to_string(),
            address: address.as_deref(),
            password,
            keys: ShownKeys {
                update: keys.update.public.to_string(),
                folder: keys.folder,
                made,
            },
        },
    );
    Ok(())
}

fn keep_keys(owner: &str, ui: &Ui) -> Result<Keys, Failure> {
    let folder = keys::folder(owner)?;
    Ok(Keys {
        update: keys::keep(&folder, owner, ui)?,
        folder,
    })
}

/// Takes what the options say and asks for the rest.
fn collect(args: &InitArgs, ui: &Ui) -> Result<Answers, Failure> {
    let domain = args
        .domain
        .as_deref()
        .map(Domain::parse)
        .transpose()
        .map_err(Failure::of_option("--domain"))?;
    let account = args
        .account
        .as_deref()
        .map(AccountName::parse)
        .transpose()
        .map_err(Failure::of_option("--account"))?;
    let name = args
        .name
        .as_deref()
        .map(BoxName::parse)
        .transpose()
        .map_err(Failure::of_option("--name"))?;
    let display_name = args
        .display_name
        .as_deref()
        .map(printable_text)
        .transpose()
        .map_err(Failure::of_option("--display-name"))?;

    let source = &args.password;
    let wants_mailbox = domain.is_some()
        || account.is_some()
        || display_name.is_some()
        || source.generate_password
        || source.password_file.is_some();
    let missing: Vec<&str> = [
        ("--domain", domain.is_none()),
        ("--account", account.is_none()),
    ]
    .iter()
    .filter_map(|(option, missing)| missing.then_some(*option))
    .collect();
    // Someone who named the box's domain and account wants the defaults for the rest.
    let asking = !missing.is_empty();
    if !wants_mailbox && !can_ask(ui) {
        let name = name.unwrap_or_else(default_name);
        return Ok(Answers {
            name,
            mailbox: None,
        });
    }
    if asking && !can_ask(ui) {
        return Err(Failure::usage(format!(
            "{} not given, and there is no terminal to ask",
            missing.join(" and ")
        ))
        .hint("e.g.  roost init --domain example.org --account alice --generate-password; or none of them, and choose in the browser"));
    }
    let domain = match domain {
        Some(domain) => Some(domain),
        None if wants_mailbox => Some(question(
            "Your mail domain, e.g. example.org",
            None,
            Domain::parse,
        )?),
        None => question(
            "Your mail domain, e.g. example.org; or nothing, and choose it in the browser",
            Some(String::new()),
            |text| match text {
                "" => Ok(None),
                text => Domain::parse(text).map(Some),
            },
        )?,
    };
    let Some(domain) = domain else {
        return Ok(Answers {
            name: box_name(name, asking)?,
            mailbox: None,
        });
    };
    let account = match account {
        Some(account) => account,
        None => question(
            "Name of the first account (NAME@domain)",
            login_name(),
            AccountName::parse,
        )?,
    };
    let display_name = match display_name {
        None if asking => {
            let own = account.as_str().to_owned();
            Some(question(
                "That person's name as others see it",
                Some(own),
                printable_text,
            )?)
        }
        given => given,
    };
    let name = box_name(name, asking)?;
    let password = password::obtain(source, ui)?;
    Ok(Answers {
        name,
        mailbox: Some(Mailbox {
            domain,
            account,
            display_name,
            password,
        }),
    })
}

/// The name that was given, or the one that is asked for.
fn box_name(given: Option<BoxName>, asking: bool) -> Result<BoxName, Failure> {
    match given {
        Some(name) => Ok(name),
        None if asking => question(
            "Name of the box on your network",
            Some("roost".to_owned()),
            BoxName::parse,
        ),
        None => Ok(default_name()),
    }
}

fn default_name() -> BoxName {
    BoxName::parse("roost").expect("the default is a good name")
}

/// Asks until the answer is good.
fn question<T>(
    prompt: &str,
    default: Option<String>,
    parse: impl Fn(&str) -> Result<T, Reason>,
) -> Result<T, Failure> {
    // A line that the terminal breaks is not cleared when the question is asked again.
    let explain = |reason: Reason| match reason.hint {
        Some(hint) if reason.message.len() + hint.len() < 70 => {
            format!("{}; {hint}", reason.message)
        }
        _ => reason.message,
    };
    let mut input = dialoguer::Input::<String>::new()
        .with_prompt(prompt)
        .validate_with(|text: &String| parse(text.trim()).map(drop).map_err(explain));
    if let Some(default) = default {
        input = input.show_default(!default.is_empty()).default(default);
    }
    let answer = input.interact_text().map_err(no_answer)?;
    parse(answer.trim()).map_err(|reason| Failure::usage(explain(reason)))
}

/// The name of whoever runs this, if it can be an account's.
fn login_name() -> Option<String> {
    std::env::var("USER")
        .ok()
        .filter(|name| AccountName::parse(name).is_ok())
}

fn render(answers: &Answers, hash: Option<&str>, keys: &Keys) -> String {
    let list = |kept: &Kept| format!("[{}]", page::quoted(&kept.public.to_string()));
    let mut values = vec![
        ("box", "name", page::quoted(answers.name.as_str())),
        ("update", "keys", list(&keys.update)),
    ];
    if let (Some(mailbox), Some(hash)) = (&answers.mailbox, hash) {
        values.push(("box", "domain", page::quoted(mailbox.domain.as_str())));
        values.push(("account", "name", page::quoted(mailbox.account.as_str())));
        values.push(("account", "password_hash", page::quoted(hash)));
    }
    let mailbox = answers.mailbox.as_ref();
    if let Some(display_name) = mailbox.and_then(|mailbox| mailbox.display_name.as_ref()) {
        values.push(("account", "display_name", page::quoted(display_name)));
    }
    page::template(&values)
}

fn exists(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} exists already; it was left as it is",
        path.display()
    ))
    .hint("--force replaces it")
}

/// Writes `text` to `path` whole or not at all.
fn write(dir: &Path, path: &Path, text: &str, replace: bool) -> Result<(), Failure> {
    let cannot =
        |e: std::io::Error| Failure::new(format!("cannot write {}", path.display())).because(e);
    std::fs::create_dir_all(dir).map_err(cannot)?;
    let mut file = tempfile::Builder::new()
        .prefix(".roost-")
        // Others may read it: it holds a hash made to withstand guessing. The umask still applies.
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir)
        .map_err(cannot)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(cannot)?;
    if replace {
        file.persist(path).map_err(|e| cannot(e.error))?;
    } else {
        file.persist_noclobber(path)
            .map_err(|e| match e.error.kind() {
                std::io::ErrorKind::AlreadyExists => exists(path),
                _ => cannot(e.error),
            })?;
    }
    Ok(())
}
