//! `roost pair --list` and `--revoke`: which computers a box knows.

use crate::cli::PairArgs;
use crate::device::Device;
use crate::device::address::WEB_PORT;
use crate::device::error::DeviceError;
use crate::device::stop::Stop;
use crate::device::words::plain;
use crate::error::Failure;
use crate::ui::Ui;
use crate::ui::table::{Align, Table};
use roost_service::update::PORT;
use serde::{Deserialize, Serialize};

/// A computer that the box knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Laptop {
    name: String,
    /// Its public key in hexadecimal digits.
    key: String,
    /// When it was paired, in words.
    #[serde(default)]
    paired: Option<String>,
    /// When it was here last, in words.
    #[serde(default)]
    seen: Option<String>,
    /// Whether it is the one that asks.
    #[serde(default)]
    this: bool,
}

#[derive(Deserialize)]
struct Laptops {
    laptops: Vec<Laptop>,
}

fn device<'a>(args: &PairArgs, ui: &'a Ui) -> Result<Device<'a>, Failure> {
    // Here the address is the one of the device API, as for `roost status`.
    let argument = args.address.as_ref().map(|web| match web.0.port() {
        WEB_PORT => web.0.with_port(PORT),
        _ => web.0.clone(),
    });
    Device::of(&args.which, argument.as_ref(), Stop::default(), ui)
}

fn get(device: &mut Device<'_>) -> Result<Vec<Laptop>, DeviceError> {
    let answer = device.api("GET", "/api/v1/laptops", None)?;
    let laptops: Laptops =
        serde_json::from_value(answer).map_err(|e| DeviceError::NotUnderstood(e.to_string()))?;
    Ok(laptops.laptops)
}

/// `roost pair --list`.
pub fn list(args: &PairArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Listed {
        laptops: Vec<Laptop>,
    }
    let mut device = device(args, ui)?;
    let laptops =
        get(&mut device).map_err(|e| device.failure("cannot list the computers of", e))?;
    let mut table = Table::new([
        ("computer", Align::Left),
        ("key", Align::Left),
        ("paired", Align::Left),
        ("last here", Align::Left),
        ("", Align::Left),
    ]);
    for laptop in &laptops {
        let when = |time: &Option<String>| plain(time.as_deref().unwrap_or("–"));
        table.row([
            plain(&laptop.name),
            plain(laptop.key.get(..8).unwrap_or(&laptop.key)),
            when(&laptop.paired),
            when(&laptop.seen),
            if laptop.this { "this one" } else { "" }.to_owned(),
        ]);
    }
    ui.result(table.render(), &Listed { laptops });
    Ok(())
}

/// `roost pair --revoke`.
pub fn revoke(args: &PairArgs, which: &str, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Revoked {
        revoked: Laptop,
    }
    let mut device = device(args, ui)?;
    let cannot = "cannot revoke a computer at";
    let laptops = get(&mut device).map_err(|e| device.failure(cannot, e))?;
    let laptop = find(&laptops, which)?.clone();
    let question = match laptop.this {
        true => format!(
            "Revoke this computer? {} takes nothing from it from then on",
            device.address
        ),
        false => format!("Revoke {:?} at {}?", laptop.name, device.address),
    };
    device.confirm(&question, args.yes, "revoking")?;
    device
        .api("DELETE", &format!("/api/v1/laptops/{}", laptop.key), None)
        .map_err(|e| device.failure(cannot, e))?;
    if laptop.this {
        device.forget()?;
    }
    let text = format!(
        "{} takes nothing from {:?} any more; its open connections were cut.",
        device.address,
        plain(&laptop.name)
    );
    ui.result(text, &Revoked { revoked: laptop });
    Ok(())
}

/// The one with this name, or whose key begins so.
fn find<'a>(laptops: &'a [Laptop], which: &str) -> Result<&'a Laptop, Failure> {
    let named: Vec<&Laptop> = laptops.iter().filter(|l| l.name == which).collect();
    // Fewer digits are too likely a name.
    let is_key = which.len() >= 8 && which.bytes().all(|b| b.is_ascii_hexdigit());
    let found = match (named.as_slice(), is_key) {
        ([], true) => {
            let which = which.to_lowercase();
            laptops
                .iter()
                .filter(|l| l.key.starts_with(&which))
                .collect()
        }
        _ => named,
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let names: Vec<String> = laptops.iter().map(|l| plain(&l.name)).collect();
            Err(
                Failure::usage(format!("the box knows no computer {which:?}"))
                    .hint(format!("it knows {}", names.join(", "))),
            )
        }
        several => {
            let keys: Vec<&str> = several.iter().filter_map(|l| l.key.get(..8)).collect();
            Err(Failure::usage(format!(
                "the box knows {} computers called {which:?}",
                several.len()
            ))
            .hint(format!("say which by its key: {}", keys.join(" or "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_computer_is_found_by_its_name_or_its_key() {
        let laptop = |name: &str, key: &str| Laptop {
            name: name.into(),
            key: key.repeat(32),
            paired: None,
            seen: None,
            this: false,
        };
        let all = [
            laptop("desk", "a1"),
            laptop("desk", "b2"),
            laptop("couch", "c3"),
        ];
        assert_eq!(find(&all, "couch").unwrap().key, "c3".repeat(32));
        assert_eq!(find(&all, "B2b2b2b2").unwrap().key, "b2".repeat(32));
        let told = |which: &str| {
            let text = find(&all, which).unwrap_err().render();
            anstream::adapter::strip_str(&text).to_string()
        };
        insta::assert_snapshot!(told("desk") + &told("sofa") + &told("d4d4d4d4"));
    }
}
