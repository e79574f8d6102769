//! Serves master files, for tests and benchmarks:
//!
//!     serve 127.0.0.1:5300 example.org=example.org.signed [more=zones ...]
//!
//! `named-compilezone` reads them. Rates are not limited.

#[path = "../tests/serve_support/zone.rs"]
mod zone;

use roost_dns::serve::{Limits, Options, listen};
use std::net::SocketAddr;
use std::sync::Arc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: serve ADDRESS:PORT ZONE=FILE [ZONE=FILE ...]";
    let address: SocketAddr = arguments.next().ok_or(anyhow::anyhow!(usage))?.parse()?;
    let limits = Limits {
        rate: 0,
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    for argument in arguments {
        let (origin, file) = argument.split_once('=').ok_or(anyhow::anyhow!(usage))?;
        let signed = zone::load(&format!("{}.", origin.trim_end_matches('.')), file.as_ref());
        println!(
            "{origin}: serial {}, {} records",
            signed.serial,
            signed.records.len()
        );
        options.zones.publish(Arc::new(signed))?;
    }
    let server = listen(&[address], options)
        .await
        .map_err(|(address, error)| anyhow::anyhow!("{address} cannot be served: {error}"))?;
    println!("serving on {:?}", server.addresses());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
