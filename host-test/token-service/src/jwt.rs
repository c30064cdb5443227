//! JSON Web Tokens in their compact form (RFC 7515, RFC 7519): taken apart and put together. Who
//! signs and who verifies is in `keys`; what a claim must say is for the callers to decide.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// A token that was taken apart. Nothing of it is verified.
#[derive(Debug)]
pub(crate) struct Jwt<'a> {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
    /// What the signature is over: the first two parts as they came.
    pub signed: &'a [u8],
    pub signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// `None` if the text is not three parts of base64url, the first two of them JSON objects.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed: signed.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// A text in the header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }

    /// A text among the claims.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// A time among the claims, in whole Unix seconds. Azure's Python SDK writes fractions, as RFC
    /// 7519 allows.
    pub fn time(&self, name: &str) -> Option<u64> {
        let value = self.claims.get(name)?;
        let whole = |seconds: f64| (seconds >= 0.0).then_some(seconds as u64);
        value.as_u64().or_else(|| value.as_f64().and_then(whole))
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Puts a token together.
pub(crate) fn compose(
    header: &Value,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_put_together_is_taken_apart_again() {
        let text = compose(
            &json!({"alg": "x"}),
            &json!({"exp": 7.5, "sub": "me"}),
            |_| vec![1, 2],
        );
        let jwt = Jwt::parse(&text).unwrap();
        assert_eq!(
            (jwt.header("alg"), jwt.claim("sub"), jwt.time("exp")),
            (Some("x"), Some("me"), Some(7))
        );
        assert_eq!(jwt.signature, [1, 2]);
        assert!(text.as_bytes().starts_with(jwt.signed));
    }

    #[test]
    fn what_is_no_token_is_none() {
        for text in [
            "",
            "a.b",
            "e30.e30",
            "e30.W10.AA",
            "e30.e30.A",
            "e30.e30.AA\n",
        ] {
            assert!(Jwt::parse(text).is_none(), "{text:?}");
        }
    }
}
