//! `roost dns`: the zones that the box answers for.

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
use roost_service::dns::{LeftOut, Record, Zone};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

/// How the box says that its name server stands.
#[derive(Debug, Deserialize)]
struct Status {
    zones: Vec<Zone>,
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
    }
}

/// A box that answers, and one of its zones.
struct Place<'a> {
    device: Device<'a>,
    zone: Zone,
}

impl<'a> Place<'a> {
    fn of(args: &DnsZoneArgs, ui: &'a Ui) -> Result<Self, Failure> {
        let mut device = open(&args.which, ui)?;
        let cannot = "cannot ask for the zones of";
        let status: Status = get(&mut device, "dns", cannot)?;
        let wanted = args.domain.as_deref().map(str::to_ascii_lowercase);
        let names: Vec<String> = status.zones.iter().map(|z| z.domain.clone()).collect();
        let mut zones = status.zones.into_iter();
        let found = match &wanted {
            Some(domain) => zones.find(|zone| zone.domain == *domain),
            None => zones.next(),
        };
        let zone = found.ok_or_else(|| match wanted {
            Some(domain) => Failure::usage(format!("{} has no zone of {domain}", device.address))
                .hint(match names.as_slice() {
                    [] => "choose a domain first: `roost pair`".to_owned(),
                    names => format!("it has: {}", names.join(", ")),
                }),
            None => Failure::new(format!("{} has no zone yet", device.address))
                .because("no domain was chosen, or its services are still starting")
                .hint("`roost status` shows how it stands"),
        })?;
        Ok(Self { device, zone })
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
        zone: &'a Zone,
        records: &'a [Record],
    }
    let mut place = Place::of(&args.zone, ui)?;
    let Records { mut records } = place.get("records", "cannot ask for the records of")?;
    if let Some(kind) = &args.kind {
        records.retain(|record| record.kind.eq_ignore_ascii_case(kind));
    }
    let zone = &place.zone;
    let result = Result {
        zone,
        records: &records,
    };
    ui.result(told(zone, &records), &result);
    Ok(())
}

/// The zone for people: how it stands, then each name with its records.
fn told(zone: &Zone, records: &[Record]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name:<10}  {value}").expect("writing to a string");
    };
    line("zone", &zone.domain);
    match zone.serial {
        Some(serial) => line("serial", &serial.to_string()),
        None => line("serial", "none: the box does not answer for it"),
    }
    if let Some(fault) = &zone.fault {
        line("fault", &plain(fault));
    }
    for key in &zone.keys {
        let role = plain(&key.role);
        line("key", &format!("{} {role}: {}", key.tag, plain(&key.state)));
    }
    match &zone.secondary {
        None => line("copies", "nobody has any: without the box nobody answers"),
        Some(secondary) => {
            let address = plain(&secondary.address);
            let told = match (secondary.told, &secondary.fault) {
                (_, Some(why)) => format!("{address} does not answer: {}", plain(why)),
                (Some(serial), None) => format!("{address} knows of serial {serial}"),
                (None, None) => format!("{address} was not told yet"),
            };
            line("copies", &told);
        }
    }
    for record in records {
        let mark = match record.source.as_str() {
            "owner" => " (yours)",
            "program" => " (set by a program)",
            _ => "",
        };
        write!(
            text,
            "\n{} {} {} {}\n    {}{mark}\n",
            plain(&record.name),
            record.ttl,
            plain(&record.kind),
            plain(&record.value),
            plain(&record.why)
        )
        .expect("writing to a string");
    }
    text
}

/// `roost dns export`.
fn export(args: &DnsExportArgs, ui: &Ui) -> Result<(), Failure> {
    let mut place = Place::of(&args.zone, ui)?;
    let what = format!("zone?signed={}", args.signed);
    let zone: ZoneText = place.get(&what, "cannot take the zone from")?;
    ui.result(&zone.text, &zone);
    Ok(())
}

/// `roost dns ds`.
fn ds(args: &DnsZoneArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        name_servers: Vec<&'a Record>,
        ds: &'a [String],
    }
    let mut place = Place::of(args, ui)?;
    let Records { records } = place.get("records", "cannot ask for the records of")?;
    let apex = &place.zone.domain;
    let servers: Vec<String> = records
        .iter()
        .filter(|record| record.kind == "NS" && record.name == *apex)
        .map(|record| record.value.trim_end_matches('.').to_owned())
        .collect();
    let name_servers: Vec<&Record> = records
        .iter()
        .filter(|record| matches!(record.kind.as_str(), "A" | "AAAA"))
        .filter(|record| servers.contains(&record.name))
        .collect();
    let mut text = String::new();
    if name_servers.is_empty() {
        text += "The box has no address on the internet yet: make a relay first (`roost relay apply`).\n\n";
    } else {
        text += "Name servers of your domain (registrars call the addresses glue, or host records):\n\n";
        for record in &name_servers {
            writeln!(text, "  {}  {}", plain(&record.name), plain(&record.value))
                .expect("writing to a string");
        }
        text.push('\n');
    }
    text += "DS records (DNSSEC), once the name servers above are in force:\n\n";
    if place.zone.ds.is_empty() {
        text += "  none yet: the box has not signed the zone so far (`roost dns show` says why)\n";
    }
    for line in &place.zone.ds {
        writeln!(text, "  {}", plain(line)).expect("writing to a string");
    }
    let result = Result {
        name_servers,
        ds: &place.zone.ds,
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
    use roost_service::dns::{Secondary, ZoneKey};

    fn zone() -> Zone {
        Zone {
            domain: "example.org".into(),
            serial: Some(1_795_700_000),
            fault: None,
            signed_until: Some(1_798_000_000),
            ds: vec!["example.org. IN DS 1 13 2 AB".into()],
            keys: vec![ZoneKey {
                tag: 4711,
                role: "key-signing key".into(),
                state: "ready: the registrar can be given its DS record".into(),
            }],
            secondary: Some(Secondary {
                address: "10.77.0.1".into(),
                told: Some(1_795_700_000),
                fault: None,
            }),
            delegation: None,
            dmarc: None,
        }
    }

    #[test]
    fn a_zone_is_told_with_reasons_and_without_control_characters() {
        let record = |name: &str, source: &str, value: &str| Record {
            name: name.into(),
            ttl: 3600,
            kind: "TXT".into(),
            value: value.into(),
            source: source.into(),
            why: "Which servers send for this domain (SPF).".into(),
        };
        let records = [
            record("example.org", "box", "\"v=spf1 mx -all\""),
            record("www.example.org", "owner", "\"\u{1b}[31mred\""),
        ];
        insta::assert_snapshot!(told(&zone(), &records));
        let alone = Zone {
            serial: None,
            fault: Some("the clock was not set yet".into()),
            secondary: None,
            ..zone()
        };
        insta::assert_snapshot!(told(&alone, &[]));
    }

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
