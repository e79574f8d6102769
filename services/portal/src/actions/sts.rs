//! The domains' policies on encrypted delivery (MTA-STS, RFC 8461), as the name server makes them.

use crate::app::App;
use crate::sockets;
use roost_service::dns::{Answer, Call, StsPolicy};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::sleep;

/// How often the name server is asked. A policy that changed gets another id in the zone a moment
/// later, and whoever sees that comes for it.
const EVERY: Duration = Duration::from_secs(10);
/// The same as long as it does not answer.
const AGAIN: Duration = Duration::from_secs(2);

/// The policies that are served. They stay when the name server does not answer: senders that
/// know a domain's policy would else report the domain, or hold mail back.
#[derive(Debug, Default)]
pub struct Policies(RwLock<Option<HashMap<String, Arc<str>>>>);

/// What there is for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Its text.
    Text(Arc<str>),
    /// It has none.
    None,
    /// The name server has not answered since the portal started.
    Unknown,
}

impl Policies {
    /// The policy of a domain, which is in lower case.
    pub fn of(&self, domain: &str) -> Policy {
        // It is replaced as a whole, so a thread that panicked has left nothing half done.
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Some(all) => all
                .get(domain)
                .map_or(Policy::None, |text| Policy::Text(text.clone())),
            None => Policy::Unknown,
        }
    }

    /// Serves these from now on.
    pub fn replace(&self, policies: Vec<StsPolicy>) {
        let all = policies
            .into_iter()
            .map(|policy| (policy.domain.to_ascii_lowercase(), policy.text.into()));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(all.collect());
    }
}

/// Asks the name server for the policies again and again, until the program ends. Nobody from outside
/// makes the box ask.
pub async fn keep(app: Arc<App>) {
    loop {
        let asked = sockets::ask("the name server", &app.places.dns, &Call::Policies).await;
        sleep(match asked {
            Ok(Answer::Policies { policies }) => {
                app.policies.replace(policies);
                EVERY
            }
            // The page DNS tells of a name server that does not answer.
            _ => AGAIN,
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_goes_only_when_the_name_server_says_so() {
        let policies = Policies::default();
        assert_eq!(policies.of("example.org"), Policy::Unknown);
        let text = "version: STSv1\r\n";
        policies.replace(vec![StsPolicy {
            domain: "Example.org".into(),
            text: text.into(),
        }]);
        assert_eq!(policies.of("example.org"), Policy::Text(text.into()));
        assert_eq!(policies.of("example.net"), Policy::None);
        policies.replace(Vec::new());
        assert_eq!(policies.of("example.org"), Policy::None);
    }
}
