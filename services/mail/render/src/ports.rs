//! Whether the kernel listens on what was asked for.
//!
//! Stalwart logs a failed `listen` and carries on; readiness must not.

use std::collections::BTreeSet;

/// State `TCP_LISTEN` in `/proc/net/tcp` and `tcp6` (proc(5)).
const LISTEN: &str = "0A";

/// Ports in the listening state, from the texts of `/proc/net/tcp` and `/proc/net/tcp6`.
pub fn listening(tables: &[&str]) -> BTreeSet<u16> {
    tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next()?;
            let state = fields.nth(1)?;
            let (_, port) = local.rsplit_once(':')?;
            (state == LISTEN)
                .then(|| u16::from_str_radix(port, 16).ok())
                .flatten()
        })
        .collect()
}

/// Ports of `wanted` that nobody listens on.
pub fn missing(tables: &[&str], wanted: impl IntoIterator<Item = u16>) -> Vec<u16> {
    let listening = listening(tables);
    wanted
        .into_iter()
        .filter(|port| !listening.contains(port))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0019 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   800        0 1 1 0 100 0 0 10 0
   1: 00000000000000000000000000000000:03E1 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   800        0 2 1 0 100 0 0 10 0
   2: 00000000000000000000000001000000:01BB 00000000000000000000000001000000:D431 01 00000000:00000000 00:00000000 00000000   800        0 3 1 0 20 4 30 10 -1
";

    const TABLE4: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   800        0 4 1 0 100 0 0 10 0
   1: 0100007F:0016 0100007F:D431 01 00000000:00000000 00:00000000 00000000   800        0 5 1 0 20 4 30 10 -1
";

    #[test]
    fn only_the_listening_state_counts() {
        assert_eq!(listening(&[TABLE4, TABLE]), BTreeSet::from([25, 993, 8080]));
        assert_eq!(missing(&[TABLE4, TABLE], [25, 443, 993, 8080]), [443]);
        assert_eq!(missing(&[TABLE], [8080]), [8080]);
    }

    #[test]
    fn nonsense_is_no_port() {
        assert!(listening(&[""]).is_empty());
        assert!(listening(&["a\nb c\nd e:zz f 0A\n"]).is_empty());
    }
}
