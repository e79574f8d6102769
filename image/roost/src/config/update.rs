//! `[update]`: rules that hold between its keys.

use super::Update;
use super::fields::{UPDATE_KEYS, UPDATE_URL, UPDATE_WINDOW};
use super::read::{Reader, Reason, Report};
use super::schema::AnyField;

/// Reads the table; what is wrong goes into the report.
pub fn read(table: &Reader<'_, '_>, report: &mut Report<'_>) -> Option<Update> {
    let keys = table.get(&UPDATE_KEYS, report);
    let url = table.get(&UPDATE_URL, report);
    let window = table.get(&UPDATE_WINDOW, report);
    let mut idle = |field: &dyn AnyField, without: &dyn AnyField, hint: &str| {
        let (Some(span), None) = (table.span(field), table.span(without)) else {
            return;
        };
        let message = format!(
            "`{}` has no effect without `{}`",
            field.key(),
            without.key()
        );
        report.add(span, Reason::new(message).hint(hint));
    };
    idle(
        &UPDATE_URL,
        &UPDATE_KEYS,
        "add `keys`: a box without them installs nothing from anywhere",
    );
    idle(
        &UPDATE_WINDOW,
        &UPDATE_URL,
        "add `url`, or remove this line",
    );
    Some(Update {
        keys: keys.unwrap_or_default(),
        url,
        window,
    })
}
