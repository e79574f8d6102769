//! What of the box's settings is for mail, when it is known whose mail it is.

use crate::Error;
pub use roost_service::settings::Account;
use roost_service::settings::{self, PATH};

/// Settings of a box with a domain and a first account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Host name of the box on the home network.
    pub name: String,
    /// The mail domain.
    pub domain: String,
    /// The first mail account.
    pub account: Account,
    /// Mail options.
    pub mail: Mail,
}

/// Options of the mail service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Fully qualified name that the mail server calls itself.
    pub host: String,
    /// Largest accepted message in bytes.
    pub max_message_size: u64,
    /// Whether incoming mail is rated by the spam filter.
    pub spam_filter: bool,
}

impl TryFrom<settings::Settings> for Settings {
    type Error = Error;

    fn try_from(all: settings::Settings) -> Result<Self, Error> {
        let (Some(host), Some(mailbox)) = (all.mail_host(), all.mailbox) else {
            return Err(Error::Settings {
                path: PATH.into(),
                reason: "nobody has chosen a domain and an account yet".into(),
            });
        };
        Ok(Self {
            name: all.name,
            domain: mailbox.domain,
            account: mailbox.account,
            mail: Mail {
                host,
                max_message_size: all.mail.max_message_size,
                spam_filter: all.mail.spam_filter,
            },
        })
    }
}
