//! Domain, first account and its addresses: what is missing is added.

use crate::ledger::Ledger;
use anyhow::Result;
use roost_mail_config::plan;
use roost_mail_config::setup::Setup;

/// Adds what is missing; running it again changes nothing.
pub async fn provision(ledger: &Ledger, setup: &Setup) -> Result<()> {
    for step in plan::plan(setup, &ledger.read().await?) {
        ledger.perform(step).await?;
    }
    // The configuration signs for the box's own domain; the directory knows the others.
    for domain in ledger.directory.domains().await? {
        if domain != setup.domain {
            ledger.sign_for(&domain).await?;
        }
    }
    Ok(())
}
