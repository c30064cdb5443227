//! Who may use the store. Written from the service's documentation and from recorded requests,
//! with nothing of the component's signing code in it: each checks the other.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::bearer::{self, TokenCheck};
use crate::public::PublicContainers;
use crate::refusal::Refusal;
use crate::request::Route;
use crate::shared_key::string_to_sign;

/// How far a request's date may be from the server's clock.
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// The first service version that tells an anonymous client how to authenticate.
const FIRST_VERSION_WITH_CHALLENGE: &str = "2019-12-12";

/// An account's key, decoded. It prints as `[redacted]` and is wiped when dropped.
#[derive(Clone)]
pub struct AccountKey(Zeroizing<Vec<u8>>);

impl AccountKey {
    /// From the base64 text that the Azure portal shows; `None` if it is not that.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        (!bytes.is_empty()).then(|| Self(Zeroizing::new(bytes)))
    }

    /// The text that it came from.
    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(&self.0[..])
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The account that the store serves.
#[derive(Debug)]
pub(crate) struct Account {
    pub name: String,
    pub key: AccountKey,
    /// Which tokens let in; `None` where they would come over plain http.
    pub tokens: Option<TokenCheck>,
    pub public: PublicContainers,
}

/// How a request says who sent it.
#[derive(Debug, PartialEq, Eq)]
enum Scheme<'a> {
    /// Nothing that the store would take for a proof.
    Anonymous,
    /// `Authorization: SharedKey account:signature`.
    SharedKey {
        account: &'a str,
        signature: &'a str,
    },
    /// `Authorization: Bearer token`.
    Bearer(&'a str),
}

impl<'a> Scheme<'a> {
    fn of(parts: &'a Parts) -> Result<Self, Refusal> {
        let Some(value) = parts.headers.get(AUTHORIZATION) else {
            return Ok(Self::Anonymous);
        };
        let malformed = || {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "InvalidAuthenticationInfo",
                "The Authorization header is neither of the form 'SharedKey account:signature' nor 'Bearer token'.",
            )
        };
        let (scheme, proof) = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .ok_or_else(malformed)?;
        match scheme {
            "SharedKey" => {
                let (account, signature) = proof.split_once(':').ok_or_else(malformed)?;
                Ok(Self::SharedKey { account, signature })
            }
            "Bearer" => Ok(Self::Bearer(proof)),
            _ => Err(Refusal::authentication_failed(format!(
                "This store takes SharedKey and Bearer, not {scheme}."
            ))),
        }
    }
}

impl Account {
    /// Lets a request through or says why not. `now` is the server's clock.
    pub fn authenticate(
        &self,
        parts: &Parts,
        route: &Route<'_>,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        if route.account != self.name {
            // In the cloud this address would have no host at all; an emulator has to say something.
            return Err(Refusal::resource_not_found().detail(
                "Reason",
                format!("This store serves the account '{}' only.", self.name),
            ));
        }
        match Scheme::of(parts)? {
            Scheme::Anonymous if self.public.allow(route) => Ok(()),
            Scheme::Anonymous => Err(self.anonymous(parts)),
            Scheme::SharedKey { account, signature } => {
                self.check_shared_key(parts, account, signature, now)
            }
            Scheme::Bearer(token) => match &self.tokens {
                Some(tokens) => tokens.check(token),
                None => Err(Refusal::authentication_failed(
                    "This store takes no tokens: it needs TLS for that, and to be told which are good.",
                )),
            },
        }
    }

    fn check_shared_key(
        &self,
        parts: &Parts,
        account: &str,
        signature: &str,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        if account != self.name {
            return Err(Refusal::authentication_failed(
                "The Authorization header names another account.",
            ));
        }
        check_date(parts, now)?;
        let text = string_to_sign(parts, account);
        // `verify_slice` takes the same time wherever the first difference is.
        let matches = STANDARD
            .decode(signature)
            .is_ok_and(|found| self.key.mac(&text).verify_slice(&found).is_ok());
        if matches {
            return Ok(());
        }
        Err(Refusal::authentication_failed(format!(
            "The signature in the request is not the one that the account's key gives for this text: '{text}'."
        )))
    }

    /// What is not public is private: clients of old versions are told that there is nothing.
    fn anonymous(&self, parts: &Parts) -> Refusal {
        let version = parts
            .headers
            .get("x-ms-version")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if version < FIRST_VERSION_WITH_CHALLENGE {
            return Refusal::resource_not_found();
        }
        let mut refusal = Refusal::new(
            StatusCode::UNAUTHORIZED,
            "NoAuthenticationInformation",
            "The request has no Authorization header, and this is not public.",
        );
        refusal.challenge = Some(match &self.tokens {
            Some(_) => bearer::CHALLENGE,
            None => "SharedKey",
        });
        refusal
    }
}

fn check_date(parts: &Parts, now: SystemTime) -> Result<(), Refusal> {
    let value = parts
        .headers
        .get("x-ms-date")
        .or_else(|| parts.headers.get(DATE));
    let date = value
        .and_then(|value| value.to_str().ok())
        .and_then(|value| httpdate::parse_http_date(value).ok())
        .ok_or_else(|| {
            Refusal::authentication_failed("The request has no x-ms-date or Date that can be read.")
        })?;
    let skew = now
        .duration_since(date)
        .unwrap_or_else(|early| early.duration());
    if skew > MAX_SKEW {
        return Err(Refusal::authentication_failed(format!(
            "The request's date is {} s off the server's clock, which shows {}; 900 s are allowed.",
            skew.as_secs(),
            httpdate::fmt_http_date(now)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::running::{EMULATOR_ACCOUNT, EMULATOR_KEY};

    fn emulator() -> Account {
        Account {
            name: EMULATOR_ACCOUNT.into(),
            key: AccountKey::from_base64(EMULATOR_KEY).unwrap(),
            tokens: None,
            public: PublicContainers::default(),
        }
    }

    fn authenticate(parts: &Parts, now: SystemTime) -> Result<(), Refusal> {
        emulator().authenticate(parts, &Route::of(parts), now)
    }

    fn recorded_requests() -> Vec<Parts> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/buildkit/rest-trace");
        let mut requests = Vec::new();
        for file in std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
        {
            if file
                .extension()
                .is_none_or(|extension| extension != "jsonl")
            {
                continue;
            }
            for line in std::fs::read_to_string(file).unwrap().lines() {
                let record: Value = serde_json::from_str(line).unwrap();
                let mut request = http::Request::builder()
                    .method(record["method"].as_str().unwrap())
                    .uri(record["url"].as_str().unwrap());
                for (name, value) in record["request_headers"].as_object().unwrap() {
                    request = request.header(name, value.as_str().unwrap());
                }
                requests.push(request.body(()).unwrap().into_parts().0);
            }
        }
        requests
    }

    fn sent_at(parts: &Parts) -> SystemTime {
        httpdate::parse_http_date(parts.headers["x-ms-date"].to_str().unwrap()).unwrap()
    }

    #[test]
    fn every_recorded_request_of_buildkit_is_let_through() {
        let requests = recorded_requests();
        assert_eq!(requests.len(), 92);
        for parts in requests {
            let now = sent_at(&parts);
            assert_eq!(
                authenticate(&parts, now),
                Ok(()),
                "{} {}",
                parts.method,
                parts.uri
            );
        }
    }

    #[test]
    fn a_recorded_request_that_was_changed_is_not() {
        for mut parts in recorded_requests() {
            let now = sent_at(&parts);
            parts
                .headers
                .insert("x-ms-meta-added", "1".parse().unwrap());
            assert_eq!(
                authenticate(&parts, now).unwrap_err().code,
                "AuthenticationFailed"
            );
        }
    }

    #[test]
    fn the_key_signs_the_computed_vectors() {
        let headers =
            |version| format!("x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:{version}\n");
        let get = "GET".to_owned() + &"\n".repeat(12);
        let put = "PUT\n\n\n5\n\napplication/octet-stream\n\n\n\n\n\n\n";
        for (text, signature) in [
            (
                get.clone()
                    + &headers("2015-02-21")
                    + "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20",
                "1u9lui2jDxj0+fpbHjQ5m5NnastJRSYM+PSmfi8TXx4=",
            ),
            (
                get.clone()
                    + &headers("2025-11-05")
                    + "/devstoreaccount1/buildkit-cache\nrestype:container",
                "jODnylC0wk7lmy1C8cfW7kS3xb8Mbcr09aN/LICqkFk=",
            ),
            (
                put.to_owned()
                    + &headers("2025-11-05")
                    + "/devstoreaccount1/devstoreaccount1/buildkit-cache/blobs/sha256:abc\nblockid:AAAA\ncomp:block",
                "e6NMQDfgsOQSw74rVU2AUW3EoRpXmo0PGbhcM6ax5iY=",
            ),
        ] {
            let mac = emulator().key.mac(&text).finalize().into_bytes();
            assert_eq!(STANDARD.encode(mac), signature, "{text}");
        }
    }

    #[test]
    fn a_date_more_than_a_quarter_of_an_hour_off_is_refused_either_way() {
        let parts = recorded_requests().remove(0);
        let sent = sent_at(&parts);
        let at = |now| authenticate(&parts, now);
        assert_eq!(at(sent + MAX_SKEW), Ok(()));
        for now in [
            sent + MAX_SKEW + Duration::from_secs(1),
            sent - MAX_SKEW - Duration::from_secs(1),
        ] {
            assert_eq!(at(now).unwrap_err().code, "AuthenticationFailed");
        }
    }

    #[test]
    fn who_brings_no_proof_is_told_how_to_or_nothing() {
        for (version, status, code) in [
            ("2019-07-07", 404, "ResourceNotFound"),
            ("2024-11-04", 401, "NoAuthenticationInformation"),
        ] {
            let parts = http::Request::builder()
                .uri(format!("/{EMULATOR_ACCOUNT}/cache/key"))
                .header("x-ms-version", version)
                .body(())
                .unwrap()
                .into_parts()
                .0;
            let refusal = authenticate(&parts, SystemTime::now()).unwrap_err();
            assert_eq!((refusal.status.as_u16(), refusal.code), (status, code));
        }
    }

    #[test]
    fn a_refusal_shows_the_signed_text_but_no_signature_and_no_key() {
        let mut parts = recorded_requests().remove(0);
        let now = sent_at(&parts);
        parts
            .headers
            .insert("x-ms-meta-added", "1".parse().unwrap());
        let signature = parts.headers[AUTHORIZATION]
            .to_str()
            .unwrap()
            .rsplit_once(':')
            .unwrap()
            .1
            .to_owned();
        let shown = format!("{:?}", authenticate(&parts, now).unwrap_err());
        assert!(shown.contains("x-ms-meta-added:1"), "{shown}");
        assert!(
            !shown.contains(&signature) && !shown.contains(EMULATOR_KEY),
            "{shown}"
        );
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", emulator().key), "[redacted]");
    }
}
