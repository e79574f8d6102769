//! The portal: the pages that the owner sees in a browser, and what they remember.

pub mod store;
