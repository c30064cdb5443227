//! DER, as much of it as it takes to find the parts of keys and of PKCS#12
//! files: values one after the other. The crates that know all of it cost the
//! component more than RSA itself.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0]`, around a whole value.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// `[0]`, in place of an octet string's own tag.
pub(super) const CONTEXT_0_PRIMITIVE: u8 = 0x80;

/// What is left to be read.
#[derive(Clone, Copy)]
pub(super) struct Der<'a>(pub(super) &'a [u8]);

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

impl<'a> Der<'a> {
    /// The next value; none at the end, or where it is cut short or in BER's
    /// indefinite form.
    pub(super) fn next(&mut self) -> Option<Value<'a>> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b));
                (usize::try_from(length).ok()?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Value {
            tag,
            content,
            whole,
        })
    }

    /// The next value, which must have this tag; what is in it.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let value = self.next().filter(|value| value.tag == tag);
        value.map(|value| value.content)
    }

    /// As [`expect`](Self::expect), to read on within.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.expect(tag).map(Der)
    }
}
