use super::*;
use crate::password::NewPassword;
use crate::second::{Pending, RECOVERY_BYTES};

const PASSWORD: &str = "trout-lamp-river";
const NOW: Option<Wall> = Some(Wall(59));
/// RFC 6238 appendix B: the code at 59 s, and the one a step later.
const FIRST: &str = "287082";

fn owner() -> Owner {
    Owner::new(NewPassword::choose(PASSWORD, &[]).unwrap().hash([1; 16]))
}

fn just_signed_in() -> Authenticated {
    Authenticated::new(SignedInBy::Password)
}

fn with_app() -> (Owner, String) {
    let pending = Pending::begin(*b"12345678901234567890", NOW).unwrap();
    let (factor, codes) = pending.confirm(FIRST, [5; RECOVERY_BYTES], NOW).unwrap();
    let owner = owner().with_second(just_signed_in(), Some(factor));
    (owner, codes[0].reveal().to_string())
}

#[test]
fn the_password_alone_signs_in_where_there_is_no_app() {
    let owner = owner();
    match check_password(Some(&owner), PASSWORD) {
        Ok(Next::SignedIn(by)) => assert_eq!(by.by(), SignedInBy::Password),
        other => panic!("{other:?}"),
    }
    for wrong in ["", "trout-lamp-rives", "trout-lamp-river "] {
        assert!(check_password(Some(&owner), wrong).is_err());
    }
    insta::assert_snapshot!(WrongPassword, @"the password is not right");
    assert!(check_password(None, PASSWORD).is_err());
}

#[test]
fn with_an_app_the_password_is_not_enough() {
    let (owner, recovery) = with_app();
    assert_eq!(owner.second().unwrap().recovery_left(), 8);
    let right = |owner: &Owner| match check_password(Some(owner), PASSWORD) {
        Ok(Next::Second(right)) => right,
        other => panic!("{other:?}"),
    };
    let step = right(&owner);
    let (owner, answer) = owner.check_second(step, "", NOW).kept();
    assert_eq!(answer.unwrap_err(), Refused::Missing);
    let step = right(&owner);
    let (owner, answer) = owner.check_second(step, &recovery, None).kept();
    assert_eq!(answer.unwrap().by(), SignedInBy::Recovery);
    // Code and password are wrong together: it is the password that is told.
    assert!(check_password(Some(&owner), "trout-lamp-rives").is_err());
    let owner = owner.with_second(just_signed_in(), None);
    assert!(matches!(
        check_password(Some(&owner), PASSWORD),
        Ok(Next::SignedIn(_))
    ));
}

#[test]
fn the_owner_comes_back_from_the_store_and_changes_the_password() {
    let (owner, _) = with_app();
    let json = serde_json::to_string(&owner).unwrap();
    assert!(!json.contains(PASSWORD));
    let owner: Owner = serde_json::from_str(&json).unwrap();
    let new = NewPassword::choose("lamp-river-trout", &[]).unwrap();
    let owner = owner.with_password(just_signed_in(), new.hash([2; 16]));
    assert!(check_password(Some(&owner), PASSWORD).is_err());
    assert!(check_password(Some(&owner), "lamp-river-trout").is_ok());
    assert!(owner.second().is_some());
    assert!(!format!("{owner:?}").contains("argon2"));
}
