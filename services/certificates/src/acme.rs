//! What is said to the certificate authority (RFC 8555), by instant-acme.
//!
//! Whatever is needed to go on after a power cut is on the card before it is used: the account's key
//! before the account, an order's address and key before its challenges, challenges before they are in
//! the zone.

use crate::book::Desk;
use crate::fault::{self, Fault};
use crate::http::Https;
use crate::leaf::Leaf;
use crate::renew::{DAY, Window};
use crate::setup::Wanted;
use crate::store::{self, Kept, Pending};
use crate::zone::{Challenge, NameServers};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeStatus, ChallengeType, Error, Identifier, Key, NewOrder,
    Order, OrderStatus, RetryPolicy, RevocationReason, RevocationRequest,
};
use rcgen::CertificateParams;
use roost_service::certificates::Choice;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::time::Duration;

const ACCOUNT: &str = "Opening an account at the certificate authority";
const ORDER: &str = "Ordering a certificate";
const PROVE: &str = "Proving that the name is the box's";
const FETCH: &str = "Fetching the certificate";
const REVOKE: &str = "Revoking a certificate";

/// How long the authority may take to look, and to sign.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));

/// An authority, and what is needed to talk to it.
pub struct Authority<'a> {
    /// What was chosen.
    pub choice: &'a Choice,
    /// The way there.
    pub https: Https,
    /// Where challenges are published.
    pub servers: &'a NameServers,
    /// What is kept.
    pub desk: &'a Desk,
}

impl Authority<'_> {
    fn directory(&self) -> String {
        self.choice.directory.url().to_owned()
    }

    /// The account, made if there is none.
    async fn account(&self) -> Result<Account, Fault> {
        let card = |error: std::io::Error| Fault::new(ACCOUNT, fault::chain(&error));
        let kept = self.kept_account().map_err(card)?;
        let key = key(&kept)?;
        let builder = Account::builder_with_http(Box::new(self.https.clone()));
        let told = |error| Fault::acme(ACCOUNT, &error);
        let directory = self.directory();
        let account = match &kept.uri {
            Some(uri) => builder
                .from_parts(uri.clone(), key, directory)
                .await
                .map_err(told)?,
            None => {
                let caa = self.https.caa_identities(&directory).await;
                let pair = Key::from_pkcs8_der(key.clone_key()).map_err(told)?;
                let made = builder.create_from_key((pair, PrivateKeyDer::Pkcs8(key)), directory);
                let (account, _) = made.await.map_err(told)?;
                let uri = Some(account.id().to_owned());
                let account_kept = store::Account {
                    uri,
                    caa,
                    ..kept.clone()
                };
                self.desk.keep_account(account_kept).map_err(card)?;
                account
            }
        };
        if kept.contact != self.choice.contact {
            let contact = self.choice.contact.iter().map(|c| format!("mailto:{c}"));
            let contact: Vec<String> = contact.collect();
            let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
            account.update_contacts(&contact).await.map_err(told)?;
            // What has been kept just now is in it, if the account is new.
            let kept = self.kept_account().map_err(card)?;
            let contact = self.choice.contact.clone();
            let kept = store::Account { contact, ..kept };
            self.desk.keep_account(kept).map_err(card)?;
        }
        Ok(account)
    }

    fn kept_account(&self) -> std::io::Result<store::Account> {
        let directory = self.directory();
        if let Some(account) = self.desk.account(&directory) {
            return Ok(account);
        }
        let (_, key) = Key::generate_pkcs8().map_err(std::io::Error::other)?;
        let key = BASE64_STANDARD.encode(key.secret_pkcs8_der());
        let account = store::Account {
            directory,
            key: key.into(),
            uri: None,
            contact: None,
            caa: Vec::new(),
        };
        self.desk.keep_account(account.clone())?;
        Ok(account)
    }

    /// Gets a certificate: the chain, and the hash of the key that it is for.
    ///
    /// # Errors
    /// Says what failed, on which name. Challenges may be left in the zone; they are in
    /// [`Kept::challenges`].
    pub async fn certificate(&self, wanted: &Wanted) -> Result<(String, String), Fault> {
        let account = self.account().await?;
        let (mut order, key_sha256) = match self.continued(&account, wanted).await {
            Some(order) => order,
            None => self.ordered(&account, wanted).await?,
        };
        if order.state().status == OrderStatus::Pending {
            self.prove(&mut order, wanted).await?;
        }
        let told = |error| Fault::acme(FETCH, &error);
        if order.state().status == OrderStatus::Ready {
            let request = self.request(wanted, &key_sha256)?;
            order.finalize_csr(&request).await.map_err(told)?;
        }
        let chain = order.poll_certificate(&POLL).await.map_err(told)?;
        let wrong = |why| {
            let why = format!("the authority gave something else than was ordered: {why}");
            Fault::new(FETCH, why).hint("Choose another authority if it does so again.")
        };
        let leaf = Leaf::parse(&chain).map_err(wrong)?;
        if leaf.key_sha256 != key_sha256 || !leaf.is_for(&wanted.names()) {
            return Err(wrong("it is for another key, or for other names".into()));
        }
        Ok((chain, key_sha256))
    }

    /// The order that was under way, if it leads somewhere.
    async fn continued(&self, account: &Account, wanted: &Wanted) -> Option<(Order, String)> {
        let kept = self.desk.kept(&wanted.id)?;
        let Pending { url, key_sha256 } = kept.order?;
        kept.keys.find(&key_sha256)?;
        let mut order = account.order(url).await.ok()?;
        if order.state().status == OrderStatus::Invalid {
            return None;
        }
        let mut names = Vec::new();
        let mut identifiers = order.identifiers();
        while let Some(identifier) = identifiers.next().await {
            names.push(identifier.ok()?.to_string());
        }
        let mut ours = wanted.names();
        names.sort_unstable();
        ours.sort_unstable();
        (names == ours).then_some((order, key_sha256))
    }

    /// A new order.
    async fn ordered(&self, account: &Account, wanted: &Wanted) -> Result<(Order, String), Fault> {
        let kept = self.desk.kept(&wanted.id);
        let kept = kept.ok_or_else(|| Fault::new(ORDER, "it is not wanted any more"))?;
        let key_sha256 = match kept.keys.may_switch(crate::now()) {
            Ok(()) => kept.keys.next.sha256.clone(),
            Err(_) => kept.keys.current.sha256.clone(),
        };
        let names: Vec<_> = wanted.names().into_iter().map(Identifier::Dns).collect();
        let plain = || {
            let order = NewOrder::new(&names);
            match &self.choice.profile {
                Some(profile) => order.profile(profile),
                None => order,
            }
        };
        let order = match self.replaced(&kept) {
            Some(old) => match account.new_order(&plain().replaces(old)).await {
                // Not every authority knows this field, and an order is refused that replaces what was
                // replaced already, or came to another account (RFC 9773, section 5). It is a courtesy,
                // no need.
                Err(error) if !is_final(&error) => account.new_order(&plain()).await,
                told => told,
            },
            None => account.new_order(&plain()).await,
        };
        let order = order.map_err(|error| Fault::acme(ORDER, &error))?;
        self.note(&wanted.id, |kept| {
            kept.order = Some(Pending {
                url: order.url().to_owned(),
                key_sha256: key_sha256.clone(),
            });
        })?;
        Ok((order, key_sha256))
    }

    /// The certificate that an order replaces, if this authority gave it.
    fn replaced(&self, kept: &Kept) -> Option<instant_acme::CertificateIdentifier<'static>> {
        let (leaf, _) = kept.leaf()?;
        (kept.directory == self.directory() && leaf.life.until > crate::now())
            .then(|| leaf.identifier())?
    }

    /// Proves all names of an order that are not proven yet.
    async fn prove(&self, order: &mut Order, wanted: &Wanted) -> Result<(), Fault> {
        let challenges = challenges(order, wanted).await?;
        // Before the first is in the zone: whatever happens, they are taken out again.
        self.note(&wanted.id, |kept| kept.will_publish(&challenges))?;
        for challenge in &challenges {
            self.servers.publish(challenge).await?;
        }
        self.servers.have(&challenges).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|e| Fault::acme(PROVE, &e))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = authorization.identifier().to_string();
            if let Some(mut challenge) = authorization.challenge(ChallengeType::Dns01)
                && challenge.status == ChallengeStatus::Pending
            {
                let told = challenge.set_ready().await;
                told.map_err(|e| Fault::acme(PROVE, &e).on(&name))?;
            }
        }
        match order.poll_ready(&POLL).await {
            Ok(OrderStatus::Ready) => Ok(()),
            // The name that failed tells more than the order does.
            Ok(_) => Err(unproven(order)
                .await
                .unwrap_or_else(|| Fault::new(PROVE, "it was refused"))),
            Err(error) => {
                let told = Fault::acme(PROVE, &error);
                Err(unproven(order).await.unwrap_or(told))
            }
        }
    }

    /// A certificate signing request (RFC 2986), DER.
    fn request(&self, wanted: &Wanted, key_sha256: &str) -> Result<Vec<u8>, Fault> {
        let kept = self.desk.kept(&wanted.id);
        let key = kept.as_ref().and_then(|kept| kept.keys.find(key_sha256));
        let key = key.ok_or_else(|| Fault::new(FETCH, "its key is not there any more"))?;
        let made = || {
            let mut params = CertificateParams::new(wanted.names())?;
            params.distinguished_name = rcgen::DistinguishedName::new();
            let request = params.serialize_request(&key.pair()?)?;
            Ok(request.der().to_vec())
        };
        made().map_err(|error: rcgen::Error| Fault::new(FETCH, fault::chain(&error)))
    }

    /// When the authority would have the certificate renewed, and after how many seconds to ask again.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn advice(&self, leaf: &Leaf) -> Result<(Option<Window>, u64), Fault> {
        let Some(identifier) = leaf.identifier() else {
            return Ok((None, DAY));
        };
        let account = self.account().await?;
        match account.renewal_info(&identifier).await {
            Ok((info, again)) => {
                let second = |time: i64| u64::try_from(time).unwrap_or(0);
                let window = Window {
                    start: second(info.suggested_window.start.unix_timestamp()),
                    end: second(info.suggested_window.end.unix_timestamp()),
                };
                Ok((Some(window), again.as_secs()))
            }
            Err(Error::Unsupported(_)) => Ok((None, DAY)),
            Err(error) => Err(Fault::acme("Asking when to renew", &error)),
        }
    }

    /// Revokes a certificate of this account.
    ///
    /// # Errors
    /// Says why not. One that is revoked already is no error.
    pub async fn revoke(&self, leaf: &Leaf, key_compromised: bool) -> Result<(), Fault> {
        let account = self.account().await?;
        let reason = match key_compromised {
            true => RevocationReason::KeyCompromise,
            false => RevocationReason::Superseded,
        };
        let certificate = CertificateDer::from(leaf.der.as_slice());
        let request = RevocationRequest {
            certificate: &certificate,
            reason: Some(reason),
        };
        match account.revoke(&request).await {
            Err(Error::Api(problem)) if is(&problem, &["alreadyRevoked"]) => Ok(()),
            told => told.map_err(|error| Fault::acme(REVOKE, &error)),
        }
    }

    fn note(&self, id: &str, change: impl FnOnce(&mut Kept)) -> Result<(), Fault> {
        let kept = self.desk.change(id, change);
        kept.map_err(|error| {
            let why = format!("the card: {}", fault::chain(&error));
            Fault::new(ORDER, why).hint("Look whether the card is full or broken.")
        })
    }
}

/// What is to be published for an order.
async fn challenges(order: &mut Order, wanted: &Wanted) -> Result<Vec<Challenge>, Fault> {
    let mut challenges = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|e| Fault::acme(PROVE, &e))?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let name = authorization.identifier().to_string();
        let named = wanted.names.iter().find(|named| named.name == name);
        let challenge = authorization.challenge(ChallengeType::Dns01);
        let (Some(named), Some(challenge)) = (named, challenge) else {
            let why = "the authority wants another proof than a record in the zone";
            return Err(Fault::new(PROVE, why)
                .on(&name)
                .hint("Choose another authority."));
        };
        challenges.push(Challenge {
            name,
            zone: named.zone.clone(),
            value: challenge.key_authorization().dns_value(),
        });
    }
    Ok(challenges)
}

/// Which name could not be proven, and why.
async fn unproven(order: &mut Order) -> Option<Fault> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let name = authorization.identifier().to_string();
        let state = authorization.refresh().await.ok()?;
        let problem = state.challenges.iter().find_map(|c| c.error.as_ref());
        if let Some(problem) = problem {
            return Some(Fault::problem(PROVE, problem).on(&name));
        }
    }
    None
}

fn key(account: &store::Account) -> Result<PrivatePkcs8KeyDer<'static>, Fault> {
    let der = BASE64_STANDARD.decode(account.key.as_bytes());
    let der = der.map_err(|_| Fault::new(ACCOUNT, "its key on the card is damaged"))?;
    Ok(PrivatePkcs8KeyDer::from(der))
}

/// Whether another order would be refused as well.
fn is_final(error: &Error) -> bool {
    let last = [
        "rateLimited",
        "accountDoesNotExist",
        "rejectedIdentifier",
        "caa",
        "userActionRequired",
        "invalidProfile",
    ];
    matches!(error, Error::Api(problem) if is(problem, &last))
}

fn is(problem: &instant_acme::Problem, kinds: &[&str]) -> bool {
    let kind = problem
        .r#type
        .as_deref()
        .and_then(|kind| kind.rsplit(':').next());
    kind.is_some_and(|kind| kinds.contains(&kind))
}
