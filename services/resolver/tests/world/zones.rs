//! The zones of the small internet, signed anew for each test.

use super::{KNOT, NSD, PRIVATE, ROOT, SILENT, TOP, run};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Zones at NSD.
pub const AT_NSD: [&str; 12] = [
    "example.org.",
    "nsec3.org.",
    "unsigned.org.",
    "bogus.org.",
    "expired.org.",
    "early.org.",
    "wrongds.org.",
    "nosigs.org.",
    "strange.org.",
    "lame.org.",
    "slow.org.",
    "sub.unsigned.org.",
];
/// Zones at Knot.
pub const AT_KNOT: [&str; 4] = ["example.net.", "glueless.net.", "iter.net.", "private.net."];

/// How a zone is signed.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Nsec,
    /// With this many iterations.
    Nsec3(u16),
    /// With opt-out: delegations of unsigned zones have no proof of their own.
    OptOut,
    /// From and until.
    When(&'static str, &'static str),
    Not,
}

/// Files of signed zones in a folder.
pub struct Zones {
    folder: tempfile::TempDir,
    files: BTreeMap<String, PathBuf>,
    /// The root's key, as a DS record.
    pub anchor: String,
}

impl Zones {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The root's key that signs keys: its number among algorithms, and itself in base64.
    pub fn root_key(&self) -> (u8, String) {
        let file = fs::read_dir(self.path("keys-."))
            .unwrap()
            .map(|file| file.unwrap().path());
        let mut keys = file.filter(|file| file.extension().is_some_and(|end| end == "key"));
        let key = keys.find_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let line = text
                .lines()
                .find_map(|line| line.split_once(" 257 3 13 "))?;
            Some(line.1.split_whitespace().collect())
        });
        (13, key.unwrap())
    }

    pub fn file(&self, zone: &str) -> &str {
        self.files[zone].to_str().unwrap()
    }

    /// Makes and signs them all, from the leaves to the root.
    pub fn sign() -> Self {
        let mut zones = Self {
            folder: tempfile::tempdir().unwrap(),
            files: BTreeMap::new(),
            anchor: String::new(),
        };
        let plain = |zone: &str, more: &str| {
            format!("{}www IN A 192.0.2.80\n{more}", head(zone, &[("ns1", NSD)]))
        };
        zones.add(
            "example.org.",
            How::Nsec,
            &format!("{}{EXAMPLE}", head("example.org.", &[("ns1", NSD)])),
        );
        let wild = "@ IN MX 10 www\n*.wild IN A 192.0.2.77\na.b.c IN TXT \"deep\"\nalias IN CNAME nothing\n";
        zones.add("nsec3.org.", How::Nsec3(0), &plain("nsec3.org.", wild));
        let below =
            format!("sub IN NS ns1.sub\nns1.sub IN A {NSD}\nalias IN CNAME www.example.org.\n");
        zones.add("unsigned.org.", How::Not, &plain("unsigned.org.", &below));
        zones.add(
            "sub.unsigned.org.",
            How::Not,
            &plain("sub.unsigned.org.", ""),
        );
        for zone in ["bogus.org.", "wrongds.org.", "nosigs.org.", "strange.org."] {
            zones.add(zone, How::Nsec, &plain(zone, ""));
        }
        zones.add(
            "expired.org.",
            How::When("20200101000000", "20200201000000"),
            &plain("expired.org.", ""),
        );
        zones.add(
            "early.org.",
            How::When("20900101000000", "20900201000000"),
            &plain("early.org.", ""),
        );
        let lame = head("lame.org.", &[("ns1", TOP), ("ns2", KNOT), ("ns3", NSD)]);
        zones.add(
            "lame.org.",
            How::Nsec,
            &format!("{lame}www IN A 192.0.2.80\n"),
        );
        let slow = head("slow.org.", &[("ns1", SILENT), ("ns2", NSD)]);
        zones.add(
            "slow.org.",
            How::Nsec,
            &format!("{slow}www IN A 192.0.2.80\n"),
        );
        let net = head("example.net.", &[("ns1", KNOT)]);
        zones.add(
            "example.net.",
            How::Nsec,
            &format!("{net}www IN A 192.0.2.81\nhost IN A 192.0.2.82\n"),
        );
        let glueless = "@ IN SOA ns.example.net. h.example.net. 1 3600 600 86400 60\n@ IN NS knot.example.org.\n\
                        www IN A 192.0.2.83\n";
        zones.add("glueless.net.", How::Nsec, glueless);
        let iter = head("iter.net.", &[("ns1", KNOT)]);
        zones.add(
            "iter.net.",
            How::Nsec3(150),
            &format!("{iter}www IN A 192.0.2.84\n"),
        );
        let private = head("private.net.", &[("ns1", PRIVATE)]);
        zones.add(
            "private.net.",
            How::Nsec,
            &format!("{private}www IN A 192.0.2.85\n"),
        );
        zones.spoil();

        let delegations = |list: &[(&str, &[(&str, &str)])]| -> String {
            let each = list.iter().map(|(zone, servers)| {
                let all = servers.iter().map(|(server, address)| {
                    format!("{zone} IN NS {server}.{zone}\n{server}.{zone} IN A {address}\n")
                });
                all.collect::<String>()
            });
            each.collect()
        };
        let mut org: Vec<(&str, &[(&str, &str)])> = AT_NSD
            .iter()
            .filter(|zone| !["lame.org.", "slow.org.", "sub.unsigned.org."].contains(zone))
            .map(|zone| (*zone, &[("ns1", NSD)][..]))
            .collect();
        org.push(("lame.org.", &[("ns1", TOP), ("ns2", KNOT), ("ns3", NSD)]));
        org.push(("slow.org.", &[("ns1", SILENT), ("ns2", NSD)]));
        let org = format!("{}{}", head("org.", &[("a", TOP)]), delegations(&org));
        zones.add("org.", How::OptOut, &org);
        let net = [
            ("example.net.", &[("ns1", KNOT)][..]),
            ("iter.net.", &[("ns1", KNOT)][..]),
            ("private.net.", &[("ns1", PRIVATE)][..]),
        ];
        let circle = "circle.net. IN NS ns.round.net.\nround.net. IN NS ns.circle.net.\n";
        let net = format!(
            "{}{}glueless.net. IN NS knot.example.org.\n{circle}",
            head("net.", &[("a", TOP)]),
            delegations(&net)
        );
        zones.add("net.", How::Nsec, &net);
        let root = format!(
            "@ IN SOA a.root. h.root. 1 3600 600 86400 60\n@ IN NS a.root.\na.root. IN A {ROOT}\n\
             org. IN NS a.org.\na.org. IN A {TOP}\nnet. IN NS a.net.\na.net. IN A {TOP}\n"
        );
        zones.add(".", How::Nsec, &root);
        let ds = fs::read_to_string(zones.path("dsset-.")).unwrap();
        zones.anchor = ds
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        zones
    }

    fn add(&mut self, zone: &str, how: How, text: &str) {
        let file = self.path(&format!("{zone}zone"));
        fs::write(&file, format!("$TTL 300\n$ORIGIN {zone}\n{text}")).unwrap();
        if how == How::Not {
            self.files.insert(zone.into(), file);
            return;
        }
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let keys = self.path(&format!("keys-{zone}"));
        fs::create_dir(&keys).unwrap();
        let keys = keys.to_str().unwrap();
        for flags in [&["-f", "KSK"][..], &[]] {
            let common = ["-q", "-a", "ECDSAP256SHA256", "-K", keys, zone];
            run("bind9-utils", "dnssec-keygen", &[flags, &common].concat());
        }
        let signed = self.path(&format!("{zone}signed"));
        let iterations = match how {
            How::Nsec3(iterations) => iterations.to_string(),
            _ => "0".into(),
        };
        let more: Vec<&str> = match how {
            How::Nsec3(_) => vec!["-3", "-", "-H", &iterations],
            How::OptOut => vec!["-3", "-", "-H", "0", "-A"],
            How::When(from, until) => vec!["-P", "-s", from, "-e", until],
            How::Nsec | How::Not => vec![],
        };
        let (out, file) = (signed.to_str().unwrap(), file.to_str().unwrap());
        let mut arguments = vec![
            "-q", "-S", "-g", "-d", &folder, "-K", keys, "-o", zone, "-f", out,
        ];
        arguments.extend(more);
        arguments.push(file);
        run("bind9-utils", "dnssec-signzone", &arguments);
        self.files.insert(zone.into(), signed);
    }

    /// Breaks what is to be broken.
    fn spoil(&self) {
        let change = |path: &Path, change: &dyn Fn(&str) -> String| {
            let text = fs::read_to_string(path).unwrap();
            let changed = change(&text);
            assert_ne!(text, changed, "{}", path.display());
            fs::write(path, changed).unwrap();
        };
        change(&self.files["bogus.org."], &|text| {
            text.replace("192.0.2.80", "192.0.2.66")
        });
        change(&self.path("dsset-wrongds.org."), &|text| {
            // The first digit of the digest, whichever it is.
            let at = text.find(" 13 2 ").unwrap() + 6;
            let other = if text.as_bytes()[at] == b'0' {
                "1"
            } else {
                "0"
            };
            format!("{}{other}{}", &text[..at], &text[at + 1..])
        });
        change(&self.path("dsset-strange.org."), &|text| {
            text.replace(" 13 2 ", " 200 2 ")
        });
        // A zone whose parent says that it is signed, and whose server has no signatures.
        let plain = fs::read_to_string(self.path("nosigs.org.zone")).unwrap();
        fs::write(&self.files["nosigs.org."], plain).unwrap();
    }
}

/// SOA and name servers of a zone.
fn head(zone: &str, servers: &[(&str, &str)]) -> String {
    let first = servers[0].0;
    let mut text = format!("@ IN SOA {first}.{zone} h.{zone} 1 3600 600 86400 60\n");
    for (server, address) in servers {
        text += &format!("@ IN NS {server}.{zone}\n{server}.{zone} IN A {address}\n");
    }
    text
}

/// A domain with everything.
const EXAMPLE: &str = "\
@ IN MX 10 mail
@ IN TXT \"v=spf1 mx -all\"
www IN A 192.0.2.80
knot IN A 199.43.133.53
mail IN A 192.0.2.25
mail IN AAAA 2001:db8::25
_25._tcp.mail IN TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
alias IN CNAME mail
chain IN CNAME alias
dangling IN CNAME nothing
noaaaa IN A 192.0.2.9
tonoaaaa IN CNAME noaaaa
*.wild IN A 192.0.2.77
towild IN CNAME x.wild
out IN CNAME www.example.net.
outwild IN CNAME x.wild.nsec3.org.
outnothing IN CNAME nothing.example.net.
outnodata IN CNAME www.example.net.
tounsigned IN CNAME www.unsigned.org.
tobogus IN CNAME www.bogus.org.
loop1 IN CNAME loop2
loop2 IN CNAME loop1
old IN DNAME example.net.
a.b.c.d IN A 192.0.2.4
big IN TXT \"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"1123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"2123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"3123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"4123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"5123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"6123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"7123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"8123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"9123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"a123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"b123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
big IN TXT \"c123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
";
