//! Who listens, and who waits to be let in: read from the kernel's tables, so that no app ever sees a probe of ours.

use std::fs;

/// States in `/proc/net/tcp`.
const LISTEN: &str = "0A";
const ESTABLISHED: &str = "01";
const CLOSE_WAIT: &str = "08";

/// The inode of a socket that no process has, such as one that nobody has accepted yet.
const NOBODY: &str = "0";

/// Whether anything in the pod listens on `port`.
pub(crate) fn is_listening(port: u16) -> bool {
    tables().any(|table| listens(&table, port))
}

/// Whoever has connected to `port` and was not let in yet, by their addresses as the kernel writes them.
pub(crate) fn waiting(port: u16) -> Vec<String> {
    tables()
        .flat_map(|table| not_accepted(&table, port))
        .collect()
}

fn tables() -> impl Iterator<Item = String> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
}

/// One line of a table.
struct Row<'a> {
    port: Option<u16>,
    remote: &'a str,
    state: &'a str,
    inode: &'a str,
}

fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (_, port) = columns.next()?.rsplit_once(':')?;
        Some(Row {
            port: u16::from_str_radix(port, 16).ok(),
            remote: columns.next()?,
            state: columns.next()?,
            inode: columns.nth(5).unwrap_or_default(),
        })
    })
}

fn listens(table: &str, port: u16) -> bool {
    rows(table).any(|row| row.state == LISTEN && row.port == Some(port))
}

fn not_accepted(table: &str, port: u16) -> Vec<String> {
    rows(table)
        .filter(|row| {
            row.port == Some(port)
                && row.inode == NOBODY
                // One who has given up waiting still stands in the queue.
                && [ESTABLISHED, CLOSE_WAIT].contains(&row.state)
        })
        .map(|row| row.remote.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n\
        0: 0100007F:2777 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65532 0 21 1 0 100 0 0 10 0\n\
        1: 0100007F:2775 0100007F:9C40 01 00000000:00000000 00:00000000 00000000 65532 0 22 1 0 20 4 30 10 -1\n\
        2: 00000000000000000000000000000000:2776 00000000000000000000000000000000:0000 0A 0 0 0 0 0 0\n\
        3: 0100007F:2777 0100007F:9C41 01 00000000:00000000 00:00000000 00000000     0 0 0 1 0 20 4 30 10 -1\n\
        4: 0100007F:2777 0100007F:9C42 08 00000000:00000012 00:00000000 00000000     0 0 0 1 0 20 4 30 10 -1\n\
        5: 0100007F:2777 0100007F:9C43 01 00000000:00000000 00:00000000 00000000 65532 0 23 1 0 20 4 30 10 -1\n\
        6: 0100007F:2777 0100007F:9C44 06 00000000:00000000 03:00000A2C 00000000     0 0 0 3 0\n";

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

    #[test]
    fn those_wait_whom_nobody_has_let_in() {
        // Not the one who was, and not the one who has long gone.
        assert_eq!(
            not_accepted(TABLE, 10103),
            ["0100007F:9C41", "0100007F:9C42"]
        );
    }

    #[test]
    fn the_kernel_tells_who_waits() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let first = TcpStream::connect(address).unwrap();
        let second = TcpStream::connect(address).unwrap();
        // Whoever else comes to this port, such as another test whose server has just gone, does not count; nor how often the kernel
        // tells of one while others come and go.
        let ports = [&first, &second].map(|client| client.local_addr().unwrap().port());
        let waits = || {
            let table = waiting(address.port());
            ports.map(|port| {
                table
                    .iter()
                    .any(|who| who.ends_with(&format!(":{port:04X}")))
            })
        };
        assert_eq!(waits(), [true, true]);
        drop(first);
        assert_eq!(waits(), [true, true], "it left without having been let in");
        let _first = listener.accept().unwrap();
        assert_eq!(waits(), [false, true]);
        let _second = listener.accept().unwrap();
        assert_eq!(waits(), [false, false]);
    }
}
