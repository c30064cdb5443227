//! JSON of any kind: what is taken here is what `serde_json` takes.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{Reader, write_string};

/// One JSON text; any other text is written as a string.
pub fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut reader = Reader::new(text);
    let ours = reader.skip().and_then(|value| reader.end().map(|()| value));
    let theirs = serde_json::from_str::<IgnoredAny>(text);
    match &ours {
        Ok(value) => assert!(text.contains(value) && theirs.is_ok(), "{theirs:?}"),
        Err(why) if why.ends_with("it is nested too deep") => {}
        // Keys are decoded here, which only a `Value` has done there.
        Err(why) => assert!(serde_json::from_str::<Value>(text).is_err(), "{why}"),
    }
    if let Ok(string) = Reader::new(text).string() {
        let theirs = serde_json::Deserializer::from_str(text).into_iter::<String>();
        assert_eq!(theirs.flatten().next().as_ref(), Some(&string));
    }
    // `-0` is a whole number here and in Go, but not there.
    if let (Ok(number), true) = (Reader::new(text).integer(), ours.is_ok())
        && number != 0
    {
        assert_eq!(serde_json::from_str::<i64>(text).ok(), Some(number));
    }

    let mut written = String::new();
    write_string(&mut written, text);
    assert_eq!(Reader::new(&written).string().as_deref(), Ok(text));
    assert_eq!(
        serde_json::from_str::<String>(&written).ok().as_deref(),
        Some(text)
    );
}
