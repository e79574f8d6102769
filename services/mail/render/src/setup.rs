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
        Some(Setup {
            name: settings.name,
            domain: settings.domain,
            account: settings.account,
            host: settings.mail.host,
            max_message_size: settings.mail.max_message_size,
            spam_filter: settings.mail.spam_filter,
        })
    }
}
