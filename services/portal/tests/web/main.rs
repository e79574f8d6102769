//! The pages over real sockets and real TLS, as a browser and as somebody who is none.

mod browser;
mod doors;
mod forwarded;
mod mail;
mod pages;
#[path = "../played/mail.rs"]
mod played_mail;
mod strangers;
mod the_box;
mod upload;
