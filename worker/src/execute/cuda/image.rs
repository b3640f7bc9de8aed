//! What machine code says of itself: an ELF image's sections, read without trust in any of its numbers.

/// Sections of variables that kernels can write: `.nv.global`, zeros, and `.nv.global.init`, with what they start as.
const VARIABLES: &[u8] = b".nv.global";
/// Where the header tells the place, and the size, number and name table of the sections.
const SECTIONS: (usize, usize) = (0x28, 0x3a);

/// What matters about machine code before it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Image {
    /// Bytes of its variables: device memory beside the job's buffers.
    pub(super) variables: u64,
}

impl Image {
    /// Reads a 64-bit little-endian ELF image; nothing if it is none.
    pub(super) fn inspect(code: &[u8]) -> Option<Self> {
        if !code.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let first = usize::try_from(number::<8>(code, SECTIONS.0)?).ok()?;
        let size = number::<2>(code, SECTIONS.1)? as usize;
        let count = number::<2>(code, SECTIONS.1 + 2)? as usize;
        let names = number::<2>(code, SECTIONS.1 + 4)? as usize;
        let section = |index: usize| first.checked_add(index.checked_mul(size)?);
        let names_at = usize::try_from(number::<8>(code, section(names)?.checked_add(0x18)?)?).ok()?;
        let mut variables = 0u64;
        for index in 0..count {
            let at = section(index)?;
            let header = code.get(at..at.checked_add(size)?)?;
            let name = names_at.checked_add(number::<4>(header, 0)? as usize)?;
            let name = code.get(name..)?.split(|byte| *byte == 0).next()?;
            if name == VARIABLES || name.strip_prefix(VARIABLES).is_some_and(|rest| rest.starts_with(b".")) {
                variables = variables.checked_add(number::<8>(header, 0x20)?)?;
            }
        }
        Some(Self { variables })
    }

    /// Whether a job can leave something in a loaded module for the next to find.
    pub(super) const fn is_stateful(self) -> bool {
        self.variables > 0
    }
}

/// The little-endian number of so many bytes there.
fn number<const BYTES: usize>(code: &[u8], at: usize) -> Option<u64> {
    let bytes = code.get(at..at.checked_add(BYTES)?)?;
    let mut whole = [0; 8];
    whole[..BYTES].copy_from_slice(bytes);
    Some(u64::from_le_bytes(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with these sections, named and of these sizes.
    fn image(sections: &[(&str, u64)]) -> Vec<u8> {
        let mut names = vec![0u8];
        let mut table = Vec::new();
        for (name, size) in sections {
            let mut section = [0u8; 64];
            section[..4].copy_from_slice(&u32::try_from(names.len()).unwrap().to_le_bytes());
            section[0x18..0x20].copy_from_slice(&64u64.to_le_bytes());
            section[0x20..0x28].copy_from_slice(&size.to_le_bytes());
            names.extend(name.bytes().chain([0]));
            table.extend(section);
        }
        let mut code = vec![0u8; 64];
        code[..6].copy_from_slice(b"\x7fELF\x02\x01");
        code[0x28..0x30].copy_from_slice(&(64 + names.len() as u64).to_le_bytes());
        code[0x3a..0x3c].copy_from_slice(&64u16.to_le_bytes());
        code[0x3c..0x3e].copy_from_slice(&u16::try_from(sections.len()).unwrap().to_le_bytes());
        code.extend(names);
        code.extend(table);
        code
    }

    #[test]
    fn variables_are_found_and_added_up() {
        let inspect = |sections: &[(&str, u64)]| Image::inspect(&image(sections)).unwrap();
        assert!(!inspect(&[(".text.f", 512), (".nv.constant0.f", 536), (".nv.globally", 4)]).is_stateful());
        let both = inspect(&[(".text.f", 512), (".nv.global", 40), (".nv.global.init", 4)]);
        assert_eq!(both, Image { variables: 44 });
        assert!(both.is_stateful());
    }

    #[test]
    fn broken_images_are_refused() {
        let whole = image(&[(".nv.global", 40), (".nv.global.init", u64::MAX)]);
        assert_eq!(Image::inspect(&whole), None, "the sizes overflow");
        assert_eq!(Image::inspect(b".version 8.0"), None);
        let whole = image(&[(".text.f", 512)]);
        for length in 0..whole.len() {
            assert_eq!(Image::inspect(&whole[..length]), None, "{length} bytes");
        }
        for at in 0x28..0x40 {
            let mut broken = whole.clone();
            broken[at] = 0xff;
            Image::inspect(&broken);
        }
    }
}
