//! The domains' policies on encrypted delivery (MTA-STS, RFC 8461), as the name server makes them.

use crate::app::App;
use crate::sockets;
use roost_service::dns::{Answer, Call, StsPolicy};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

/// How often the name server is asked while nobody wants a policy.
const EVERY: Duration = Duration::from_secs(10);
/// How old what it said may be when somebody does. A policy and its id in the zone change together: whoever
/// comes for a new one must not get the old one, which would be kept under the new id.
const FRESH: Duration = Duration::from_secs(1);
/// Longest that somebody waits for that.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same as long as it does not answer.
const AGAIN: Duration = Duration::from_secs(2);

/// The policies that are served. They stay when the name server does not answer: senders that
/// know a domain's policy would else report the domain, or hold mail back.
#[derive(Debug, Default)]
pub struct Policies {
    all: RwLock<Option<HashMap<String, Arc<str>>>>,
    /// When the name server was asked last.
    asked: Mutex<Option<Instant>>,
}

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
        match &*self.all.read().unwrap_or_else(PoisonError::into_inner) {
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
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = Some(all.collect());
    }
}

/// The policy of a domain, which is in lower case, as the name server has it now. However many want it, that
/// is asked once a second.
pub async fn current(app: &App, domain: &str) -> Policy {
    let mut asked = app.policies.asked.lock().await;
    if asked.is_none_or(|at| at.elapsed() >= FRESH) {
        // What there is stays if that takes too long.
        let _ = timeout(PATIENCE, ask(app)).await;
        *asked = Some(Instant::now());
    }
    drop(asked);
    app.policies.of(domain)
}

/// Asks the name server; whether it has answered.
async fn ask(app: &App) -> bool {
    let asked = sockets::ask("the name server", &app.places.dns, &Call::Policies).await;
    match asked {
        Ok(Answer::Policies { policies }) => {
            app.policies.replace(policies);
            true
        }
        // The page DNS tells of a name server that does not answer.
        _ => false,
    }
}

/// Asks the name server for the policies again and again, until the program ends.
pub async fn keep(app: Arc<App>) {
    loop {
        let answered = ask(&app).await;
        sleep(if answered { EVERY } else { AGAIN }).await;
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
