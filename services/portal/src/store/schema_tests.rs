//! Made-up schemas before and after the present one.

use super::*;
use crate::store::{DataFolder, FILE, OpenError, Store};
use redb::{ReadableDatabase, TableHandle};
use std::path::Path;

/// Schema 1 had names only, schema 2 has them under "name/", schema 3 a count of them.
fn under_name(change: &WriteTransaction) -> Result<(), StoreError> {
    let mut table = change.open_table(SINGLE).map_err(redb::Error::from)?;
    let value = table.remove(&b"anna"[..]).map_err(redb::Error::from)?;
    let value = value
        .map(|value| value.value().to_vec())
        .unwrap_or_default();
    table
        .insert(&b"name/anna"[..], &value[..])
        .map_err(redb::Error::from)?;
    Ok(())
}

fn count(change: &WriteTransaction) -> Result<(), StoreError> {
    let mut table = change.open_table(SINGLE).map_err(redb::Error::from)?;
    table
        .insert(&b"count"[..], &b"1"[..])
        .map_err(redb::Error::from)?;
    Ok(())
}

fn fails(_: &WriteTransaction) -> Result<(), StoreError> {
    Err(StoreError::Damaged("a record of schema 2".into()))
}

/// A store of schema 1 with one record.
fn old(folder: &Path) -> Database {
    let db = Database::create(folder.join(FILE)).unwrap();
    let change = begin(&db).unwrap();
    let mut table = change.open_table(SINGLE).unwrap();
    table.insert(&b"anna"[..], &b"1"[..]).unwrap();
    drop(table);
    set(&change, 1).unwrap();
    change.commit().unwrap();
    db
}

fn keys(db: &Database) -> Vec<String> {
    let view = db.begin_read().unwrap();
    let table = view.open_table(SINGLE).unwrap();
    let rows = redb::ReadableTable::iter(&table).unwrap();
    rows.map(|row| String::from_utf8(row.unwrap().0.value().to_vec()).unwrap())
        .collect()
}

#[test]
fn an_older_store_goes_through_every_step_once() {
    let folder = tempfile::tempdir().unwrap();
    let db = old(folder.path());
    bring_up(&db, &[]).unwrap();
    assert_eq!(keys(&db), ["anna"]);
    bring_up(&db, &[under_name]).unwrap();
    assert_eq!(
        (get(&db).unwrap(), keys(&db)),
        (2, vec!["name/anna".into()])
    );
    // The first step is not done again.
    bring_up(&db, &[fails, count]).unwrap();
    assert_eq!(get(&db).unwrap(), 3);
    assert_eq!(keys(&db), ["count", "name/anna"]);
}

#[test]
fn a_step_that_fails_undoes_those_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let db = old(folder.path());
    let error = bring_up(&db, &[under_name, fails]).unwrap_err();
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    assert_eq!((get(&db).unwrap(), keys(&db)), (1, vec!["anna".into()]));
}

#[test]
fn a_newer_store_is_refused_in_words_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(&DataFolder(folder.path().into())).unwrap());
    let db = Database::open(folder.path().join(FILE)).unwrap();
    let change = begin(&db).unwrap();
    set(&change, 7).unwrap();
    change.commit().unwrap();
    drop(db);
    let error = Store::open(&DataFolder(folder.path().into())).unwrap_err();
    insta::assert_snapshot!(
        format!("{error}\n{}", error.hint()),
        @r"
    the portal's store (portal.redb) has schema 7, but this version reads up to 1
    The box went back to an older version. Install the newer one again with `roost update`.
    "
    );
    let db = Database::open(folder.path().join(FILE)).unwrap();
    assert_eq!(get(&db).unwrap(), 7);
}

#[test]
fn a_database_without_a_schema_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    drop(Database::create(folder.path().join(FILE)).unwrap());
    let error = Store::open(&DataFolder(folder.path().into())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the portal's store (portal.redb) is damaged: it does not say which schema it has"
    );
}

/// Tables keep their names: another name is another, empty table.
#[test]
fn the_tables_have_the_names_of_schema_1() {
    let names = [META, SINGLE, LAPTOPS, PASSKEYS, AUDIT].map(|table| table.name().to_owned());
    assert_eq!(names, ["meta", "single", "laptops", "passkeys", "audit"]);
}
