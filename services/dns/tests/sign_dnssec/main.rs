//! Tests of the signing of zones.
//!
//! `tools` holds what we sign against the verifiers of BIND, ldns and Knot:
//! `apt-get install bind9-utils ldnsutils knot-dnssecutils`.

mod keys;
mod rollover;
mod small;
mod time_travel;
mod tools;
mod zone;
mod zones;
