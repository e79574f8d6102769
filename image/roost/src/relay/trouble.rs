//! What Terraform and AWS complain of, and what to do about it.

use crate::error::Failure;
use serde::Deserialize;

/// A complaint (Terraform documentation, "Machine-Readable UI", diagnostics).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Diagnostic {
    severity: String,
    summary: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    address: Option<String>,
}

impl Diagnostic {
    /// The same with other texts.
    pub fn map(self, change: impl Fn(&str) -> String) -> Self {
        Self {
            severity: self.severity,
            summary: change(&self.summary),
            detail: change(&self.detail),
            address: self.address,
        }
    }

    /// Whether it is what the command failed of.
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }

    /// Whether it is about something that is done here on purpose: one part is made before the rest.
    pub fn is_expected(&self) -> bool {
        self.summary == "Resource targeting is in effect"
            || self.summary == "Applied changes may be incomplete"
    }

    /// All that it says, without empty parts and line breaks.
    pub fn text(&self) -> String {
        let mut text = one_line(&self.summary);
        let detail = one_line(&self.detail);
        if !detail.is_empty() && !text.contains(&detail) {
            text = format!("{}: {detail}", text.trim_end_matches(['.', ':']));
        }
        match &self.address {
            Some(address) => format!("{text} ({})", address.trim_start_matches("module.relay.")),
            None => text,
        }
    }
}

fn one_line(text: &str) -> String {
    // Terraform draws a frame around what it says to people.
    let plain = text.replace(['│', '╷', '╵'], " ");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Causes that people meet, by words of AWS and Terraform.
struct Known {
    /// Any of these is said.
    said: &'static [&'static str],
    /// What is wrong.
    what: &'static str,
    /// What to do.
    hint: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        said: &[
            "No valid credential sources found",
            "failed to refresh cached credentials",
            "no EC2 IMDS role found",
            "SharedConfigProfileNotExist",
            "failed to get shared config profile",
        ],
        what: "there are no AWS credentials here",
        hint: "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `aws configure` or `aws sso login` makes them",
    },
    Known {
        said: &[
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "AuthFailure",
            "SignatureDoesNotMatch",
            "InvalidAccessKeyId",
            "InvalidSignatureException",
        ],
        what: "AWS does not know these credentials",
        hint: "look at AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: they may be mistyped, deleted or another account's",
    },
    Known {
        said: &[
            "ExpiredToken",
            "RequestExpired",
            "token has expired",
            "TokenRefreshRequired",
        ],
        what: "the AWS credentials have run out, or this computer's clock is wrong",
        hint: "log in again (`aws sso login`), and look at the clock",
    },
    Known {
        said: &[
            "invalid AWS Region",
            "Invalid AWS Region",
            "Missing region configuration",
            "Invalid region value",
            "invalid region",
        ],
        what: "it is not said in which AWS region the relay shall stand, or there is no such region",
        hint: "write  region = \"eu-central-1\"  under [relay] in roost.toml; AWS's console lists the regions",
    },
    Known {
        said: &[
            "OptInRequired",
            "not subscribed to this service",
            "PendingVerification",
        ],
        what: "this AWS account may not use EC2 in this region yet",
        hint: "finish signing up (payment method, phone number), or switch the region on in the console under Account; AWS may need some hours",
    },
    Known {
        said: &["AddressLimitExceeded"],
        what: "this account has no Elastic IP left in this region (five are usual)",
        hint: "release one that is not used (console: EC2, Elastic IPs), use it as `elastic_ip` in roost.toml, or ask for more (Service Quotas: EC2-VPC Elastic IPs)",
    },
    Known {
        said: &["VpcLimitExceeded", "InternetGatewayLimitExceeded"],
        what: "this account has no VPC left in this region (five are usual)",
        hint: "remove one that is not used (console: VPC), take another region, or ask for more (Service Quotas: VPCs per Region)",
    },
    Known {
        said: &["VcpuLimitExceeded"],
        what: "this account may not run another instance of this kind in this region",
        hint: "ask for more (Service Quotas: Running On-Demand Standard instances); new accounts begin with few",
    },
    Known {
        said: &[
            "InsufficientInstanceCapacity",
            "Unsupported: Your requested instance type",
        ],
        what: "AWS has no such machine free there now",
        hint: "run the same command again in a while, or set another `instance_type` or `region` in roost.toml",
    },
    Known {
        said: &[
            "UnauthorizedOperation",
            "AccessDenied",
            "is not authorized to perform",
        ],
        what: "these credentials may not do that",
        hint: "use a user or role with rights for EC2, VPC, IAM roles, SSM parameters, CloudWatch alarms and Budgets",
    },
    Known {
        said: &["InvalidAllocationID", "InvalidAddress.NotFound"],
        what: "there is no such Elastic IP in this region",
        hint: "look at `elastic_ip` and `region` in roost.toml",
    },
    Known {
        said: &["Error acquiring the state lock"],
        what: "another command works on this relay",
        hint: "wait for it; if there is none, `terraform force-unlock` in the folder `relay`",
    },
    Known {
        said: &[
            "Failed to query available provider packages",
            "registry.terraform.io",
            "Failed to install provider",
        ],
        what: "the AWS provider cannot be fetched from registry.terraform.io",
        hint: "check the network and run the same command again",
    },
    Known {
        said: &[
            "no such host",
            "dial tcp",
            "connection refused",
            "i/o timeout",
            "request send failed",
        ],
        what: "AWS cannot be reached",
        hint: "check the network, and `region` in roost.toml",
    },
];

/// The failure for complaints, of which there is at least one.
pub fn of(what: &str, errors: &[Diagnostic]) -> Failure {
    let words = (errors.iter().map(Diagnostic::text)).collect::<Vec<_>>();
    // One cause often has many effects.
    let mut told: Vec<&str> = Vec::new();
    for word in &words {
        if !told.contains(&word.as_str()) {
            told.push(word);
        }
    }
    of_words(what, &told.join("\n"))
}

/// The failure for what was said in plain words.
pub fn of_words(what: &str, words: &str) -> Failure {
    let known = KNOWN
        .iter()
        .find(|known| known.said.iter().any(|said| words.contains(said)));
    let words = match words {
        "" => "terraform failed and gave no reason".to_owned(),
        words => words.to_owned(),
    };
    match known {
        Some(known) => Failure::new(format!("{what}: {}", known.what))
            .because(words)
            .hint(known.hint),
        None => Failure::new(what).because(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn complaint(summary: &str, detail: &str, address: Option<&str>) -> Diagnostic {
        Diagnostic {
            severity: "error".into(),
            summary: summary.into(),
            detail: detail.into(),
            address: address.map(str::to_owned),
        }
    }

    #[test]
    fn what_people_meet_is_explained() {
        let eip = Some("module.relay.aws_eip.this[0]");
        let met = [
            complaint(
                "No valid credential sources found",
                "Please see https://registry.terraform.io/providers/hashicorp/aws\nfor more information.\n\nError: failed to refresh cached credentials, no EC2 IMDS role found",
                None,
            ),
            complaint(
                "creating EC2 EIP: operation error EC2: AllocateAddress, https response error StatusCode: 400, api error AddressLimitExceeded: The maximum number of addresses has been reached.",
                "",
                eip,
            ),
            complaint(
                "reading SSM Parameter: operation error SSM: GetParameter, https response error StatusCode: 400, api error UnrecognizedClientException: The security token included in the request is invalid.",
                "",
                None,
            ),
            complaint("invalid AWS Region: eu-centrall-1", "", None),
            complaint(
                "creating EC2 VPC: operation error EC2: CreateVpc, https response error StatusCode: 400, api error VpcLimitExceeded: The maximum number of VPCs has been reached.",
                "",
                Some("module.relay.aws_vpc.this"),
            ),
            complaint(
                "Invalid value for variable",
                "name must have 1 to 20 small letters.",
                None,
            ),
        ];
        let mut text = String::new();
        for one in met {
            let failure = of("cannot make the relay", &[one.clone(), one]);
            let _ = writeln!(text, "{}", failure.render());
        }
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn silence_is_told_as_such() {
        assert_eq!(
            of_words("cannot", "").causes(),
            ["terraform failed and gave no reason"]
        );
    }
}
