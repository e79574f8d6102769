//! The box's side: its key, the relay that it uses, and what only it can find out.

use super::secrets::is_key;
use crate::cli::{BoxArgs, BoxKeyArgs};
use crate::device::Device;
use crate::device::error::DeviceError;
use crate::device::stop::Stop;
use crate::device::words::plain;
use crate::dns::show::advice;
use crate::error::Failure;
use crate::ui::Ui;
use roost_service::dns::Zone;
use roost_service::tunnel::Tunnel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Between two looks at the tunnel.
const EVERY: Duration = Duration::from_secs(2);
/// Within this, the box does what it was told.
const SETTLED: Duration = Duration::from_secs(5);
/// A new machine updates itself and installs what it needs before it answers.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// How the tunnel stands, as the box's API tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The box's WireGuard key.
    pub public_key: String,
    /// `unconfigured`, `down`, `up` or `replaced`.
    pub state: String,
    /// The same in a sentence.
    pub summary: String,
    /// The relay that the box was told of, with its port.
    pub relay: Option<String>,
    /// Milliseconds to the relay and back.
    pub rtt_ms: Option<f64>,
    /// Seconds since the last handshake.
    pub handshake_age_s: Option<u64>,
    /// Seconds that it has been so.
    pub since_s: u64,
}

/// What the box found in blocklists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blocklists {
    /// Those that were asked.
    pub lists: Vec<Blocklist>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blocklist {
    /// Its name.
    pub name: String,
    /// `clear`, `listed` or `unanswered`.
    pub state: String,
    /// Why, for people.
    #[serde(default)]
    pub why: String,
    /// Where to ask for removal.
    #[serde(default)]
    pub removal: Option<String>,
}

impl Blocklists {
    /// Those that have the address.
    pub fn listed(&self) -> impl Iterator<Item = &Blocklist> {
        self.lists.iter().filter(|list| list.state == "listed")
    }

    /// How many gave an answer.
    pub fn answered(&self) -> usize {
        let answered = |list: &&Blocklist| list.state != "unanswered";
        self.lists.iter().filter(answered).count()
    }
}

/// Whether mail gets out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Port25 {
    /// `open`, `closed` or `unknown`.
    pub state: String,
    /// Why, for people.
    pub why: String,
}

/// A box that answers.
pub struct Home<'a> {
    device: Device<'a>,
    ui: &'a Ui,
}

impl<'a> Home<'a> {
    /// The box that the arguments mean; nothing is asked of it yet.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if this computer is paired with none, or with several.
    pub fn of(args: &BoxArgs, stop: Stop, ui: &'a Ui) -> Result<Self, Failure> {
        let device = Device::of(args, None, stop, ui)?;
        Ok(Self { device, ui })
    }

    /// Its name or address.
    pub fn name(&self) -> String {
        self.device.address.to_string()
    }

    /// The box's API.
    pub fn device(&mut self) -> &mut Device<'a> {
        &mut self.device
    }

    fn get<T: DeserializeOwned>(&mut self, path: &str, what: &str) -> Result<T, Failure> {
        let answer = self
            .device
            .api("GET", &format!("/api/v1/{path}"), None)
            .map_err(|e| self.device.failure(what, e))?;
        serde_json::from_value(answer).map_err(|e| {
            self.device
                .failure(what, DeviceError::NotUnderstood(e.to_string()))
        })
    }

    /// How the tunnel stands.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box does not say.
    pub fn tunnel(&mut self) -> Result<Status, Failure> {
        self.get("tunnel", "cannot ask for the tunnel of")
    }

    /// What is left to do at registrars: domain and advice.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box does not say.
    pub fn registrar(&mut self) -> Result<Vec<(String, String)>, Failure> {
        #[derive(Deserialize)]
        struct Zones {
            zones: Vec<Zone>,
        }
        let Zones { zones } = self.get("dns", "cannot ask for the zones of")?;
        let advised = |zone: Zone| Some((plain(&zone.domain), advice(&zone)?));
        Ok(zones.into_iter().filter_map(advised).collect())
    }

    /// Looks the address up in blocklists.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box does not say.
    pub fn blocklists(&mut self, address: Ipv4Addr) -> Result<Blocklists, Failure> {
        let step = self.ui.step("look it up in blocklists");
        let found: Blocklists = self.get(
            &format!("blocklists/{address}"),
            "cannot look up an address through",
        )?;
        let (listed, all) = (found.listed().count(), found.lists.len());
        step.done(match (listed, found.answered()) {
            (_, 0) => format!("none of {all} answered"),
            (0, answered) => format!("{address} is on none of {answered}"),
            (n, answered) => format!("{address} is on {n} of {answered}"),
        });
        Ok(found)
    }

    /// Tries to reach port 25 of others.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box does not say.
    pub fn port25(&mut self) -> Result<Port25, Failure> {
        let step = self.ui.step("try port 25 of others");
        let found: Port25 = self.get("port25", "cannot try port 25 through")?;
        step.done(plain(&found.state));
        Ok(found)
    }

    /// Has the box use this relay from now on.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box refuses, or cannot be reached.
    pub fn connect(&mut self, tunnel: &Tunnel) -> Result<(), Failure> {
        let step = self.ui.step("tell the box");
        let body = serde_json::to_value(tunnel).expect("a tunnel is plain data");
        self.device
            .api("PUT", "/api/v1/relay", Some(&body))
            .map_err(|e| self.device.failure("cannot give the relay to", e))?;
        step.done("");
        Ok(())
    }

    /// Has the box use no relay.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box refuses, or cannot be reached.
    pub fn disconnect(&mut self) -> Result<(), Failure> {
        let step = self.ui.step("tell the box");
        self.device
            .api("DELETE", "/api/v1/relay", None)
            .map_err(|e| self.device.failure("cannot take the relay from", e))?;
        step.done("");
        Ok(())
    }

    /// Has this card serve though another has taken its place.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box refuses, or cannot be reached.
    pub fn take_over(&mut self) -> Result<(), Failure> {
        let step = self.ui.step("tell the box");
        self.device
            .api("POST", "/api/v1/relay/takeover", None)
            .map_err(|e| self.device.failure("cannot change who serves at", e))?;
        step.done("");
        Ok(())
    }

    /// Waits until packets get through.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if they do not within a quarter of an hour, or at Ctrl-C.
    pub fn wait_until_up(&mut self) -> Result<Status, Failure> {
        let step = self.ui.step("wait for the tunnel");
        let began = Instant::now();
        loop {
            // The box may restart meanwhile.
            let last = match self.tunnel() {
                Ok(status) if status.state == "up" => {
                    step.done(match status.rtt_ms {
                        Some(ms) => format!("up, {ms:.0} ms"),
                        None => "up".to_owned(),
                    });
                    return Ok(status);
                }
                Ok(status) if status.state == "replaced" && began.elapsed() > SETTLED => {
                    return Err(Failure::new("this box has stood down")
                        .because(plain(&status.summary))
                        .hint("if this card is the one that is to serve: `roost relay takeover`"));
                }
                Ok(status) => status.summary,
                Err(failure) => failure.in_a_line(),
            };
            step.message(plain(&last));
            if !self.device.stop.wait(EVERY) {
                return Err(Failure::interrupted("stopped waiting for the tunnel")
                    .because("box and relay know of each other, and connect by themselves")
                    .hint("`roost relay status` shows how it stands"));
            }
            if began.elapsed() > LIMIT {
                return Err(Failure::new("the tunnel is not up after a quarter of an hour")
                    .because(plain(&last))
                    .hint("a shell on the relay shows why (`roost relay status` has the command); its log: journalctl -b"));
            }
        }
    }
}

/// The box's WireGuard key: from the box, or as it was given.
///
/// # Errors
///
/// A [`Failure`] if the box cannot be asked, or if what was given is no key.
pub fn key<'a>(
    args: &BoxKeyArgs,
    stop: Stop,
    ui: &'a Ui,
) -> Result<(String, Option<Home<'a>>), Failure> {
    if let Some(key) = &args.box_key {
        if !is_key(key) {
            return Err(Failure::usage("--box-key: this is no WireGuard key")
                .because("it has 44 characters of base64, the last of them =")
                .hint("the portal shows it on the page Relay"));
        }
        return Ok((key.clone(), None));
    }
    let mut home = Home::of(&args.which, stop, ui)?;
    let key = home.tunnel()?.public_key;
    if !is_key(&key) {
        return Err(
            Failure::new(format!("{} has no key yet", home.name())).hint("see `roost logs tunnel`")
        );
    }
    Ok((key, Some(home)))
}
