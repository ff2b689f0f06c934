//! Who listens: read from the kernel's tables, so that no app ever sees a probe of ours.

use std::fs;

/// State `LISTEN` in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Whether anything in the pod listens on `port`.
pub(crate) fn is_listening(port: u16) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .any(|table| fs::read_to_string(table).is_ok_and(|text| listens(&text, port)))
}

fn listens(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().and_then(|address| address.rsplit_once(':'));
        let state = columns.nth(1);
        state == Some(LISTEN)
            && local.is_some_and(|(_, text)| u16::from_str_radix(text, 16) == Ok(port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n\
        0: 0100007F:2777 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65532 0 21 1 0 100 0 0 10 0\n\
        1: 0100007F:2775 0100007F:9C40 01 00000000:00000000 00:00000000 00000000 65532 0 22 1 0 20 4 30 10 -1\n\
        2: 00000000000000000000000000000000:2776 00000000000000000000000000000000:0000 0A 0 0 0 0 0 0\n";

    #[test]
    fn only_listening_sockets_count() {
        let cases = [
            ("an app on the loopback interface", 10103, true),
            ("a connection from the port", 10101, false),
            ("the launcher on IPv6", 10102, true),
            ("nobody", 8501, false),
        ];
        for (name, port, expected) in cases {
            assert_eq!(listens(TABLE, port), expected, "{name}");
        }
    }
}
