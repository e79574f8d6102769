//! Changes of mail, in plain words.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a gigabyte, as owners and sellers of cards count.
pub const GB: u64 = 1_000_000_000;

/// Bytes as gigabytes: `5`, `0.5`.
pub fn gigabytes(bytes: u64) -> String {
    let text = format!("{:.3}", bytes as f64 / GB as f64);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What was changed. The names are the owner's, and each has a bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum MailChange {
    /// An account was made.
    AccountAdded {
        /// Log-in name.
        account: String,
        /// Where its own address is.
        domain: String,
    },
    /// An account was deleted.
    AccountRemoved {
        /// Log-in name.
        account: String,
    },
    /// The person got another name.
    DisplayNameSet {
        /// Log-in name.
        account: String,
        /// The person's name; may be empty.
        display_name: String,
    },
    /// An account got another limit.
    QuotaSet {
        /// Log-in name.
        account: String,
        /// Bytes; `None`: as many as the card.
        quota: Option<u64>,
    },
    /// An account got another password.
    PasswordSet {
        /// Log-in name.
        account: String,
    },
    /// An account got one more address.
    AddressAdded {
        /// Log-in name.
        account: String,
        /// The address.
        address: String,
    },
    /// An address was taken from an account.
    AddressRemoved {
        /// Log-in name.
        account: String,
        /// The address.
        address: String,
    },
    /// A password for one device or program was made.
    AppPasswordMade {
        /// Log-in name.
        account: String,
        /// What it is for.
        label: String,
    },
    /// A password for one device or program was taken away.
    AppPasswordRevoked {
        /// Log-in name.
        account: String,
        /// What it was for; empty if that is not known.
        label: String,
    },
    /// The box has mail for one more domain.
    DomainAdded {
        /// The domain.
        domain: String,
    },
    /// The box has no more mail for a domain.
    DomainRemoved {
        /// The domain.
        domain: String,
    },
    /// Mail to addresses that nobody has goes somewhere else.
    CatchAllSet {
        /// Of this domain.
        domain: String,
        /// Log-in name; `None`: it is refused.
        account: Option<String>,
    },
    /// A message that waited was deleted.
    QueuedDeleted,
}

impl MailChange {
    /// See [`super::Event::is_alarming`].
    pub(super) fn is_alarming(&self) -> bool {
        match self {
            // With these, somebody else can read or write what is an account's.
            Self::PasswordSet { .. } | Self::AppPasswordMade { .. } => true,
            // What an account had is gone.
            Self::AccountRemoved { .. } => true,
            Self::AccountAdded { .. }
            | Self::DisplayNameSet { .. }
            | Self::QuotaSet { .. }
            | Self::AddressAdded { .. }
            | Self::AddressRemoved { .. }
            | Self::AppPasswordRevoked { .. }
            | Self::DomainAdded { .. }
            | Self::DomainRemoved { .. }
            | Self::CatchAllSet { .. }
            | Self::QueuedDeleted => false,
        }
    }
}

impl fmt::Display for MailChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountAdded { account, domain } => {
                write!(f, "added the mail account {account} ({account}@{domain})")
            }
            Self::AccountRemoved { account } => {
                write!(f, "deleted the mail account {account} with all its mail")
            }
            Self::DisplayNameSet {
                account,
                display_name,
            } if display_name.is_empty() => {
                write!(f, "removed the person's name of the mail account {account}")
            }
            Self::DisplayNameSet {
                account,
                display_name,
            } => write!(
                f,
                "named the person of the mail account {account} {display_name:?}"
            ),
            Self::QuotaSet {
                account,
                quota: Some(quota),
            } => {
                let room = gigabytes(*quota);
                write!(f, "gave the mail account {account} {room} GB of room")
            }
            Self::QuotaSet {
                account,
                quota: None,
            } => write!(
                f,
                "gave the mail account {account} as much room as the card has"
            ),
            Self::PasswordSet { account } => {
                write!(f, "made a new password for the mail account {account}")
            }
            Self::AddressAdded { account, address } => {
                write!(f, "gave the mail account {account} the address {address}")
            }
            Self::AddressRemoved { account, address } => {
                write!(
                    f,
                    "took the address {address} from the mail account {account}"
                )
            }
            Self::AppPasswordMade { account, label } => write!(
                f,
                "made the app password {label:?} for the mail account {account}"
            ),
            Self::AppPasswordRevoked { account, label } if label.is_empty() => {
                write!(f, "revoked an app password of the mail account {account}")
            }
            Self::AppPasswordRevoked { account, label } => write!(
                f,
                "revoked the app password {label:?} of the mail account {account}"
            ),
            Self::DomainAdded { domain } => write!(f, "added the mail domain {domain}"),
            Self::DomainRemoved { domain } => write!(f, "removed the mail domain {domain}"),
            Self::CatchAllSet {
                domain,
                account: Some(account),
            } => write!(f, "gave mail to unknown addresses of {domain} to {account}"),
            Self::CatchAllSet {
                domain,
                account: None,
            } => write!(
                f,
                "chose that mail to unknown addresses of {domain} is refused"
            ),
            Self::QueuedDeleted => f.write_str("deleted a message that waited for delivery"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn one_of_each() -> Vec<MailChange> {
        use MailChange::*;
        let account = || "bob".to_owned();
        let domain = || "example.org".to_owned();
        let address = || "sales@example.org".to_owned();
        let label = || "phone \u{202e}\"".to_owned();
        vec![
            AccountAdded {
                account: account(),
                domain: domain(),
            },
            AccountRemoved { account: account() },
            DisplayNameSet {
                account: account(),
                display_name: "Bob B.".into(),
            },
            DisplayNameSet {
                account: account(),
                display_name: String::new(),
            },
            QuotaSet {
                account: account(),
                quota: Some(500_000_000),
            },
            QuotaSet {
                account: account(),
                quota: None,
            },
            PasswordSet { account: account() },
            AddressAdded {
                account: account(),
                address: address(),
            },
            AddressRemoved {
                account: account(),
                address: address(),
            },
            AppPasswordMade {
                account: account(),
                label: label(),
            },
            AppPasswordRevoked {
                account: account(),
                label: label(),
            },
            AppPasswordRevoked {
                account: account(),
                label: String::new(),
            },
            DomainAdded { domain: domain() },
            DomainRemoved { domain: domain() },
            CatchAllSet {
                domain: domain(),
                account: Some(account()),
            },
            CatchAllSet {
                domain: domain(),
                account: None,
            },
            QueuedDeleted,
        ]
    }

    #[test]
    fn room_is_told_in_gigabytes() {
        let all = [1 << 20, 500_000_000, 5_000_000_000, 5 << 30];
        assert_eq!(all.map(gigabytes).join(", "), "0.001, 0.5, 5, 5.369");
    }
}
