//! What each service may do, as a build shows it and as `services/rights.txt` keeps it.
//!
//! The file is what somebody has looked at: a test compares it with the specs and the lists of
//! system calls, so that no service gains a right unseen. Why it has one stands in its spec.

use crate::seccomp::Lists;
use crate::ui::table::{Align, Table};
use roost_service::spec::{Limits, ServiceSpec};
use serde::{Deserialize, Serialize};

/// The rights of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Its name.
    pub service: String,
    /// Number of its user and group.
    pub user: u32,
    /// Whether it reads the owner's settings.
    pub settings: bool,
    /// Whether it reads the card: pairing code and first identity.
    pub card: bool,
    /// Capabilities (capabilities(7)).
    pub capabilities: Vec<String>,
    /// Ports below 1024.
    pub ports: Vec<String>,
    /// What it may ask init for.
    pub control: Vec<String>,
    /// Devices.
    pub devices: Vec<String>,
    /// Files of the image beside its program.
    pub files: Vec<String>,
    /// Services whose sockets it sees.
    pub sockets: Vec<String>,
    /// Namespaces that it shares with init.
    pub shared: Vec<String>,
    /// What it may use up.
    pub limits: Limits,
    /// Number of system calls that it may make.
    pub system_calls: usize,
    /// Those of them that not every service may make, with the arguments that are allowed.
    pub own_system_calls: Vec<String>,
}

/// The rights of all services, in their order.
pub fn of(specs: &[ServiceSpec], lists: &Lists) -> Vec<Rights> {
    fn names<K: ToString, V>(rights: &std::collections::BTreeMap<K, V>) -> Vec<String> {
        rights.keys().map(ToString::to_string).collect()
    }
    specs
        .iter()
        .map(|spec| Rights {
            service: spec.name.clone(),
            user: spec.user,
            settings: spec.settings.is_some(),
            card: spec.card,
            capabilities: names(&spec.capabilities),
            ports: names(&spec.ports),
            control: names(&spec.control),
            devices: names(&spec.devices),
            files: names(&spec.files),
            sockets: names(&spec.sockets),
            shared: names(&spec.shared),
            limits: spec.limits.clone(),
            system_calls: lists.calls_of(&spec.name),
            own_system_calls: lists.own_calls_of(&spec.name),
        })
        .collect()
}

/// The table for people: one line for each kind of right that a service has.
pub fn render(rights: &[Rights]) -> String {
    let mut table = Table::new([
        ("service", Align::Left),
        ("right", Align::Left),
        ("what", Align::Left),
    ]);
    for rights in rights {
        let limits = &rights.limits;
        let reads: Vec<String> = [(rights.settings, "settings"), (rights.card, "card")]
            .into_iter()
            .filter(|(may, _)| *may)
            .map(|(_, what)| what.to_owned())
            .collect();
        let lists = [
            ("reads", &reads),
            ("capabilities", &rights.capabilities),
            ("ports", &rights.ports),
            ("control", &rights.control),
            ("devices", &rights.devices),
            ("files", &rights.files),
            ("sockets", &rights.sockets),
            ("shares", &rights.shared),
        ];
        let first = ("user", rights.user.to_string());
        let listed = lists
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(right, names)| (right, names.join(", ")));
        let rest = [
            ("memory", format!("{} MiB", limits.memory_max_mib)),
            ("scratch", format!("{} MiB", limits.scratch_mib)),
            ("card", limits.card_mib.to_string()),
            ("tasks", limits.tasks.to_string()),
            ("open files", limits.open_files.to_string()),
            (
                "weights",
                format!(
                    "processors {}, card {}",
                    limits.cpu_weight, limits.io_weight
                ),
            ),
            ("calls", rights.system_calls.to_string()),
            ("own calls", rights.own_system_calls.join(", ")),
        ];
        for (place, (right, what)) in [first].into_iter().chain(listed).chain(rest).enumerate() {
            let name = if place == 0 { &rights.service } else { "" };
            table.row([name, right, &what]);
        }
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services;
    use crate::workspace::Workspace;

    const REVIEWED: &str = "services/rights.txt";

    /// Whoever gives a service a right says why in its spec, and shows it to whoever reviews.
    #[test]
    fn no_service_gained_a_right_unseen() {
        let workspace = Workspace::find().unwrap();
        let specs = services::specs(&workspace).unwrap();
        let lists = Lists::load(&workspace, &specs).unwrap();
        let now = anstream::adapter::strip_str(&render(&of(&specs, &lists))).to_string();
        let path = workspace.source.join(REVIEWED);
        if std::env::var_os("ROOST_WRITE_RIGHTS").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
        let changed: Vec<&str> = now
            .lines()
            .filter(|line| !reviewed.lines().any(|before| before == *line))
            .collect();
        assert!(
            now == reviewed,
            "rights are not those in {REVIEWED}: {changed:#?}\nif they are meant, write the file anew \
             (ROOST_WRITE_RIGHTS=1 cargo test -p roost no_service_gained), and look at its changes"
        );
    }

    #[test]
    fn a_right_without_a_reason_is_no_spec() {
        let spec = "name = \"a\"\ndescription = \"x\"\nprogram = \"/bin/a\"\nuser = 5\nrequired = true\n\
                    ready_timeout_s = 1\nstop_timeout_s = 1\n";
        assert!(toml::from_str::<ServiceSpec>(spec).is_ok());
        for list in ["capabilities = [\"net_admin\"]", "ports = [\"tcp/25\"]"] {
            assert!(
                toml::from_str::<ServiceSpec>(&format!("{spec}{list}\n")).is_err(),
                "{list}"
            );
        }
        let silent = format!("{spec}[ports]\n\"tcp/25\" = \"\"\n");
        let silent: ServiceSpec = toml::from_str(&silent).unwrap();
        assert!(roost_service::spec::validate(&[silent]).is_err());
    }
}
