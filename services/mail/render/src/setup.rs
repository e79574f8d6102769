//! What this service needs of the box's settings, once there is a domain to serve.

use roost_service::settings::{Account, Settings};

/// A box with a domain and a first account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Host name of the box on the home network.
    pub name: String,
    /// The box's own mail domain.
    pub domain: String,
    /// The first mail account, to which the box itself writes.
    pub account: Account,
    /// Fully qualified name that the mail server calls itself.
    pub host: String,
    /// Largest accepted message in bytes.
    pub max_message_size: u64,
    /// Whether incoming mail is rated by the spam filter.
    pub spam_filter: bool,
}

impl Setup {
    /// `None`: the box waits to be paired.
    pub fn of(settings: Settings) -> Option<Self> {
        let (host, mailbox) = (settings.mail_host()?, settings.mailbox?);
        Some(Setup {
            name: settings.name,
            domain: mailbox.domain,
            account: mailbox.account,
            host,
            max_message_size: settings.mail.max_message_size,
            spam_filter: settings.mail.spam_filter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::settings::{Mail, Mailbox, Network, Update};

    #[test]
    fn a_box_without_a_domain_waits() {
        let mut settings = Settings {
            name: "roost".into(),
            mailbox: None,
            network: Network::Dhcp,
            time_servers: vec!["192.0.2.1".into()],
            mail: Mail {
                host: None,
                max_message_size: 1 << 20,
                spam_filter: true,
            },
            update: Update::default(),
            resolver: None,
        };
        assert_eq!(Setup::of(settings.clone()), None);
        settings.mailbox = Some(Mailbox {
            domain: "example.org".into(),
            account: Account {
                name: "alice".into(),
                display_name: String::new(),
                password_hash: "$6$a$b".into(),
            },
        });
        assert_eq!(Setup::of(settings).unwrap().host, "mail.example.org");
    }
}
