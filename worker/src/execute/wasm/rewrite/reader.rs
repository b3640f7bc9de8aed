//! Reading the binary format. Whatever is not as expected is [`Unknown`].

use super::Unknown;

/// A place in some bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unknown> {
        let byte = self.bytes.get(self.at).copied().ok_or(Unknown)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Unknown> {
        let end = self.at.checked_add(length).ok_or(Unknown)?;
        let taken = self.bytes.get(self.at..end).ok_or(Unknown)?;
        self.at = end;
        Ok(taken)
    }

    /// What was read since a place.
    pub(super) fn since(&self, start: usize) -> Result<&'a [u8], Unknown> {
        self.bytes.get(start..self.at).ok_or(Unknown)
    }

    /// Bytes after their number.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Unknown> {
        let length = self.index()?;
        self.take(length as usize)
    }

    /// An unsigned number of 32 bits.
    pub(super) fn index(&mut self) -> Result<u32, Unknown> {
        let mut value: u64 = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Unknown);
            }
        }
        Err(Unknown)
    }

    /// Steps over a number of up to 64 bits, signed or not.
    pub(super) fn skip_number(&mut self) -> Result<(), Unknown> {
        for _ in 0..10 {
            if self.byte()? & 0x80 == 0 {
                return Ok(());
            }
        }
        Err(Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_their_end() {
        let mut reader = Reader::new(&[0xe5, 0x8e, 0x26, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
        assert_eq!(reader.index(), Ok(624_485));
        assert_eq!(reader.skip_number(), Ok(()));
        assert_eq!(reader.index(), Ok(u32::MAX));
        assert_eq!(reader.byte(), Ok(1));
        assert!(reader.is_at_end());
        assert_eq!(reader.byte(), Err(Unknown));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).index(), Err(Unknown), "above 32 bits");
        assert_eq!(Reader::new(&[5, 1]).bytes(), Err(Unknown), "shorter than it says");
    }
}
