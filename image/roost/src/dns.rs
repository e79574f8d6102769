//! `roost dns`: the zones that the box answers for.

mod check;
mod dmarc;
pub mod show;

use crate::cli::{
    BoxArgs, DnsArgs, DnsCommand, DnsExportArgs, DnsImportArgs, DnsOwnArgs, DnsReplaceKeyArgs,
    DnsShowArgs, DnsZoneArgs,
};
use crate::device::Device;
use crate::device::error::DeviceError;
use crate::device::stop::Stop;
use crate::device::words::plain;
use crate::error::Failure;
use crate::ui::{Mode, Ui};
use roost_service::dns::{Delegation, LeftOut, Record, Zone};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// How the box says that its name server stands.
#[derive(Debug, Deserialize)]
struct Status {
    zones: Vec<Watched>,
}

/// A zone, and what the box itself sees of its answers.
#[derive(Debug, Serialize, Deserialize)]
struct Watched {
    #[serde(flatten)]
    zone: Zone,
    /// What is wrong with the answers of its name server, and what to do.
    #[serde(default)]
    alarm: Option<String>,
}

/// Records, as the box gives them.
#[derive(Debug, Deserialize)]
struct Records {
    records: Vec<Record>,
}

/// Lines of a zone file, as the box gives and takes them.
#[derive(Debug, Serialize, Deserialize)]
struct ZoneText {
    text: String,
}

/// What of a zone file can be kept.
#[derive(Debug, Serialize, Deserialize)]
struct Import {
    keep: String,
    left_out: Vec<LeftOut>,
}

/// `roost dns`.
pub fn run(args: &DnsArgs, ui: &Ui) -> Result<(), Failure> {
    match &args.command {
        DnsCommand::Show(args) => show(args, ui),
        DnsCommand::Export(args) => export(args, ui),
        DnsCommand::Ds(args) => ds(args, ui),
        DnsCommand::Own(args) => own(args, ui),
        DnsCommand::Import(args) => import(args, ui),
        DnsCommand::ReplaceKey(args) => replace_key(args, ui),
        DnsCommand::Check(args) => check::run(args, ui),
        DnsCommand::Dmarc(args) => dmarc::run(args, ui),
    }
}

/// A box that answers, and one of its zones.
struct Place<'a> {
    device: Device<'a>,
    zone: Zone,
    alarm: Option<String>,
}

impl<'a> Place<'a> {
    fn of(args: &DnsZoneArgs, ui: &'a Ui) -> Result<Self, Failure> {
        let mut device = open(&args.which, ui)?;
        let cannot = "cannot ask for the zones of";
        let status: Status = get(&mut device, "dns", cannot)?;
        let wanted = args.domain.as_deref().map(str::to_ascii_lowercase);
        let zones = status.zones.iter();
        let names: Vec<String> = zones.map(|of| of.zone.domain.clone()).collect();
        let mut zones = status.zones.into_iter();
        let found = match &wanted {
            Some(domain) => zones.find(|of| of.zone.domain == *domain),
            None => zones.next(),
        };
        let Watched { zone, alarm } = found.ok_or_else(|| match wanted {
            Some(domain) => Failure::usage(format!("{} has no zone of {domain}", device.address))
                .hint(match names.as_slice() {
                    [] => "choose a domain first: `roost pair`".to_owned(),
                    names => format!("it has: {}", names.join(", ")),
                }),
            None => Failure::new(format!("{} has no zone yet", device.address))
                .because("no domain was chosen, or its services are still starting")
                .hint("`roost status` shows how it stands"),
        })?;
        Ok(Self {
            device,
            zone,
            alarm,
        })
    }

    fn path(&self, what: &str) -> String {
        format!("dns/{}/{what}", self.zone.domain)
    }

    fn get<T: DeserializeOwned>(&mut self, what: &str, cannot: &str) -> Result<T, Failure> {
        let path = self.path(what);
        get(&mut self.device, &path, cannot)
    }

    fn send(&mut self, how: (&str, &str), body: Value, cannot: &str) -> Result<Value, Failure> {
        let (method, what) = how;
        let path = format!("/api/v1/{}", self.path(what));
        self.device
            .api(method, &path, Some(&body))
            .map_err(|e| self.device.failure(cannot, e))
    }
}

fn open<'a>(which: &BoxArgs, ui: &'a Ui) -> Result<Device<'a>, Failure> {
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    Device::of(which, None, stop, ui)
}

fn get<T: DeserializeOwned>(
    device: &mut Device<'_>,
    path: &str,
    cannot: &str,
) -> Result<T, Failure> {
    let answer = device
        .api("GET", &format!("/api/v1/{path}"), None)
        .map_err(|e| device.failure(cannot, e))?;
    understood(device, answer, cannot)
}

fn understood<T: DeserializeOwned>(
    device: &Device<'_>,
    answer: Value,
    cannot: &str,
) -> Result<T, Failure> {
    serde_json::from_value(answer)
        .map_err(|e| device.failure(cannot, DeviceError::NotUnderstood(e.to_string())))
}

/// `roost dns show`.
fn show(args: &DnsShowArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        zone: &'a Watched,
        records: &'a [Record],
    }
    let mut place = Place::of(&args.zone, ui)?;
    let Records { mut records } = place.get("records", "cannot ask for the records of")?;
    if let Some(kind) = &args.kind {
        records.retain(|record| record.kind.eq_ignore_ascii_case(kind));
    }
    let Place { zone, alarm, .. } = place;
    if let Some(alarm) = &alarm {
        ui.warn(plain(alarm));
    }
    let text = show::told(&zone, &records, now());
    let result = Result {
        zone: &Watched { zone, alarm },
        records: &records,
    };
    ui.result(text, &result);
    Ok(())
}

/// Seconds since 1970 by this machine's clock.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// `roost dns export`.
fn export(args: &DnsExportArgs, ui: &Ui) -> Result<(), Failure> {
    let mut place = Place::of(&args.zone, ui)?;
    let what = format!("zone?signed={}", args.signed);
    let zone: ZoneText = place.get(&what, "cannot take the zone from")?;
    ui.result(&zone.text, &zone);
    Ok(())
}

/// What the registrar of a domain has to be given, and the mail server's name.
#[derive(Debug, Clone)]
pub struct ToDelegate {
    /// The zone's domain.
    pub domain: String,
    /// Where its MX record leads, if it has one.
    pub mail_host: Option<String>,
    /// Addresses of its name servers.
    pub name_servers: Vec<Record>,
    /// DS records, as in a zone file.
    pub ds: Vec<String>,
}

/// Asks the box what is to be delegated: the zone with `host` in it, or else its first.
///
/// # Errors
///
/// A [`Failure`] if the box does not say, or has no zone yet.
pub fn to_delegate(device: &mut Device<'_>, host: Option<&str>) -> Result<ToDelegate, Failure> {
    let Status { zones } = get(device, "dns", "cannot ask for the zones of")?;
    let mut zones = zones.into_iter().map(|of| of.zone);
    let is_in = |zone: &Zone| {
        host.and_then(|host| host.strip_suffix(zone.domain.as_str()))
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let first = match host {
        Some(_) => zones.find(is_in),
        None => zones.next(),
    };
    let zone = first.ok_or_else(|| {
        Failure::new(format!("{} has no zone of the domain yet", device.address))
            .hint("`roost dns show` shows what it has")
    })?;
    let path = format!("dns/{}/records", zone.domain);
    let Records { records } = get(device, &path, "cannot ask for the records of")?;
    let mail_host = records
        .iter()
        .find(|record| record.kind == "MX" && record.name == zone.domain)
        .and_then(|record| record.value.split_whitespace().nth(1))
        .map(|host| host.trim_end_matches('.').to_owned());
    Ok(ToDelegate {
        mail_host,
        name_servers: name_servers(&zone, &records).into_iter().cloned().collect(),
        domain: zone.domain,
        ds: zone.ds,
    })
}

/// The addresses of the zone's name servers.
fn name_servers<'r>(zone: &Zone, records: &'r [Record]) -> Vec<&'r Record> {
    let servers: Vec<&str> = records
        .iter()
        .filter(|record| record.kind == "NS" && record.name == zone.domain)
        .map(|record| record.value.trim_end_matches('.'))
        .collect();
    records
        .iter()
        .filter(|record| matches!(record.kind.as_str(), "A" | "AAAA"))
        .filter(|record| servers.contains(&record.name.as_str()))
        .collect()
}

/// `roost dns ds`.
fn ds(args: &DnsZoneArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        name_servers: Vec<&'a Record>,
        ds: &'a [String],
        delegation: Option<&'a Delegation>,
    }
    let mut place = Place::of(args, ui)?;
    let Records { records } = place.get("records", "cannot ask for the records of")?;
    let zone = &place.zone;
    let name_servers = name_servers(zone, &records);
    let text = show::for_registrar(zone, &name_servers);
    let result = Result {
        name_servers,
        ds: &zone.ds,
        delegation: zone.delegation.as_ref(),
    };
    ui.result(text, &result);
    Ok(())
}

/// `roost dns own`.
fn own(args: &DnsOwnArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Done {
        records: usize,
    }
    let text = args.set.as_deref().map(read).transpose()?;
    let mut place = Place::of(&args.zone, ui)?;
    let Some(text) = text else {
        let own: ZoneText = place.get("own", "cannot ask for your records of")?;
        ui.result(&own.text, &own);
        return Ok(());
    };
    let records = count(&text);
    place.send(
        ("PUT", "own"),
        json!({ "text": text }),
        "cannot set your records of",
    )?;
    ui.result(
        format!("{} has {records} of your own records.\n", place.zone.domain),
        &Done { records },
    );
    Ok(())
}

/// `roost dns import`.
fn import(args: &DnsImportArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Done<'a> {
        kept: usize,
        left_out: &'a [LeftOut],
        dry_run: bool,
    }
    let text = read(&args.file)?;
    let mut place = Place::of(&args.zone, ui)?;
    let cannot = "cannot take the zone file into";
    let answer = place.send(("POST", "import"), json!({ "text": text }), cannot)?;
    let import: Import = understood(&place.device, answer, cannot)?;
    let kept = count(&import.keep);
    let done = Done {
        kept,
        left_out: &import.left_out,
        dry_run: args.dry_run,
    };
    if args.dry_run || kept == 0 {
        ui.result(divided(&import), &done);
        return Ok(());
    }
    if ui.mode() != Mode::Json {
        ui.info(divided(&import));
    }
    let question = format!("Keep {kept} records in {}?", place.zone.domain);
    place
        .device
        .confirm(&question, args.yes, "keeping records")?;
    let before: ZoneText = place.get("own", "cannot ask for your records of")?;
    let mut own = before.text;
    if !own.is_empty() && !own.ends_with('\n') {
        own.push('\n');
    }
    own += &import.keep;
    place.send(
        ("PUT", "own"),
        json!({ "text": own }),
        "cannot set your records of",
    )?;
    ui.result(
        format!("{} has {kept} more records.\n", place.zone.domain),
        &done,
    );
    Ok(())
}

/// What is kept and what is not.
fn divided(import: &Import) -> String {
    let mut text = String::new();
    for (title, lines) in [
        (
            "Kept:",
            import.keep.lines().map(plain).collect::<Vec<String>>(),
        ),
        (
            "Left out:",
            (import.left_out.iter())
                .map(|left| format!("{}\n      {}", plain(&left.record), plain(&left.why)))
                .collect(),
        ),
    ] {
        if !lines.is_empty() {
            writeln!(text, "  {title}").expect("writing to a string");
        }
        for line in lines {
            writeln!(text, "    {line}").expect("writing to a string");
        }
    }
    text
}

/// `roost dns replace-key`.
fn replace_key(args: &DnsReplaceKeyArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Done {}
    let mut place = Place::of(&args.zone, ui)?;
    let question = format!(
        "Replace the key of {} that the registrar knows?",
        place.zone.domain
    );
    place
        .device
        .confirm(&question, args.yes, "replacing a key")?;
    let path = format!("/api/v1/{}", place.path("replace-key"));
    place
        .device
        .api("POST", &path, None)
        .map_err(|e| place.device.failure("cannot replace a key of", e))?;
    ui.result(
        "It has begun. `roost dns show` says when the registrar can be given the new DS record.\n",
        &Done {},
    );
    Ok(())
}

/// Lines that are records.
fn count(text: &str) -> usize {
    let record = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with(';');
    text.lines().filter(record).count()
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|e| Failure::usage(format!("cannot read {}", path.display())).because(e))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_is_kept_and_what_is_not_is_shown() {
        let import = Import {
            keep: "www 3600 IN A 192.0.2.1\n".into(),
            left_out: vec![LeftOut {
                record: "@ NS ns.old.example.".into(),
                why: "the box itself says which name servers the domain has".into(),
            }],
        };
        insta::assert_snapshot!(divided(&import));
        assert_eq!(count("; mine\n\nwww A 192.0.2.1\n"), 1);
    }
}
