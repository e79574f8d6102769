//! Domain, first account and its addresses: what is missing is added.

use anyhow::Result;
use roost_mail_config::plan::{self, State, Step};
use roost_mail_config::settings::Settings;
use roost_mail_server::directory::{Directory, NewAccount};
use std::collections::BTreeSet;

/// Adds what is missing; running it again changes nothing.
pub async fn provision(directory: &Directory, settings: &Settings) -> Result<()> {
    for step in plan::plan(settings, &state(directory, settings).await?) {
        match step {
            Step::Domain { name } => {
                directory.add_domain(&name).await?;
                println!("mail: made domain {name}");
            }
            Step::Account {
                name,
                display_name,
                password_hash,
                addresses,
            } => {
                let account = NewAccount {
                    name: name.clone(),
                    display_name,
                    password_hash,
                    addresses,
                };
                directory.add_account(account).await?;
                println!("mail: made account {name}");
            }
        }
    }
    Ok(())
}

async fn state(directory: &Directory, settings: &Settings) -> Result<State> {
    let mut taken = BTreeSet::new();
    for address in plan::addresses(settings) {
        if directory.has_address(&address).await? {
            taken.insert(address);
        }
    }
    Ok(State {
        domain: directory.has_domain(&settings.domain).await?,
        account: directory.has_account(&settings.account.name).await?,
        taken,
    })
}
