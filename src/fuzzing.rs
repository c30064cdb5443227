//! What `cargo fuzz` runs on everything that azblob reads and did not write.
//!
//! Each room that reads has a `fuzzing` of its own, with a function for each
//! target: it takes bytes, whatever they are, and panics where something does
//! not hold that must. Only fuzzing and tests compile them. The inputs worth
//! keeping are in `fuzz/corpus/`, and the tests here run them again.

pub use crate::blob::fuzzing::{retry_after, xml};
pub use crate::cache::fuzzing::manifest;
pub use crate::config::fuzzing::{account_url, attributes};
#[cfg(feature = "certificates")]
pub use crate::credential::fuzzing::certificate;
pub use crate::credential::fuzzing::{connection_string, token_answer};
pub use crate::json::fuzzing::json;

/// What stands for a secret in the corpora: it may show in
/// no message.
pub(crate) const SECRET: &str = "hunter2";

#[cfg(test)]
mod every_kept_input_still_holds {
    use std::fs;
    use std::path::Path;

    fn replay(target: &str, check: fn(&[u8])) {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let inputs = fs::read_dir(corpora.join(target)).unwrap();
        let inputs: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "{target} has no inputs");
        for input in inputs {
            // Shown only if the test fails.
            println!("{}", input.display());
            check(&fs::read(&input).unwrap());
        }
    }

    macro_rules! replayed {
        ($($target:ident),* $(,)?) => {$(
            #[test]
            fn $target() {
                replay(stringify!($target), super::$target);
            }
        )*};
    }

    replayed!(
        account_url,
        attributes,
        connection_string,
        json,
        manifest,
        retry_after,
        token_answer,
        xml,
    );
    #[cfg(feature = "certificates")]
    replayed!(certificate);
}
