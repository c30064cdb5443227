//! What the user gave, checked once: attributes, and the variables that replace
//! them. Touches nothing outside.

use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::bindings::build_cache::plugin::types::{AttributeError, Error};
use crate::bindings::exports::build_cache::plugin::backend::{Attribute, Variable};

const URL_VARIABLE: &str = "BUILD_CACHE_HTTP_URL";
const TOKEN_VARIABLE: &str = "BUILD_CACHE_HTTP_TOKEN";

/// BuildKit's own name for a cache that has none.
const DEFAULT_NAME: &str = "buildkit";

/// Few enough that a small server copes, many enough to hide its latency.
const DEFAULT_PARALLELISM: usize = 16;

const UNKNOWN: &str = "unknown; http takes url, name, token and parallelism";

/// Which cache, where, and how to get at it.
///
/// Has no `Debug`, as it holds the token.
pub(crate) struct Config {
    pub(crate) scheme: Scheme,
    /// `host` or `host:port`.
    pub(crate) authority: Authority,
    /// The folder of the cache, without a slash at its end.
    pub(crate) folder: String,
    /// At least one, each once.
    pub(crate) names: Vec<String>,
    /// A bearer token, fit for a header. A secret.
    pub(crate) token: Option<String>,
    /// How many requests are under way at once.
    pub(crate) parallelism: usize,
}

/// Every attribute, for `describe`.
pub(crate) fn attributes() -> Vec<Attribute> {
    let attribute = |name: &str, description: &str, default: Option<&str>| Attribute {
        name: name.into(),
        description: description.into(),
        default: default.map(str::to_owned),
        required: name == "url",
        secret: name == "token",
    };
    let parallelism = DEFAULT_PARALLELISM.to_string();
    vec![
        attribute("url", "The cache's folder: https://host/path/", None),
        attribute("name", "Names of the cache: a;b", Some(DEFAULT_NAME)),
        attribute("token", "Sent as `Authorization: Bearer`", None),
        attribute("parallelism", "Requests at once", Some(&parallelism)),
    ]
}

/// Every variable that is read, for `describe`.
pub(crate) fn variables() -> Vec<Variable> {
    let variable = |name: &str, attribute: &str| Variable {
        name: name.into(),
        description: format!("Used if {attribute} is not given"),
        secret: attribute == "token",
        file: false,
    };
    vec![
        variable(URL_VARIABLE, "url"),
        variable(TOKEN_VARIABLE, "token"),
    ]
}

impl Config {
    /// Checks attributes and variables. An attribute takes precedence over its
    /// variable, and an empty one counts as not given.
    pub(crate) fn new(
        attributes: &[(String, String)],
        variables: &[(String, String)],
    ) -> Result<Self, Error> {
        let mut url = filled(variables, URL_VARIABLE);
        let mut token = filled(variables, TOKEN_VARIABLE);
        let mut names = DEFAULT_NAME;
        let mut parallelism = DEFAULT_PARALLELISM;
        for (name, value) in attributes {
            match &**name {
                "url" | "token" | "name" | "parallelism" if value.is_empty() => {}
                "url" => url = Some(value),
                "token" => token = Some(value),
                "name" => names = value,
                "parallelism" => match value.parse() {
                    Ok(number @ 1..=256) => parallelism = number,
                    _ => return Err(wrong(name, "must be a number from 1 to 256")),
                },
                _ => return Err(wrong(name, UNKNOWN)),
            }
        }
        let url = url.ok_or_else(|| {
            wrong(
                "url",
                "missing; give the cache's folder, such as https://host/path/",
            )
        })?;
        let (scheme, authority, folder) = address(url).map_err(|reason| wrong("url", reason))?;
        if let Some(token) = token {
            check_token(token, &scheme, &authority).map_err(|reason| wrong("token", reason))?;
        }
        let mut each_once = Vec::new();
        for name in names.split(';').filter(|name| !name.is_empty()) {
            if each_once.iter().all(|earlier| earlier != name) {
                each_once.push(name.to_owned());
            }
        }
        if each_once.is_empty() {
            return Err(wrong("name", "no name in it"));
        }
        Ok(Self {
            scheme,
            authority,
            folder,
            names: each_once,
            token: token.map(str::to_owned),
            parallelism,
        })
    }
}

/// The value under a name, if it has one that is not empty.
fn filled<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut filled = pairs.iter().filter(|(_, value)| !value.is_empty());
    filled
        .find(|(key, _)| key == name)
        .map(|(_, value)| &**value)
}

/// Takes a URL apart. The error may not quote it: it may hold a password.
fn address(url: &str) -> Result<(Scheme, Authority, String), &'static str> {
    let parts = url.parse::<Uri>().map_err(|_| "no URL")?.into_parts();
    let (Some(scheme), Some(authority), Some(path)) =
        (parts.scheme, parts.authority, parts.path_and_query)
    else {
        return Err("must begin with https:// or http:// and a host");
    };
    if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
        return Err("must begin with https:// or http://");
    }
    if authority.as_str().contains('@') {
        return Err("may hold no user name or password; give a token instead");
    }
    if path.query().is_some() || url.contains('#') {
        return Err("may hold no `?` and no `#`: it is the folder that the cache lies in");
    }
    let folder = path.path().trim_end_matches('/').to_owned();
    Ok((scheme, authority, folder))
}

/// Whether a token can be sent, and may be.
fn check_token(token: &str, scheme: &Scheme, authority: &Authority) -> Result<(), &'static str> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("may hold no spaces, line ends or characters beyond ASCII");
    }
    let host = authority.host().trim_matches(['[', ']']);
    let address = host.parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if *scheme == Scheme::HTTP && !is_here {
        return Err("not sent over http://, where others could read it; use https://");
    }
    Ok(())
}

fn wrong(name: &str, reason: &str) -> Error {
    Error::InvalidAttribute(AttributeError {
        name: name.to_owned(),
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    fn config(attributes: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Config, Error> {
        Config::new(&pairs(attributes), &pairs(variables))
    }

    #[test]
    fn a_url_alone_is_enough() {
        let config = config(&[("url", "http://cache.example:8080/a/b/")], &[]).unwrap();
        assert_eq!(config.scheme, Scheme::HTTP);
        assert_eq!(config.authority, "cache.example:8080");
        assert_eq!(config.folder, "/a/b");
        assert_eq!(config.names, ["buildkit"]);
        assert_eq!(config.parallelism, 16);
        assert!(config.token.is_none());
    }

    #[test]
    fn a_variable_stands_in_for_an_attribute_that_is_missing_or_empty() {
        let variables = [
            (URL_VARIABLE, "https://b"),
            (TOKEN_VARIABLE, "from-variable"),
        ];
        let taken = config(&[("url", ""), ("token", "from-attribute")], &variables).unwrap();
        assert_eq!(taken.authority, "b");
        assert_eq!(taken.folder, "");
        assert_eq!(taken.token.as_deref(), Some("from-attribute"));
    }

    #[test]
    fn names_are_split_at_semicolons_and_each_is_taken_once() {
        let config = config(
            &[("url", "https://a"), ("name", "main;;feature/x;main")],
            &[],
        )
        .unwrap();
        assert_eq!(config.names, ["main", "feature/x"]);
    }

    #[test]
    fn a_token_goes_over_plain_http_to_this_machine_only() {
        for url in [
            "https://a",
            "http://localhost:80",
            "http://127.0.0.2/x",
            "http://[::1]:1/",
        ] {
            assert!(
                config(&[("url", url), ("token", "t")], &[]).is_ok(),
                "{url}"
            );
        }
        for url in [
            "http://a",
            "http://localhost.example",
            "http://127.0.0.1.example",
        ] {
            assert!(
                config(&[("url", url), ("token", "t")], &[]).is_err(),
                "{url}"
            );
        }
    }

    #[test]
    fn what_does_not_do_is_named_and_no_value_is_shown() {
        let url = ("url", "https://a");
        for (attributes, name) in [
            (&[][..], "url"),
            (&[("url", "hunter2")], "url"),
            (&[("url", "ftp://hunter2")], "url"),
            (&[("url", "https://user:hunter2@a")], "url"),
            (&[("url", "https://a/?key=hunter2")], "url"),
            (&[("url", "https://a/#hunter2")], "url"),
            (&[("url", "https://a b hunter2")], "url"),
            (&[url, ("name", ";")], "name"),
            (&[url, ("token", "hunter2\n")], "token"),
            (&[url, ("parallelism", "0")], "parallelism"),
            (&[url, ("parallelism", "many")], "parallelism"),
            (&[url, ("tokn", "hunter2")], "tokn"),
        ] {
            let Err(Error::InvalidAttribute(error)) = config(attributes, &[]) else {
                panic!("{attributes:?} was taken");
            };
            assert_eq!(error.name, name, "{attributes:?}");
            assert!(!error.reason.contains("hunter2"), "{}", error.reason);
        }
    }
}
