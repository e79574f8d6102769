//! The pages over real sockets and real TLS, as a browser and as somebody who is none.

mod authenticator;
mod browser;
mod certificates;
mod dns;
mod doors;
mod forwarded;
mod health;
mod mail;
mod pages;
mod passkeys;
#[path = "../played/certificates.rs"]
mod played_certificates;
#[expect(dead_code, reason = "the tests of the API have it say more")]
#[path = "../played/dns.rs"]
mod played_dns;
#[path = "../played/mail.rs"]
mod played_mail;
#[path = "../played/tunnel.rs"]
mod played_tunnel;
#[path = "../played/zones.rs"]
mod played_zones;
mod relay;
mod strangers;
mod sts;
mod the_box;
mod upload;
