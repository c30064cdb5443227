//! Which proxy a request goes through: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`
//! and `NO_PROXY`, in capitals or not, as Go's programs read them.
//!
//! What is next door is asked directly, whatever the variables say: this
//! machine, and the link that it is connected to, where a cloud's virtual
//! machine finds its identity. Behind a proxy the same address is another
//! machine's, and the token would be the proxy's to see.

use std::fmt;
use std::net::IpAddr;

use super::no_proxy::NoProxy;
use crate::places::Place;

/// The proxies that the environment names.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: NoProxy,
}

/// A proxy, and the variable that names it. Shown without its user and
/// password.
#[derive(Clone)]
pub(super) struct Proxy {
    /// With user and password.
    url: reqwest::Url,
    variable: &'static str,
}

impl Proxies {
    /// Reads the variables of this process.
    pub(super) fn from_environment() -> Result<Self, String> {
        Self::read(|name| std::env::var_os(name).map(|value| value.into_string().map_err(drop)))
    }

    /// Reads the variables. An error names the one that is wrong, and does not
    /// show its value, which may hold a password.
    fn read(get: impl Fn(&str) -> Option<Result<String, ()>>) -> Result<Self, String> {
        // A value that is empty counts as none.
        let first = |names: &[&'static str]| {
            let mut given = names.iter().filter_map(|name| Some((*name, get(name)?)));
            given.find(|(_, value)| !matches!(value, Ok(text) if text.trim().is_empty()))
        };
        let proxy = |names: &[&'static str]| match first(names) {
            Some((variable, Ok(text))) => Proxy::parse(variable, text.trim()).map(Some),
            Some((variable, Err(()))) => Err(format!("the variable {variable} is not text")),
            None => Ok(None),
        };
        // Whoever runs a program as a web server's handler lets strangers set
        // HTTP_PROXY: it is what the request's header `Proxy` becomes.
        let is_handler = first(&["REQUEST_METHOD"]).is_some();
        let http_names = &["HTTP_PROXY", "http_proxy"][usize::from(is_handler)..];
        let all = proxy(&["ALL_PROXY", "all_proxy"])?;
        let http = proxy(http_names)?;
        let https = proxy(&["HTTPS_PROXY", "https_proxy"])?;
        let direct = match first(&["NO_PROXY", "no_proxy"]) {
            Some((_, Ok(list))) => NoProxy::parse(&list),
            Some((variable, Err(()))) => {
                return Err(format!("the variable {variable} is not text"));
            }
            None => NoProxy::default(),
        };
        Ok(Self {
            http: http.or_else(|| all.clone()),
            https: https.or(all),
            direct,
        })
    }

    /// The proxy that a request to this URL goes through; none where it is sent
    /// directly.
    pub(super) fn for_url(&self, url: &reqwest::Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            "http" => self.http.as_ref(),
            _ => None,
        }?;
        let host = url.host_str()?.to_ascii_lowercase();
        let host = host.trim_matches(['[', ']']).trim_end_matches('.');
        let port = url.port_or_known_default()?;
        let address: Option<IpAddr> = host.parse().ok();
        let is_next_door = match address {
            Some(address) => Place::of(address).is_next_door(),
            None => host == "localhost" || host.ends_with(".localhost"),
        };
        let address = address.map(|address| address.to_canonical());
        (!is_next_door && !self.direct.contains(host, address, port)).then_some(proxy)
    }
}

impl Proxy {
    fn parse(variable: &'static str, text: &str) -> Result<Self, String> {
        let malformed = |why: &str| {
            Err(format!(
                "the variable {variable} does not name a proxy: {why}. Expected \
                 http://HOST:PORT, perhaps with USER:PASSWORD@ before the host; its value is not \
                 shown, as it may hold a password"
            ))
        };
        let url = match text.contains("://") {
            true => reqwest::Url::parse(text),
            false => reqwest::Url::parse(&format!("http://{text}")),
        };
        let url = match url {
            Ok(url) => url,
            Err(error) => return malformed(&error.to_string()),
        };
        match url.scheme() {
            "http" | "https" | "socks5" | "socks5h" => {}
            _ => return malformed("it must begin with http://, https:// or socks5://"),
        }
        match url.host_str() {
            None | Some("") => malformed("it has no host"),
            Some(_) if url.port() == Some(0) => malformed("its port is 0"),
            Some(_) => Ok(Self { url, variable }),
        }
    }

    /// The address as the client takes it, with user and password. As in Go,
    /// a SOCKS proxy looks names up itself, whichever way it is written.
    pub(super) fn address(&self) -> reqwest::Url {
        let mut url = self.url.clone();
        if url.scheme() == "socks5" {
            // Neither of the two has a form of its own, so it can be changed.
            let _ = url.set_scheme("socks5h");
        }
        url
    }

    /// Whether the proxy itself is spoken to over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The variable that names it.
    pub(super) fn variable(&self) -> &'static str {
        self.variable
    }
}

/// `the proxy http://host:port from HTTPS_PROXY`
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, variable) = (&self.url, self.variable);
        let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
        write!(f, "the proxy {scheme}://{host}")?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        write!(f, " from {variable}")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Proxies, String> {
        Proxies::read(|name| {
            let mut variables = variables.iter();
            let found = variables.find(|(known, _)| *known == name);
            found.map(|(_, value)| Ok((*value).to_owned()))
        })
    }

    /// The proxy for a URL, in words.
    fn proxy(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = read(variables).unwrap_or_else(|error| panic!("{error}"));
        let proxy = proxies.for_url(&url.parse().unwrap());
        proxy.map(|proxy| proxy.to_string())
    }

    #[test]
    fn each_scheme_has_its_variable() {
        let (http, https) = ("http://a.example/", "https://a.example/");
        for (variables, url, expected) in [
            (&[][..], http, None),
            (
                &[("HTTP_PROXY", "http://p:1")][..],
                http,
                Some("the proxy http://p:1 from HTTP_PROXY"),
            ),
            (&[("HTTP_PROXY", "http://p:1")], https, None),
            (
                &[("https_proxy", "p:3128")],
                https,
                Some("the proxy http://p:3128 from https_proxy"),
            ),
            (
                &[("HTTPS_PROXY", ""), ("https_proxy", " https://p/ ")],
                https,
                Some("the proxy https://p from https_proxy"),
            ),
            (
                &[("ALL_PROXY", "http://all"), ("HTTPS_PROXY", "http://p")],
                http,
                Some("the proxy http://all from ALL_PROXY"),
            ),
            (
                &[("ALL_PROXY", "http://all"), ("HTTPS_PROXY", "http://p")],
                https,
                Some("the proxy http://p from HTTPS_PROXY"),
            ),
            (
                &[("HTTPS_PROXY", "http://p"), ("NO_PROXY", "a.example")],
                https,
                None,
            ),
            (
                &[("HTTPS_PROXY", "http://p"), ("no_proxy", "a.example:80")],
                https,
                Some("the proxy http://p from HTTPS_PROXY"),
            ),
        ] {
            assert_eq!(proxy(variables, url).as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_web_servers_handler_does_not_take_its_proxy_from_a_request() {
        let stranger = ("HTTP_PROXY", "http://evil.example");
        let handler = ("REQUEST_METHOD", "GET");
        assert_eq!(proxy(&[stranger, handler], "http://a.example/"), None);
        let own = ("http_proxy", "http://own.example");
        assert_eq!(
            proxy(&[stranger, handler, own], "http://a.example/").as_deref(),
            Some("the proxy http://own.example from http_proxy")
        );
    }

    #[test]
    fn what_is_next_door_is_asked_directly() {
        let variables = [("HTTP_PROXY", "http://p"), ("HTTPS_PROXY", "http://p")];
        for url in [
            "http://127.0.0.1:10000/",
            "https://127.9.9.9/",
            "http://[::1]/",
            "http://localhost/",
            "https://a.localhost:80/",
            "http://localhost./",
            "http://169.254.169.254/metadata",
            "http://169.254.129.3:8081/",
            "http://[fe80::1]/",
            "http://168.63.129.16/",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:169.254.169.254]/",
        ] {
            assert_eq!(proxy(&variables, url), None, "{url}");
        }
        for url in [
            "http://10.0.0.4/",
            "https://notlocalhost/",
            "http://8.8.8.8/",
        ] {
            assert!(proxy(&variables, url).is_some(), "{url}");
        }
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_named_and_not_shown() {
        for value in [
            "http://",
            "://",
            "http://me:hunter2@",
            "http://me:hunter2@p:port",
            "me:hunter2@p:99999",
            "http://me:hunter2@p q/",
            "socks4://me:hunter2@p:1080",
            "ftp://me:hunter2@p",
            "http://me:hunter2@p:0",
            "http://[::1",
        ] {
            for variable in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
                let error = read(&[(variable, value)]).expect_err(value);
                assert!(error.contains(variable), "{error}");
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let proxies = read(&[("HTTPS_PROXY", "http://me:hunter2@p:3128")]).unwrap();
        let shown = format!("{proxies:?}");
        assert!(
            shown.contains("http://p:3128") && !shown.contains("hunter2"),
            "{shown}"
        );
        let proxy = proxies
            .for_url(&"https://a.example".parse().unwrap())
            .unwrap();
        assert_eq!(proxy.address().password(), Some("hunter2"));
    }

    #[test]
    fn a_socks_proxy_looks_names_up_itself() {
        let proxies = read(&[("ALL_PROXY", "socks5://p:1080")]).unwrap();
        let proxy = proxies
            .for_url(&"http://a.example".parse().unwrap())
            .unwrap();
        assert_eq!(proxy.address().as_str(), "socks5h://p:1080");
        assert_eq!(
            proxy.to_string(),
            "the proxy socks5://p:1080 from ALL_PROXY"
        );
    }
}
