//! The example in docs/bundle-format.md.
