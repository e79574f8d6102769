//! Cutting a byte stream into lines without ever holding more than one line's limit.

/// One line, without its line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// As it was written.
    Whole(&'a [u8]),
    /// The first bytes of a line that is longer than the limit; its rest is dropped.
    Cut(&'a [u8]),
}

impl<'a> Line<'a> {
    /// The bytes kept.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Line::Whole(bytes) | Line::Cut(bytes) => bytes,
        }
    }
}

/// Collects bytes until a line is complete.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    held: Vec<u8>,
    /// The limit was reached: everything up to the next line feed is dropped.
    skipping: bool,
}

impl Splitter {
    /// A splitter for lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Vec::new(),
            skipping: false,
        }
    }

    /// Takes `bytes` and calls `each` for every line that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            self.take(&bytes[..end], &mut each);
            if !self.skipping {
                each(Line::Whole(&self.held));
            }
            self.held.clear();
            self.skipping = false;
            bytes = &bytes[end + 1..];
        }
        self.take(bytes, &mut each);
    }

    /// The stream has ended: gives what stands without a line feed.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if !self.held.is_empty() && !self.skipping {
            each(Line::Whole(&self.held));
        }
        self.held.clear();
        self.skipping = false;
    }

    fn take(&mut self, part: &[u8], each: &mut impl FnMut(Line<'_>)) {
        if self.skipping {
            return;
        }
        let room = self.limit - self.held.len();
        if part.len() <= room {
            self.held.extend_from_slice(part);
        } else {
            self.held.extend_from_slice(&part[..room]);
            each(Line::Cut(&self.held));
            self.skipping = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(limit: usize, chunks: &[&[u8]]) -> Vec<(bool, Vec<u8>)> {
        let mut splitter = Splitter::new(limit);
        let mut out = Vec::new();
        let mut keep =
            |line: Line<'_>| out.push((matches!(line, Line::Cut(_)), line.bytes().to_vec()));
        for chunk in chunks {
            splitter.feed(chunk, &mut keep);
        }
        splitter.finish(&mut keep);
        out
    }

    #[test]
    fn long_lines_are_cut_once() {
        let got = lines(4, &[b"abcdefgh", b"ijk\nok", b"\nabcd\ntail"]);
        let want = [
            (true, "abcd"),
            (false, "ok"),
            (false, "abcd"),
            (false, "tail"),
        ];
        assert_eq!(got, want.map(|(cut, text)| (cut, text.as_bytes().to_vec())));
    }

    proptest! {
        /// How the bytes are cut into reads makes no difference, and no line is above the limit.
        #[test]
        fn chunking_does_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            size in 1usize..20, limit in 1usize..30
        ) {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            let got = lines(limit, &chunks);
            prop_assert!(got.iter().all(|(_, line)| line.len() <= limit));
            prop_assert_eq!(got, lines(limit, &[&bytes]));
        }
    }
}
