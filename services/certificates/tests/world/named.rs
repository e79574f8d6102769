//! BIND, and what it has.

use super::{World, ZONE, free};
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

/// Names for which the program may set challenges; it may set nothing else.
const NAMES: [&str; 5] = ["mail", "box", "mta-sts", "autoconfig", "autodiscover"];
/// The key's secret in base64; in the folder where the program looks first.
const SECRET: &str = "cm9vc3Qgcm9vc3Qgcm9vc3Qgcm9vc3Qgcm9vc3QhISE=";

impl World {
    /// Starts the box's name server, and the other one if there is to be one.
    pub(super) fn start_name_servers(&mut self) {
        fs::write(self.path("run/acme.key"), SECRET).unwrap();
        let zone = format!(
            "$TTL 60\n@ SOA ns.{ZONE}. owner.{ZONE}. 1 600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
        );
        let grants =
            NAMES.map(|name| format!("grant acme name _acme-challenge.{name}.{ZONE}. TXT;"));
        let others = match self.secondary {
            Some(other) => format!(
                "notify explicit; also-notify {{ {} port {}; }};",
                other.ip(),
                other.port()
            ),
            None => "notify no;".into(),
        };
        let primary = format!(
            "type primary; file \"zone\"; update-policy {{ {} }}; {others}",
            grants.join(" ")
        );
        self.start_named("named", self.name_server, &zone, &primary);
        if let Some(other) = self.secondary {
            let (ip, port) = (self.name_server.ip(), self.name_server.port());
            let copy = format!(
                "type secondary; file \"copy\"; primaries {{ {ip} port {port}; }}; allow-notify {{ {ip}; }};"
            );
            self.start_named("other", other, "", &copy);
        }
    }

    fn start_named(&mut self, name: &str, at: SocketAddr, zone: &str, kind: &str) {
        let folder = self.path(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("zone"), zone).unwrap();
        let (ip, port) = (at.ip(), at.port());
        let config = format!(
            "options {{ directory \"{}\"; pid-file none; session-keyfile none; recursion no;
               listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }}; dnssec-validation no; }};
             controls {{ }};
             key acme {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
             zone \"{ZONE}\" {{ {kind} }};",
            folder.display()
        );
        fs::write(folder.join("named.conf"), config).unwrap();
        let mut command = Command::new("named");
        command
            .args(["-g", "-n", "1", "-c"])
            .arg(folder.join("named.conf"));
        let running = self.start(command, name, "bind9");
        self.named.push(running);
        self.until("named answers", |_| !dig(at, "SOA", ZONE).is_empty());
    }

    /// All challenges in the box's zone.
    pub fn challenges(&self) -> Vec<String> {
        NAMES
            .map(|name| {
                dig(
                    self.name_server,
                    "TXT",
                    &format!("_acme-challenge.{name}.{ZONE}"),
                )
            })
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect()
    }
}

/// Where the other name server is to be.
pub(super) fn place() -> SocketAddr {
    ([127, 0, 0, 1], free()).into()
}

/// What a name server has.
fn dig(server: SocketAddr, kind: &str, name: &str) -> String {
    let mut command = Command::new("dig");
    command.args([
        "+short",
        "+tries=1",
        "+time=2",
        &format!("@{}", server.ip()),
    ]);
    command.args(["-p", &server.port().to_string(), name, kind]);
    let out = command.output();
    let out = out.unwrap_or_else(|e| panic!("dig: {e}: install the Debian package bind9-dnsutils"));
    match out.status.success() {
        true => String::from_utf8(out.stdout).unwrap().trim().to_owned(),
        false => String::new(),
    }
}
