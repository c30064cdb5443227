//! Signatures against those that others have made: the Azure SDK for Go, by
//! way of BuildKit, and reqsign. `places` and `hosts` get tokens, `tokens`
//! keeps them.

mod hosts;
mod places;
mod tokens;

use futures::executor::block_on;
use reqsign_core::SignRequest as _;

use super::SharedKey;
use super::shared_key::string_to_sign;
use crate::secret::Secret;
use crate::transport::{Body, Headers, Method, Request, Timeouts};

/// The emulator's account and key, which everybody knows.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn key() -> SharedKey {
    SharedKey::parse(ACCOUNT.to_owned(), Secret::new(KEY.to_owned())).unwrap()
}

/// A request from its parts as they stand on the wire.
fn request(method: Method, target: &str, headers: &[(String, String)]) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decode = |text: &str| {
        let text = percent_encoding::percent_decode_str(text);
        text.decode_utf8().unwrap().into_owned()
    };
    let mut fields = Headers::default();
    for (name, value) in headers {
        fields.push(name, value.as_str());
    }
    Request {
        method,
        https: true,
        authority: "account.blob.core.windows.net".to_owned(),
        path: path.to_owned(),
        query: query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (&*decode(name).leak(), decode(value))
            })
            .collect(),
        given_query: None,
        headers: fields,
        body: Body::Empty,
        timeouts: Timeouts::default(),
    }
}

fn method(name: &str) -> Method {
    [Method::Get, Method::Head, Method::Put, Method::Delete]
        .into_iter()
        .find(|method| method.as_str() == name)
        .unwrap()
}

#[test]
fn every_request_that_buildkit_sent_gets_the_signature_that_it_had() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/host-test/fixtures/buildkit/rest-trace"
    );
    let mut verified = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let traced: serde_json::Value = serde_json::from_str(line).unwrap();
            let url: http::Uri = traced["url"].as_str().unwrap().parse().unwrap();
            let headers: Vec<(String, String)> = traced["request_headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect();
            let request = request(
                method(traced["method"].as_str().unwrap()),
                url.path_and_query().unwrap().as_str(),
                &headers,
            );
            let authorization = request.headers.get("authorization").unwrap();
            assert_eq!(key().authorization(&request), authorization, "{line}");
            verified += 1;
        }
    }
    assert_eq!(verified, 92);
}

#[test]
fn the_vectors_of_other_implementations_come_out() {
    let date = (
        "x-ms-date".to_owned(),
        "Fri, 26 Jun 2015 23:39:12 GMT".to_owned(),
    );
    let version = |version: &str| ("x-ms-version".to_owned(), version.to_owned());
    let vectors = [
        (
            "myaccount",
            request(
                Method::Get,
                "/mycontainer?restype=container&comp=metadata&timeout=20",
                &[date.clone(), version("2015-02-21")],
            ),
            "1u9lui2jDxj0+fpbHjQ5m5NnastJRSYM+PSmfi8TXx4=",
        ),
        (
            ACCOUNT,
            request(
                Method::Get,
                "/buildkit-cache?restype=container",
                &[date.clone(), version("2025-11-05")],
            ),
            "jODnylC0wk7lmy1C8cfW7kS3xb8Mbcr09aN/LICqkFk=",
        ),
        (
            ACCOUNT,
            request(
                Method::Put,
                "/devstoreaccount1/buildkit-cache/blobs/sha256:abc?comp=block&blockid=AAAA",
                &[
                    date,
                    version("2025-11-05"),
                    ("content-length".to_owned(), "5".to_owned()),
                    (
                        "content-type".to_owned(),
                        "application/octet-stream".to_owned(),
                    ),
                ],
            ),
            "e6NMQDfgsOQSw74rVU2AUW3EoRpXmo0PGbhcM6ax5iY=",
        ),
    ];
    for (account, request, signature) in vectors {
        let text = string_to_sign(account, &request);
        assert_eq!(key().sign(&text), signature, "{text}");
    }
}

#[test]
fn reqsign_signs_generated_requests_alike() {
    let signer = reqsign_azure_storage::RequestSigner::new();
    let credential = reqsign_azure_storage::Credential::with_shared_key(ACCOUNT, KEY);
    let context = reqsign_core::Context::new();

    let paths = [
        "/c/blobs%2Fsha256:0e0c",
        "/c/p%2Fmanifests%2Fmain@v1+x=1&y$",
        "/devstoreaccount1/c/%C3%A9%20t%C3%A9",
        "/c",
    ];
    let queries = [
        "",
        "?restype=container",
        "?comp=block&blockid=AAAA%2BBBB%2F%3D%3D",
        "?restype=container&comp=list&maxresults=5000&prefix=a%2Fb%26c%3Dd",
    ];
    let conditions = [
        vec![],
        vec![("if-none-match", "*"), ("content-length", "0")],
        vec![
            ("if-match", "\"0x8DC\""),
            ("content-length", "16777216"),
            ("content-type", "application/octet-stream"),
            ("x-ms-blob-type", "BlockBlob"),
        ],
        vec![
            ("range", "bytes=5-9"),
            ("x-ms-meta-b", "2"),
            ("x-ms-meta-a", "1 2"),
        ],
    ];
    let mut compared = 0;
    for name in ["GET", "HEAD", "PUT", "DELETE"] {
        for path in paths {
            for query in queries {
                for headers in &conditions {
                    let mut theirs = http::Request::builder().method(name).uri(format!(
                        "https://account.blob.core.windows.net{path}{query}"
                    ));
                    for (name, value) in headers {
                        theirs = theirs.header(*name, *value);
                    }
                    let (mut theirs, ()) = theirs.body(()).unwrap().into_parts();
                    let signing =
                        signer.sign_request(&context, &mut theirs, Some(&credential), None);
                    block_on(signing).unwrap();

                    let fields: Vec<(String, String)> = theirs
                        .headers
                        .iter()
                        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                        .collect();
                    let ours = request(method(name), &format!("{path}{query}"), &fields);
                    assert_eq!(
                        key().authorization(&ours),
                        theirs.headers["authorization"].to_str().unwrap(),
                        "{name} {path}{query} {headers:?}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 256);
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    for text in ["", "  ", "not base64!", "QUJD="] {
        let parsed = SharedKey::parse(ACCOUNT.to_owned(), Secret::new(text.to_owned()));
        let reason = parsed.err().unwrap();
        assert!(text.trim().is_empty() || !reason.contains(text), "{reason}");
    }
}
