//! Identifiers and keys that nobody can guess, from the system's generator.

use ring::rand::{SecureRandom, SystemRandom};

/// This many random bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    SystemRandom::new()
        .fill(&mut random)
        .expect("the system gives random bytes");
    to_hex(&random)
}

/// A random UUID, of the form that Entra uses for ids of all kinds.
pub(crate) fn uuid() -> String {
    let digits = hex(16);
    let (a, b, c, d) = (
        &digits[..8],
        &digits[8..12],
        &digits[13..16],
        &digits[17..20],
    );
    format!("{a}-{b}-4{c}-a{d}-{}", &digits[20..])
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_the_form_of_one_and_comes_once() {
        let one = uuid();
        let lengths: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_ne!(one, uuid());
    }
}
