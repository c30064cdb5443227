//! What a client signs under Shared Key, put together again from a request's head.
//!
//! The form: <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>,
//! for service versions from 2015-02-21 on.

use http::header::{self, HeaderName};
use http::request::Parts;

use crate::request::Query;

/// The standard headers that are signed, in their order.
const SIGNED_HEADERS: [HeaderName; 11] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    HeaderName::from_static("content-md5"),
    header::CONTENT_TYPE,
    header::DATE,
    header::IF_MODIFIED_SINCE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

/// The text that the signature covers.
pub(crate) fn string_to_sign(parts: &Parts, account: &str) -> String {
    let mut text = format!("{}\n", parts.method);
    for name in SIGNED_HEADERS {
        let value = parts
            .headers
            .get(&name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        let value = value.as_deref().unwrap_or_default();
        let left_out = (name == header::CONTENT_LENGTH && value == "0")
            || (name == header::DATE && parts.headers.contains_key("x-ms-date"));
        if !left_out {
            text.push_str(value);
        }
        text.push('\n');
    }
    push_service_headers(&mut text, parts);
    push_resource(&mut text, parts, account);
    text
}

fn push_service_headers(text: &mut String, parts: &Parts) {
    let mut names: Vec<_> = parts
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-ms-"))
        .collect();
    names.sort_by_key(|name| name.as_str());
    for name in names {
        let values: Vec<_> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        text.push_str(name.as_str());
        text.push(':');
        text.push_str(values.join(",").trim());
        text.push('\n');
    }
}

/// The path stays as it is on the wire; the parameters' values are decoded.
fn push_resource(text: &mut String, parts: &Parts, account: &str) {
    text.push('/');
    text.push_str(account);
    text.push_str(parts.uri.path());
    let mut pairs: Vec<_> = Query::of(parts).pairs().collect();
    pairs.sort();
    for group in pairs.chunk_by(|a, b| a.0 == b.0) {
        let values: Vec<_> = group.iter().map(|(_, value)| value.as_ref()).collect();
        text.push('\n');
        text.push_str(&group[0].0);
        text.push(':');
        text.push_str(&values.join(","));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        string_to_sign(&request.body(()).unwrap().into_parts().0, "acct")
    }

    #[test]
    fn a_length_of_zero_and_a_date_beside_the_service_s_own_are_left_out() {
        let text = signed(
            "PUT",
            "/acct/c",
            &[
                ("content-length", "0"),
                ("date", "today"),
                ("x-ms-date", "now"),
            ],
        );
        assert_eq!(
            text,
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:now\n/acct/acct/c"
        );
    }

    #[test]
    fn the_path_stays_encoded_and_the_parameters_do_not() {
        let text = signed("GET", "/acct/c/a%2Fb?Prefix=x%2Fy&comp=list&comp=a", &[]);
        assert!(
            text.ends_with("\n/acct/acct/c/a%2Fb\ncomp:a,list\nprefix:x/y"),
            "{text}"
        );
    }

    #[test]
    fn service_headers_are_sorted_and_trimmed() {
        let text = signed(
            "GET",
            "/acct",
            &[
                ("x-ms-version", "v"),
                ("X-Ms-Date", "  d "),
                ("x-ms-meta-e", ""),
            ],
        );
        assert!(
            text.ends_with("\nx-ms-date:d\nx-ms-meta-e:\nx-ms-version:v\n/acct/acct"),
            "{text}"
        );
    }
}
