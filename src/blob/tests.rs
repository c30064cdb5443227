//! Sending: retries, clocks, strange answers; and what is read of XML.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures::executor::block_on;

use super::failure::{Cause, Refusal};
use super::retry::{Attempt, wait};
use super::{Blobs, Condition, Failure, Span, State, xml};
use crate::cache::layout::BlobKey;
use crate::config::Config;
use crate::credential::Credential;
use crate::error::Error;
use crate::transport::scripted::{Answer, NOW, Reply, Scripted};
use crate::transport::{Body, Event, Request, TransportError};

fn config(extra: &[(&str, &str)]) -> Config {
    let base = [
        ("account_url", "http://127.0.0.1:10000/devstoreaccount1"),
        ("secret_access_key", "a2V5"),
    ];
    let attributes = base.iter().chain(extra);
    let attributes = attributes.map(|(name, value)| (name.to_string(), value.to_string()));
    Config::parse(attributes.collect(), Vec::new()).unwrap()
}

/// Answers in turn, the last one for ever.
fn in_turn(answers: Vec<Answer>) -> impl Fn(&Request) -> Answer {
    let next = Cell::new(0);
    move |_| {
        let index = next.get().min(answers.len() - 1);
        next.set(index + 1);
        answers[index].clone()
    }
}

/// Puts one blob against a script, and gives the outcome and the transport.
fn put<F: Fn(&Request) -> Answer>(
    extra: &[(&str, &str)],
    script: F,
) -> (Result<(), Failure>, Scripted<F>) {
    let (config, transport) = (config(extra), Scripted::new(script));
    let credential = Credential::find(&config).unwrap();
    let blobs = Blobs::new(&transport, &config, &credential);
    let outcome = block_on(blobs.put(&BlobKey::new("k"), Body::Empty, &Condition::Absent));
    drop(blobs);
    (outcome, transport)
}

fn broken() -> Answer {
    Err(TransportError::Broken("the connection broke".to_owned()))
}

#[test]
fn what_may_pass_is_sent_again_and_signed_anew() {
    for first in [
        Ok(Reply::error(408, "")),
        Ok(Reply::error(429, "")),
        Ok(Reply::error(500, "OperationTimedOut")),
        Ok(Reply::foreign(502)),
        Ok(Reply::error(503, "ServerBusy")),
        Ok(Reply::foreign(504)),
        Ok(Reply::error(409, "ContainerBeingDeleted")),
        broken(),
    ] {
        let wait = Reply::error(503, "").with("retry-after", "3");
        let (outcome, transport) = put(&[], in_turn(vec![first, Ok(wait), Ok(Reply::azure(201))]));
        outcome.unwrap();
        let requests = transport.requests.borrow();
        let dates: Vec<_> = requests
            .iter()
            .map(|r| r.headers.get("x-ms-date"))
            .collect();
        assert_eq!(requests.len(), 3);
        assert_ne!(dates[1], dates[2]);
        assert_ne!(
            requests[1].headers.get("authorization"),
            requests[2].headers.get("authorization")
        );
        let events = transport.events.borrow();
        let [
            Event::Retrying { attempt: 1, .. },
            Event::Retrying {
                attempt: 2,
                delay,
                request,
                ..
            },
        ] = events.as_slice()
        else {
            panic!("{events:?}")
        };
        assert_eq!(*delay, Duration::from_secs(3));
        assert_eq!(
            request,
            "PUT http://127.0.0.1:10000/devstoreaccount1/buildkit-cache/k"
        );
    }
}

#[test]
fn what_will_not_pass_is_not_sent_again() {
    for answer in [
        Ok(Reply::error(400, "InvalidHeaderValue")),
        Ok(Reply::error(403, "AuthenticationFailed")),
        Ok(Reply::error(404, "ResourceNotFound")),
        Ok(Reply::foreign(200)),
        Ok(Reply::foreign(301).with("location", "https://elsewhere")),
        Err(TransportError::Denied),
        Err(TransportError::Unusable("no".to_owned())),
        Err(TransportError::Content("gone".to_owned())),
    ] {
        let (outcome, transport) = put(&[], in_turn(vec![answer]));
        outcome.unwrap_err();
        assert_eq!(transport.sent.borrow().len(), 1);
    }
}

#[test]
fn retries_end_by_number_and_by_time() {
    let (outcome, transport) = put(&[("max_retries", "2")], in_turn(vec![broken()]));
    outcome.unwrap_err();
    assert_eq!(transport.sent.borrow().len(), 3);

    let slow = Reply::error(503, "ServerBusy").with("retry-after", "20");
    let (outcome, transport) = put(&[("stall_timeout", "50s")], in_turn(vec![Ok(slow)]));
    assert!(matches!(
        Error::from(outcome.unwrap_err()),
        Error::Unavailable(_)
    ));
    assert_eq!(
        transport.slept.borrow().len(),
        2,
        "a third wait would end after 60 s"
    );
}

#[test]
fn the_servers_wish_is_honoured_up_to_a_minute_and_ours_grows_at_random() {
    let refusal = |retry_after| {
        Cause::Refused(Box::new(Refusal {
            status: 503,
            retry_after,
            ..Refusal::default()
        }))
    };
    let attempt = |sent, random| Attempt {
        sent,
        failing_for: Duration::ZERO,
        max_retries: 100,
        stall_timeout: Duration::from_secs(600),
        random,
    };
    let wished = |seconds| wait(&refusal(Some(Duration::from_secs(seconds))), &attempt(1, 7));
    assert_eq!(wished(0), Some(Duration::ZERO));
    assert_eq!(wished(9), Some(Duration::from_secs(9)));
    assert_eq!(wished(3600), Some(Duration::from_secs(60)));

    for (sent, most) in [(1, 500), (2, 1000), (5, 8000), (50, 60_000)] {
        let wait = |random| wait(&refusal(None), &attempt(sent, random)).unwrap();
        assert_eq!(wait(0), Duration::ZERO);
        assert_eq!(wait(most), Duration::from_millis(most));
        assert_eq!(wait(most + 1), Duration::ZERO);
    }
}

#[test]
fn a_delay_is_read_from_any_of_its_fields() {
    for (name, value, seconds) in [
        ("retry-after-ms", "1500", 1.5),
        ("x-ms-retry-after-ms", "250", 0.25),
        ("Retry-After", "7", 7.0),
        ("Retry-After", "Thu, 01 Jan 1970 00:00:20 GMT", 20.0),
    ] {
        let mut headers = crate::transport::Headers::default();
        headers.push(name, value);
        let delay = super::failure::retry_after(&headers, NOW);
        assert_eq!(
            delay,
            Some(Duration::from_secs_f64(seconds)),
            "{name}: {value}"
        );
    }
}

#[test]
fn a_clock_that_is_off_is_set_by_the_servers_and_the_request_sent_once_more() {
    let date = "Thu, 01 Jan 1970 02:00:00 GMT";
    let script = |request: &Request| match request.headers.get("x-ms-date") {
        Some(sent) if sent == date => Ok(Reply::azure(201)),
        _ => Ok(Reply::error(403, "AuthenticationFailed").with("date", date)),
    };
    let (outcome, transport) = put(&[], script);
    outcome.unwrap();
    assert_eq!(transport.sent.borrow().len(), 2);
    assert!(transport.slept.borrow().is_empty());

    // A clock that is right is not the reason: the key is.
    let right = "Thu, 01 Jan 1970 00:05:00 GMT";
    let refusal = Reply::error(403, "AuthenticationFailed").with("date", right);
    let (outcome, transport) = put(&[], in_turn(vec![Ok(refusal)]));
    assert_eq!(transport.sent.borrow().len(), 1);
    let Error::Unauthenticated(text) = outcome.unwrap_err().into() else {
        panic!("not unauthenticated")
    };
    assert!(text.contains("one of this account"), "{text}");

    // Nor is it tried for ever.
    let refusal =
        Reply::error(403, "AuthenticationFailed").with("date", "Thu, 01 Jan 1970 09:00:00 GMT");
    let never = move |_: &Request| Ok(refusal.clone());
    let (outcome, transport) = put(&[], never);
    outcome.unwrap_err();
    assert_eq!(transport.sent.borrow().len(), 2);
}

#[test]
fn a_failure_tells_what_was_tried_what_came_back_and_what_to_do() {
    let (outcome, _) = put(
        &[],
        in_turn(vec![Ok(Reply::error(403, "AuthorizationFailure"))]),
    );
    assert_eq!(
        Error::from(outcome.unwrap_err()),
        Error::Forbidden(
            "PUT http://127.0.0.1:10000/devstoreaccount1/buildkit-cache/k failed: 403 \
             AuthorizationFailure: Why not (request id r-1). It was sent with the key of the \
             storage account `devstoreaccount1` (secret_access_key). Check the account's \
             firewall: it may not let this network in. The emulator says the same of a wrong key"
                .to_owned()
        )
    );
    let html = Reply::foreign(200)
        .with("content-type", "text/html")
        .body("<html>");
    let (outcome, _) = put(&[], in_turn(vec![Ok(html)]));
    let Error::Other(text) = outcome.unwrap_err().into() else {
        panic!("not other")
    };
    assert!(
        text.contains("text/html") && text.contains("account_url"),
        "{text}"
    );
    let (outcome, _) = put(
        &[],
        in_turn(vec![Err(TransportError::Content(
            "no such file".to_owned(),
        ))]),
    );
    assert_eq!(
        Error::from(outcome.unwrap_err()),
        Error::Content("no such file".to_owned())
    );
}

#[test]
fn no_failure_and_no_event_shows_the_query_or_the_signature() {
    let (config, transport) = (
        config(&[("max_retries", "1")]),
        Scripted::new(in_turn(vec![broken()])),
    );
    let credential = Credential::find(&config).unwrap();
    let blobs = Blobs::new(&transport, &config, &credential);
    let list = block_on(blobs.list("secret-prefix", 1, None));
    let shown = format!("{} {:?}", list.unwrap_err(), transport.events.borrow());
    assert!(
        !shown.contains("secret-prefix") && !shown.contains("SharedKey"),
        "{shown}"
    );
}

#[test]
fn a_body_that_breaks_off_is_read_again() {
    let breaking = Reply::azure(200).body("ha").breaking_off();
    let script = in_turn(vec![Ok(breaking), Ok(Reply::azure(200).body("half"))]);
    let (config, transport) = (config(&[]), Scripted::new(script));
    let credential = Credential::find(&config).unwrap();
    let blobs = Blobs::new(&transport, &config, &credential);
    let got = block_on(blobs.get(&BlobKey::new("k"), 4)).unwrap();
    assert_eq!(got.as_deref(), Some(b"half".as_slice()));
    assert_eq!((blobs.requests(), blobs.retries()), (2, 1));
}

#[test]
fn a_range_is_taken_only_if_it_is_the_one_asked_for() {
    let reads = [
        // offset, length, content-range, taken
        (5, Some(5), "bytes 5-9/100", true),
        (5, Some(500), "bytes 5-99/100", true),
        (5, None, "bytes 5-99/100", true),
        (5, Some(5), "bytes 0-4/100", false),
        (5, Some(5), "bytes 5-8/100", false),
        (5, None, "bytes 5-50/100", false),
        (5, None, "", false),
    ];
    for (offset, length, range, taken) in reads {
        let asked = RefCell::new(String::new());
        let script = |request: &Request| {
            *asked.borrow_mut() = request.headers.get("range").unwrap().to_owned();
            Ok(Reply::azure(206).with("content-range", range))
        };
        let (config, transport) = (config(&[]), Scripted::new(script));
        let credential = Credential::find(&config).unwrap();
        let blobs = Blobs::new(&transport, &config, &credential);
        let span = block_on(blobs.span(&BlobKey::new("k"), offset, length));
        assert_eq!(matches!(span, Ok(Span::Bytes(_))), taken, "{range}");
        let last = length.map_or(String::new(), |length| (offset + length - 1).to_string());
        assert_eq!(*asked.borrow(), format!("bytes={offset}-{last}"));
    }
    // A proxy that ignores ranges must not pass for the rest of the blob.
    let (config, transport) = (
        config(&[]),
        Scripted::new(|_: &Request| Ok(Reply::azure(200))),
    );
    let credential = Credential::find(&config).unwrap();
    let blobs = Blobs::new(&transport, &config, &credential);
    assert!(block_on(blobs.span(&BlobKey::new("k"), 5, None)).is_err());
}

#[test]
fn uploads_get_time_for_their_bytes() {
    let (config, transport) = (
        config(&[]),
        Scripted::new(|_: &Request| Ok(Reply::azure(201))),
    );
    let credential = Credential::find(&config).unwrap();
    let blobs = Blobs::new(&transport, &config, &credential);
    let body = Body::Layer {
        digest: crate::digest::Digest::OF_NOTHING,
        offset: 0,
        length: 16 << 20,
    };
    block_on(blobs.put(&BlobKey::new("k"), body, &Condition::None)).unwrap();
    let request = &transport.requests.borrow()[0];
    assert_eq!(request.headers.get("content-length"), Some("16777216"));
    assert_eq!(request.timeouts.first_byte, Duration::from_secs(60 + 512));
    assert_eq!(request.timeouts.between_bytes, Duration::from_secs(60));
}

#[test]
fn a_listing_is_read_in_every_dialect() {
    let listing = xml::listing(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>
        <EnumerationResults ServiceEndpoint=\"x\" ContainerName=\"c\"><Prefix>b</Prefix>
        <Blobs>
          <Blob><Name>blobs/a&amp;b &#233;</Name><Properties>
            <Last-Modified>Thu, 01 Jan 1970 00:00:20 GMT</Last-Modified>
            <Etag>0x8D</Etag><Content-Length>42</Content-Length><AccessTier>Hot</AccessTier>
            <LastAccessTime>Thu, 01 Jan 1970 00:01:00 GMT</LastAccessTime>
          </Properties><OrMetadata/></Blob>
          <Blob><Name Encoded=\"true\">x%EF%BF%BEy</Name><Properties>
            <Last-Modified>Thu, 01 Jan 1970 00:00:00 GMT</Last-Modified>
            <Etag>\"0x9\"</Etag><Content-Length>0</Content-Length>
          </Properties></Blob>
        </Blobs><NextMarker>2!92</NextMarker></EnumerationResults>"
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(listing.next.as_deref(), Some("2!92"));
    let [first, second] = listing.blobs.as_slice() else {
        panic!("{:?}", listing.blobs)
    };
    assert_eq!(
        (&*first.key, first.size, first.modified),
        ("blobs/a&b é", 42, 20)
    );
    assert_eq!((&*first.etag, &*second.etag), ("\"0x8D\"", "\"0x9\""));
    assert_eq!((first.used, second.used), (Some(60), None));
    assert_eq!(second.key, "x\u{fffe}y");

    let empty = b"<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>";
    assert_eq!(xml::listing(empty).unwrap(), xml::Listing::default());
}

#[test]
fn what_is_no_listing_is_an_error() {
    for text in [
        String::new(),
        "{}".to_owned(),
        "<html><body>hi</body></html>".to_owned(),
        "<EnumerationResults><Blobs>".to_owned(),
        "<EnumerationResults></Blobs>".to_owned(),
        "<EnumerationResults>&nbsp;</EnumerationResults>".to_owned(),
    ] {
        assert!(xml::listing(text.as_bytes()).is_err(), "{text}");
    }
    assert!(xml::listing(b"<EnumerationResults>\xff</EnumerationResults>").is_err());
}

#[test]
fn a_listing_tells_which_blobs_cannot_be_read_and_a_damaged_entry_costs_no_other() {
    let of = |blob: &str| {
        let xml = format!(
            "<EnumerationResults><Blobs><Blob>{blob}</Blob><Blob><Name>good</Name></Blob></Blobs></EnumerationResults>"
        );
        let mut blobs = xml::listing(xml.as_bytes()).unwrap().blobs;
        assert_eq!(blobs[1].state, State::Readable, "{blob}");
        blobs.swap_remove(0).state
    };
    let property = |property: &str| of(&format!("<Properties>{property}</Properties>"));
    assert_eq!(
        property("<AccessTier>Archive</AccessTier>"),
        State::Archived
    );
    assert_eq!(
        property(
            "<AccessTier>Archive</AccessTier><ArchiveStatus>rehydrate-pending-to-hot</ArchiveStatus>"
        ),
        State::Rehydrating
    );
    assert_eq!(
        property("<ResourceType>directory</ResourceType>"),
        State::Directory
    );
    assert_eq!(
        of("<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>"),
        State::Directory
    );
    assert_eq!(
        of("<Metadata><other>true</other></Metadata>"),
        State::Readable
    );
    for damaged in [
        "<Content-Length>-1</Content-Length>",
        "<Last-Modified>yesterday</Last-Modified>",
    ] {
        assert!(matches!(property(damaged), State::Refused(_)), "{damaged}");
    }
}

#[test]
fn an_error_body_that_is_no_xml_tells_nothing() {
    let body = b"<Error><Code>C</Code><Message>M\nRequestId:1</Message></Error>";
    let told = xml::error(body);
    assert_eq!((&*told.code, &*told.message), ("C", "M"));
    for body in [&b""[..], b"busy", b"<html><br></html>", b"<Error><Code>C"] {
        assert_eq!(xml::error(body), Default::default());
    }
}

/// A refusal whose body has these elements beside code and message.
fn refusal(status: u16, code: &str, details: &str) -> Reply {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Why not.\nRequestId:r-1\n\
         Time:2026</Message>{details}</Error>"
    );
    Reply::azure(status)
        .with("x-ms-error-code", code)
        .body(body)
}

#[test]
fn azures_own_words_are_shown_with_all_that_it_says_beside() {
    for (status, code, details, lines) in [
        (
            403,
            "AuthenticationFailed",
            "<AuthenticationErrorDetail>Signed expiry time [Wed] must be after signed start time \
             [Thu]</AuthenticationErrorDetail>",
            "\n  AuthenticationErrorDetail: Signed expiry time [Wed] must be after signed start \
             time [Thu]\nIt was sent with the key",
        ),
        (
            400,
            "InvalidHeaderValue",
            "<HeaderName>x-ms-version</HeaderName><HeaderValue>1</HeaderValue><Empty/>",
            "\n  HeaderName: x-ms-version\n  HeaderValue: 1",
        ),
        (
            403,
            "AuthenticationFailed",
            "<AuthenticationErrorDetail>String to sign was 'PUT\n\n0'</AuthenticationErrorDetail>",
            "\n  AuthenticationErrorDetail: String to sign was 'PUT\n    \n    0'\n",
        ),
    ] {
        let (outcome, _) = put(&[], in_turn(vec![Ok(refusal(status, code, details))]));
        let text = Error::from(outcome.unwrap_err()).to_string();
        assert!(text.contains(lines), "{text}");
        assert!(
            !text.contains("RequestId") && !text.contains("Time:"),
            "{text}"
        );
    }
}

#[test]
fn a_signature_that_azure_repeats_is_not_shown() {
    let sas = [
        ("secret_access_key", ""),
        ("sas_token", "sv=1&sig=hunter2%2B"),
    ];
    for attributes in [&[][..], &sas] {
        let (outcome, transport) = put(attributes, |request: &Request| {
            let sent = request.headers.get("authorization");
            let sent = sent
                .and_then(|text| text.rsplit(':').next())
                .unwrap_or("hunter2+");
            let detail = format!(
                "<AuthenticationErrorDetail>The MAC signature found '{sent}' is not the same\
                 </AuthenticationErrorDetail>"
            );
            Ok(refusal(403, "AuthenticationFailed", &detail))
        });
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("found '[redacted]' is not"), "{text}");
        let sent = transport.requests.borrow();
        let sent = sent[0]
            .headers
            .get("authorization")
            .unwrap_or("SharedKey a:hunter2+");
        assert!(!text.contains(sent.rsplit(':').next().unwrap()), "{text}");
    }
}

#[test]
fn the_reason_behind_a_head_without_a_body_is_asked_for_once() {
    let detail = "<AuthenticationErrorDetail>it is over</AuthenticationErrorDetail>";
    for (head, get, explained) in [
        (
            Reply::azure(403).with("x-ms-error-code", "AuthenticationFailed"),
            refusal(403, "AuthenticationFailed", detail),
            true,
        ),
        (
            Reply::azure(400),
            refusal(400, "InvalidHeaderValue", detail),
            true,
        ),
        (
            Reply::azure(409).with("x-ms-error-code", "Other"),
            refusal(409, "Third", detail),
            false,
        ),
        (Reply::azure(403), Reply::azure(206), false),
        (Reply::azure(403), Reply::foreign(502), false),
    ] {
        let (config, transport) = (
            config(&[]),
            Scripted::new(|request: &Request| match request.method.as_str() {
                "HEAD" => Ok(head.clone()),
                _ => Ok(get.clone()),
            }),
        );
        let credential = Credential::find(&config).unwrap();
        let blobs = Blobs::new(&transport, &config, &credential);
        let keys = [BlobKey::new("a"), BlobKey::new("b"), BlobKey::new("c")];
        let asked = keys.iter().map(|key| blobs.properties(key));
        for outcome in block_on(futures::future::join_all(asked)) {
            let text = outcome.unwrap_err().to_string();
            assert_eq!(
                text.contains("Why not") && text.contains("it is over"),
                explained,
                "{text}"
            );
            assert!(text.starts_with("HEAD "), "{text}");
        }
        assert_eq!((transport.count("GET"), transport.count("HEAD")), (1, 3));
        assert_eq!(blobs.requests(), 4);
    }
}

#[test]
fn what_is_not_there_is_not_asked_for_twice() {
    for reply in [
        Reply::azure(404).with("x-ms-error-code", "BlobNotFound"),
        Reply::azure(404),
        Reply::azure(412),
    ] {
        let (config, transport) = (config(&[]), Scripted::new(in_turn(vec![Ok(reply)])));
        let credential = Credential::find(&config).unwrap();
        let blobs = Blobs::new(&transport, &config, &credential);
        let _ = block_on(blobs.properties(&BlobKey::new("k")));
        assert_eq!(transport.sent.borrow().len(), 1);
    }
}

#[test]
fn a_compressed_answer_is_refused_in_words_and_plain_text_is_read_whatever_it_is_called() {
    let gzip = |reply: Reply, body: &[u8]| reply.with("content-encoding", "gzip").body(body);
    let packed = b"\x1f\x8b\x08\x00";
    let listing = b"<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>";
    for (reply, part) in [
        (
            gzip(Reply::azure(200), packed),
            "it is compressed, which was not asked for",
        ),
        (
            gzip(Reply::azure(400).with("x-ms-error-code", "Bad"), packed),
            "400 Bad: (its text cannot be shown",
        ),
        (gzip(Reply::azure(200), listing), ""),
    ] {
        let (config, transport) = (config(&[]), Scripted::new(in_turn(vec![Ok(reply)])));
        let credential = Credential::find(&config).unwrap();
        let blobs = Blobs::new(&transport, &config, &credential);
        match block_on(blobs.list("", 1, None)) {
            Ok(page) => assert!(part.is_empty() && page.blobs.is_empty()),
            Err(failure) => {
                let text = failure.to_string();
                assert!(!part.is_empty() && text.contains(part), "{text}");
            }
        }
        for request in transport.requests.borrow().iter() {
            assert!(request.headers.get("accept-encoding").is_none());
        }
    }
}
