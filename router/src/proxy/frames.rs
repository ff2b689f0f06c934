//! What counts as use on an open tunnel: data frames of WebSockets, never their pings, pongs and closings, and on any other
//! protocol every byte. Only looks at what passes, and nothing that it sees can stop or change that.

/// Bytes of a WebSocket frame's header at most (RFC 6455, 5.2): two, an extended length, and a mask.
const LONGEST_HEADER: usize = 14;

/// Reads one direction of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meter {
    /// A WebSocket: what is known of the frame that passes.
    Frames(Frames),
    /// Another protocol.
    Bytes,
}

/// Where a direction of a WebSocket stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    header: [u8; LONGEST_HEADER],
    /// Bytes of the next frame's header that have passed.
    seen: usize,
    /// Bytes of the current frame's content that are to come.
    left: u64,
    /// Whether the current frame is one of data.
    is_data: bool,
}

impl Meter {
    /// For the protocol that both sides have agreed on.
    pub(crate) fn of(protocol: &[u8]) -> Self {
        if protocol.eq_ignore_ascii_case(b"websocket") {
            Self::Frames(Frames::default())
        } else {
            Self::Bytes
        }
    }

    /// Whether a frame of our own may come next in this direction: only where we know of frames, and between two.
    pub(crate) fn rests(&self) -> bool {
        match self {
            Self::Frames(frames) => frames.seen == 0 && frames.left == 0,
            Self::Bytes => false,
        }
    }

    /// Whether any of these bytes, which are the next in their direction, count as use.
    pub(crate) fn passes(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Frames(frames) => frames.pass(bytes),
            Self::Bytes => !bytes.is_empty(),
        }
    }
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut counts = false;
        while !bytes.is_empty() {
            if self.left > 0 {
                counts |= self.is_data;
                let length = u64::try_from(bytes.len())
                    .unwrap_or(u64::MAX)
                    .min(self.left);
                self.left -= length;
                bytes = usize::try_from(length).map_or(&[], |length| &bytes[length..]);
                continue;
            }
            self.header[self.seen] = bytes[0];
            self.seen += 1;
            bytes = &bytes[1..];
            if self.seen == self.header_length() {
                self.is_data = self.header[0] & 0x08 == 0;
                self.left = self.content_length();
                self.seen = 0;
                counts |= self.is_data;
            }
        }
        counts
    }

    /// Length of the header of which at least one byte is known.
    fn header_length(&self) -> usize {
        if self.seen < 2 {
            return 2;
        }
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    /// Length of the content, of a header that is complete.
    fn content_length(&self) -> u64 {
        let extended = |length: usize| {
            let bytes = &self.header[2..2 + length];
            bytes
                .iter()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
        };
        match self.header[1] & 0x7f {
            126 => extended(2),
            127 => extended(8),
            short => short.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as RFC 6455 has it.
    fn frame(opcode: u8, masked: bool, content: &[u8]) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x80 + opcode];
        match content.len() {
            length @ 0..=125 => bytes.push(mask + u8::try_from(length).expect("short")),
            length @ 126..=0xffff => {
                bytes.push(mask + 126);
                bytes.extend(u16::try_from(length).expect("short").to_be_bytes());
            }
            length => {
                bytes.push(mask + 127);
                bytes.extend(u64::try_from(length).expect("short").to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.extend(content);
        bytes
    }

    fn websocket() -> Meter {
        Meter::of(b"WebSocket")
    }

    #[test]
    fn data_counts_and_keeping_alive_does_not() {
        let cases: [(&str, u8, bool); 7] = [
            ("a text", 1, true),
            ("bytes", 2, true),
            ("the rest of a message", 0, true),
            ("something of a later standard", 5, true),
            ("a closing", 8, false),
            ("a ping", 9, false),
            ("a pong", 10, false),
        ];
        for (name, opcode, counts) in cases {
            for content in [&b""[..], b"words"] {
                let mut meter = websocket();
                assert_eq!(
                    meter.passes(&frame(opcode, true, content)),
                    counts,
                    "{name}"
                );
                assert!(
                    !meter.passes(&frame(9, false, b"1234")),
                    "a ping after {name}"
                );
            }
        }
        let mut other = Meter::of(b"tls/1.0");
        assert!(other.passes(&frame(9, true, b"")) && !other.passes(b""));
    }

    #[test]
    fn a_frame_without_end_neither_overflows_nor_breaks() {
        let mut meter = websocket();
        let mut bytes = vec![0x82, 0xff];
        bytes.extend([0xff; 8]);
        bytes.extend([0; 4]);
        assert!(meter.passes(&bytes));
        assert!(meter.passes(&[0x89; 100]), "these are its content");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn it_does_not_matter_where_the_bytes_are_split(
            frames in prop::collection::vec(
                (0_u8..16, any::<bool>(), prop_oneof![0_usize..130, 65_530_usize..65_540]), 1..8),
            cuts in prop::collection::vec(1_usize..200, 1..50),
        ) {
            let mut meter = websocket();
            let mut cuts = cuts.into_iter().cycle();
            for (opcode, masked, length) in frames {
                let bytes = frame(opcode, masked, &vec![0x81; length]);
                let mut counted = false;
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    // Large contents in larger pieces, or the test takes long.
                    let cut = cuts.next().expect("a cycle") * if rest.len() > 1000 { 97 } else { 1 };
                    let (piece, tail) = rest.split_at(cut.min(rest.len()));
                    counted |= meter.passes(piece);
                    rest = tail;
                }
                prop_assert_eq!(counted, opcode < 8);
            }
            prop_assert!(!meter.passes(&frame(9, true, b"")), "it is in step again");
        }

        #[test]
        fn no_bytes_at_all_break_it(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut meter = websocket();
            for piece in bytes.chunks(7) {
                meter.passes(piece);
            }
        }
    }
}
