//! Why something failed, in words for the owner.

use instant_acme::{Error, Problem};

/// Why something failed, on which name, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What was to be done.
    pub what: &'static str,
    /// For which name, if it was one.
    pub name: Option<String>,
    /// Why not.
    pub why: String,
    /// What to do about it.
    pub hint: String,
    /// What the program does about it.
    pub remedy: Remedy,
}

/// What the program does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It waits before it tries again.
    Wait,
    /// It goes on at once: a nonce was used up, which is everyday life (RFC 8555, section 6.5).
    Repeat,
    /// The authority does not know the account any more: it is made again, with the same key.
    SameAccount,
    /// The account is closed for good: another is made, with another key (RFC 8555, section 7.3.6).
    OtherAccount,
}

const WAIT: &str = "There is nothing to do: it is tried again by itself.";

impl Fault {
    /// One that mends itself, as far as is known.
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self {
            what,
            name: None,
            why: why.into(),
            hint: WAIT.into(),
            remedy: Remedy::Wait,
        }
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// On this name.
    #[must_use]
    pub fn on(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What the authority, or the way to it, has said.
    pub fn acme(what: &'static str, error: &Error) -> Self {
        match error {
            Error::Api(problem) => Self::problem(what, problem),
            Error::Timeout(_) => Self::new(what, "the certificate authority was not done in time"),
            Error::Json(_) => Self::new(
                what,
                "the certificate authority's answer is none of the ACME protocol",
            )
            .hint("Check the directory's address: it has to be that of an ACME directory."),
            other => {
                let why = format!(
                    "the certificate authority cannot be reached ({})",
                    root(other)
                );
                Self::new(what, why).hint(
                    "Check that the box reaches the internet, and the directory's address. It is tried \
                     again by itself.",
                )
            }
        }
    }

    /// What the authority has said (RFC 8555, section 6.7).
    pub fn problem(what: &'static str, problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.rsplit(':').next().unwrap_or_default();
        let detail = problem.detail.as_deref().unwrap_or("no reason given");
        let mut why = format!("the certificate authority says: {detail}");
        let mut name = None;
        for sub in &problem.subproblems {
            let whose = sub.identifier.as_ref();
            name = name.or_else(|| whose.map(|i| i.authorized(false).to_string()));
            if let Some(detail) = &sub.detail {
                why.push_str("; ");
                why.push_str(detail);
            }
        }
        let mut fault = Self::new(what, bounded(&why)).hint(hint(kind));
        fault.name = name;
        fault.remedy = match kind {
            "badNonce" => Remedy::Repeat,
            "accountDoesNotExist" => Remedy::SameAccount,
            "unauthorized" if detail.to_ascii_lowercase().contains("deactivated") => {
                Remedy::OtherAccount
            }
            _ => Remedy::Wait,
        };
        match fault.remedy {
            Remedy::Wait | Remedy::Repeat => fault,
            _ => fault.hint("There is nothing to do: another account is made by itself."),
        }
    }
}

/// What to do about a problem of this type.
fn hint(kind: &str) -> &'static str {
    match kind {
        "rateLimited" => {
            "There is nothing to do: the authority has limits, and is left alone for as long as it says."
        }
        "caa" => {
            "Look at the domain's CAA records: they name who may give certificates, and for which account."
        }
        "dns" | "connection" | "unauthorized" | "incorrectResponse" => {
            "Check that the domain is delegated to this box, and that its name servers answer from the \
             internet."
        }
        "rejectedIdentifier" => {
            "This authority gives no certificate for this name. Choose another name, or another authority."
        }
        "userActionRequired" => {
            "The authority has new terms. Read them and agree to them once more."
        }
        "externalAccountRequired" => {
            "This authority wants a customer number, which the box cannot give. Choose another authority."
        }
        "invalidContact" | "unsupportedContact" => "Choose another contact address, or none.",
        "invalidProfile" => "This authority has no such profile. Choose another, or none.",
        _ => WAIT,
    }
}

/// An error and what is behind it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    bounded(&text)
}

/// What is behind an error and all around it.
fn root(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => root(source),
        None => bounded(&error.to_string()),
    }
}

/// Longest reason, in bytes. It is twice in the status of each certificate, and the whole status is one
/// line of [`roost_service::certificates::MAX_LINE`].
pub const MAX_WHY: usize = 300;

/// What others say may be long and strange.
fn bounded(text: &str) -> String {
    let mut text = text.replace(char::is_control, " ");
    text.truncate(text.floor_char_boundary(MAX_WHY));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> Fault {
        Fault::problem(
            "Ordering a certificate",
            &serde_json::from_str(json).unwrap(),
        )
    }

    #[test]
    fn a_problem_in_plain_words() {
        let texts = [
            r#"{"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids", "subproblems":
                [{"type": "x", "detail": "CAA record for a.example", "identifier": {"type": "dns", "value": "a.example"}}]}"#,
            r#"{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}"#,
            r#"{"type": "urn:ietf:params:acme:error:unauthorized", "detail": "Account has been deactivated"}"#,
            r#"{"type": "urn:ietf:params:acme:error:accountDoesNotExist", "detail": "no such account"}"#,
            r#"{}"#,
        ];
        let faults = texts.map(|text| {
            let f = fault(text);
            format!(
                "{} [{}]: {}. {} ({:?})",
                f.what,
                f.name.unwrap_or_default(),
                f.why,
                f.hint,
                f.remedy
            )
        });
        insta::assert_snapshot!(faults.join("\n"), @"
        Ordering a certificate [a.example]: the certificate authority says: CAA forbids; CAA record for a.example. Look at the domain's CAA records: they name who may give certificates, and for which account. (Wait)
        Ordering a certificate []: the certificate authority says: too many. There is nothing to do: the authority has limits, and is left alone for as long as it says. (Wait)
        Ordering a certificate []: the certificate authority says: Account has been deactivated. There is nothing to do: another account is made by itself. (OtherAccount)
        Ordering a certificate []: the certificate authority says: no such account. There is nothing to do: another account is made by itself. (SameAccount)
        Ordering a certificate []: the certificate authority says: no reason given. There is nothing to do: it is tried again by itself. (Wait)
        ");
    }

    #[test]
    fn no_answer_is_endless() {
        let long = "x\u{1b}".repeat(10_000);
        let problem = serde_json::json!({ "detail": long }).to_string();
        let why = fault(&problem).why;
        assert!(why.len() <= MAX_WHY && !why.contains('\u{1b}'));
    }
}
