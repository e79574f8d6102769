//! Which hashes of passwords are taken from the portal.
//!
//! Only whole ones, of two kinds that the mail server checks, and only such as a log-in
//! can check on a small board: several come at once.

use roost_service::names::Reason;

/// Longest hash, in bytes; real ones have a hundred.
const MAX: usize = 256;
/// Most memory that a check may take, in KiB.
const MAX_MEMORY_KIB: u32 = 64 << 10;
/// Most rounds of Argon2.
const MAX_PASSES: u32 = 10;
/// Most threads of Argon2, which the mail server runs one after the other.
const MAX_LANES: u32 = 4;
/// Most rounds of SHA-crypt: some seconds on a Pi 3.
const MAX_ROUNDS: u32 = 1_000_000;

/// Checks a hash.
///
/// # Errors
/// Says what is wrong with it, but never repeats it: it may be a password.
pub fn check(hash: &str) -> Result<&str, Reason> {
    let wrong = |message: &str| Err(Reason::new(message.to_owned()));
    if hash.len() > MAX {
        return wrong("the password's hash is too long");
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || "./+=,-$".contains(c);
    if !hash.chars().all(fine) {
        return wrong("the password came in a form that is no hash");
    }
    let parts: Vec<&str> = hash.split('$').collect();
    match parts[..] {
        ["", "argon2id", "v=19", costs, salt, end] if salt.len() >= 11 && end.len() >= 22 => {
            argon2_costs(costs)
        }
        ["", "6", salt, end] if !salt.is_empty() && end.len() == 86 => Ok(()),
        ["", "6", rounds, salt, end] if !salt.is_empty() && end.len() == 86 => {
            match number(rounds, "rounds=") {
                Some(1_000..=MAX_ROUNDS) => Ok(()),
                _ => Err("the password's hash takes too long to check"),
            }
        }
        _ => Err("the password came in a form that is no hash"),
    }
    .map_or_else(wrong, |()| Ok(hash))
}

fn argon2_costs(costs: &str) -> Result<(), &'static str> {
    let costs: Vec<&str> = costs.split(',').collect();
    let [memory, passes, lanes] = costs[..] else {
        return Err("the password's hash is damaged");
    };
    match (
        number(memory, "m="),
        number(passes, "t="),
        number(lanes, "p="),
    ) {
        (Some(8..=MAX_MEMORY_KIB), Some(1..=MAX_PASSES), Some(1..=MAX_LANES)) => Ok(()),
        (Some(_), Some(_), Some(_)) => Err("the password's hash takes too long to check"),
        _ => Err("the password's hash is damaged"),
    }
}

fn number(text: &str, prefix: &str) -> Option<u32> {
    let digits = text.strip_prefix(prefix)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_hashes_are_taken() {
        let sha = format!("$6$saltsalt${}", "a".repeat(86));
        let rounds = format!("$6$rounds=5000$saltsalt${}", "a".repeat(86));
        for good in [
            "$argon2id$v=19$m=7168,t=5,p=1$sP0hhfCNbADYmlNNCISjqA$8AM/OVk0PYDzl3fwtCIYiNcCdZq0ye2N5v1uMHFlgfQ",
            &sha,
            &rounds,
        ] {
            assert_eq!(check(good).unwrap(), good);
        }
    }

    #[test]
    fn what_a_board_cannot_check_or_is_no_hash_is_refused_and_not_repeated() {
        let salted = "$sP0hhfCNbADYmlNNCISjqA$8AM/OVk0PYDzl3fwtCIYiNcCdZq0ye2N5v1uMHFlgfQ";
        let argon2 = |costs: &str| format!("$argon2id$v=19${costs}{salted}");
        let slow_sha = format!("$6$rounds=99999999$salt${}", "a".repeat(86));
        for bad in [
            "",
            "correct horse battery staple",
            "hunter2",
            "{PLAIN}hunter2",
            "$app$x$y",
            "otpauth://totp/x",
            "$1$salt$hash",
            "$6$salt$short",
            "$argon2id$v=19$m=7168,t=5,p=1$sP0hhfCNbADYmlNNCISjqA",
            &argon2("m=1048576,t=5,p=1"),
            &argon2("m=7168,t=500,p=1"),
            &argon2("m=7168,t=5,p=64"),
            &argon2("m=7168,t=5"),
            &argon2("m=+7168,t=5,p=1"),
            &slow_sha,
            &"a".repeat(300),
        ] {
            let refused = check(bad).unwrap_err();
            assert!(bad.is_empty() || !refused.message.contains(bad), "{bad}");
        }
    }
}
