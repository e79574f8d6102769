//! `[network]`: rules that hold between its keys.

use super::fields::{
    NETWORK_ADDRESS, NETWORK_ADDRESS6, NETWORK_DNS, NETWORK_GATEWAY, NETWORK_MODE,
};
use super::read::{Reader, Reason, Report};
use super::schema::AnyField;
use super::values::NetworkMode;
use roost_service::settings::Network;
use std::net::{IpAddr, Ipv4Addr};

/// Reads the table; what is wrong goes into the report.
pub fn read(table: &Reader<'_, '_>, report: &mut Report<'_>) -> Option<Network> {
    let mode = table.get(&NETWORK_MODE, report);
    // All keys are read whatever the mode: their own faults are wanted as well.
    let address = table.get(&NETWORK_ADDRESS, report);
    let gateway = table.get(&NETWORK_GATEWAY, report);
    let dns = table.get(&NETWORK_DNS, report);
    let address6 = table.get(&NETWORK_ADDRESS6, report);
    match mode? {
        NetworkMode::Dhcp => {
            let fixed: [&dyn AnyField; 4] = [
                &NETWORK_ADDRESS,
                &NETWORK_GATEWAY,
                &NETWORK_DNS,
                &NETWORK_ADDRESS6,
            ];
            for field in fixed {
                if let Some(span) = table.span(field) {
                    report.add(
                        span,
                        Reason::new(format!(
                            "`{}` has no effect with mode \"dhcp\"",
                            field.key()
                        ))
                        .hint("set  mode = \"static\"  or remove this line"),
                    );
                }
            }
            Some(Network::Dhcp)
        }
        NetworkMode::Static => {
            let needed: [&dyn AnyField; 2] = [&NETWORK_ADDRESS, &NETWORK_GATEWAY];
            for field in needed {
                if table.span(field).is_none() {
                    let hint = format!("add a line like  {} = {}", field.key(), field.example());
                    table.missing(field, ", which mode \"static\" needs", &hint, report);
                }
            }
            let ((address, prefix), gateway) = (address?, gateway?);
            let span = table.span(&NETWORK_GATEWAY)?;
            if let Err(reason) = fits(address, prefix, gateway) {
                report.add(span, reason);
                return None;
            }
            Some(Network::Static {
                address,
                prefix,
                gateway,
                dns: dns.unwrap_or_else(|| vec![IpAddr::V4(gateway)]),
                address6,
            })
        }
    }
}

/// Whether a box with this address can reach that gateway.
///
/// # Errors
///
/// Why it cannot.
pub fn fits(address: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> Result<(), Reason> {
    let mask = u32::MAX << (32 - u32::from(prefix));
    if (address.to_bits() ^ gateway.to_bits()) & mask != 0 {
        let net = Ipv4Addr::from_bits(address.to_bits() & mask);
        return Err(Reason::new(format!(
            "the gateway {gateway} is outside the box's network {net}/{prefix}"
        ))
        .hint(
            "the router's address on the home network belongs here; or the prefix length is wrong",
        ));
    }
    if address == gateway {
        return Err(Reason::new(format!("{gateway} is the box's own address"))
            .hint("give the router's address"));
    }
    Ok(())
}
