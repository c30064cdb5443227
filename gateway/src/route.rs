//! Which resource a request's path names. No request is looked at beyond its
//! path and query.

use build_cache_host::Digest;
use percent_encoding::percent_decode_str;

use crate::reference::{Reference, Repository};
use crate::refusal::{Code, Refusal};

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`: whether this is a registry.
    Version,
    /// A blob.
    Blob(Repository, Digest),
    /// Where uploads begin.
    Uploads(Repository),
    /// An upload that began.
    Upload(Repository, String),
    /// A manifest.
    Manifest(Repository, Reference),
    /// The tags of a repository.
    Tags(Repository),
    /// What refers to a manifest.
    Referrers(Repository, Digest),
    /// The page for people.
    Page,
    /// What the page shows.
    Status,
    /// Whether the server runs.
    Health,
    /// The figures for a monitoring system.
    Metrics,
}

impl Route {
    /// A word for logs and figures.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Blob(..) => "blob",
            Self::Uploads(_) | Self::Upload(..) => "upload",
            Self::Manifest(..) => "manifest",
            Self::Tags(_) => "tags",
            Self::Referrers(..) => "referrers",
            Self::Page | Self::Status => "page",
            Self::Health => "health",
            Self::Metrics => "metrics",
        }
    }

    /// Reads a path.
    pub fn parse(path: &str) -> Result<Self, Refusal> {
        let path = percent_decode_str(path)
            .decode_utf8()
            .map_err(|_| nothing())?;
        match &*path {
            "/" => return Ok(Self::Page),
            "/status.json" => return Ok(Self::Status),
            "/healthz" => return Ok(Self::Health),
            "/metrics" => return Ok(Self::Metrics),
            "/v2" | "/v2/" => return Ok(Self::Version),
            _ => {}
        }
        let parts: Vec<_> = path
            .strip_prefix("/v2/")
            .ok_or_else(nothing)?
            .split('/')
            .collect();
        match &parts[..] {
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Self::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] => {
                Ok(Self::Upload(repository(name)?, (*id).to_owned()))
            }
            [name @ .., "blobs", digest] => {
                Ok(Self::Blob(repository(name)?, parse_digest(digest)?))
            }
            [name @ .., "manifests", reference] => {
                let name = repository(name)?;
                let reference = if reference.contains(':') {
                    Reference::Digest(parse_digest(reference)?)
                } else {
                    Reference::parse(reference).ok_or_else(|| invalid_tag(reference))?
                };
                Ok(Self::Manifest(name, reference))
            }
            [name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [name @ .., "referrers", digest] => {
                Ok(Self::Referrers(repository(name)?, parse_digest(digest)?))
            }
            _ => Err(nothing()),
        }
    }
}

/// The parameters after the `?` that a registry knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The digest of what is uploaded.
    pub digest: Option<String>,
    /// The blob that another repository may have.
    pub mount: Option<String>,
    /// How many tags are wanted.
    pub n: Option<usize>,
    /// The tag after which they begin.
    pub last: Option<String>,
}

impl Query {
    /// Reads a query; what is not known is ignored.
    pub fn parse(query: Option<&str>) -> Self {
        let mut parsed = Self::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "digest" => parsed.digest = Some(value.into_owned()),
                "mount" => parsed.mount = Some(value.into_owned()),
                "n" => parsed.n = value.parse().ok(),
                "last" => parsed.last = Some(value.into_owned()),
                _ => {}
            }
        }
        parsed
    }
}

/// Reads a digest. Build caches have SHA-256 alone.
pub fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse()
        .map_err(|error| Refusal::new(Code::DigestInvalid, format!("{error}")))
}

fn repository(parts: &[&str]) -> Result<Repository, Refusal> {
    let name = parts.join("/");
    Repository::parse(&name).ok_or_else(|| {
        let shown: String = name.chars().take(80).collect();
        Refusal::new(
            Code::NameInvalid,
            format!(
                "`{shown}` cannot be a repository: its name has lower-case letters and digits, with `.`, `_` or `-` between them, in parts with `/` between them"
            ),
        )
    })
}

fn invalid_tag(tag: &str) -> Refusal {
    let shown: String = tag.chars().take(80).collect();
    Refusal::new(
        Code::NameInvalid,
        format!(
            "`{shown}` cannot be a tag: it has up to 128 letters, digits, `_`, `.` and `-`; write any other byte as `_.` and two hexadecimal digits"
        ),
    )
}

fn nothing() -> Refusal {
    Refusal::new(
        Code::NameUnknown,
        "there is nothing at this path: this is a registry for build caches, below /v2/, with a page for people at /",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> Repository {
        Repository::parse(name).expect("a repository")
    }

    #[test]
    fn paths_are_those_of_the_distribution_specification() {
        let digest = Digest::of(b"x");
        let app = || repository("cache/app");
        let tag = |tag| Reference::parse(tag).expect("a tag");
        let cases = [
            ("/".to_owned(), Route::Page),
            ("/healthz".to_owned(), Route::Health),
            ("/v2/".to_owned(), Route::Version),
            ("/v2".to_owned(), Route::Version),
            (
                format!("/v2/cache/app/blobs/{digest}"),
                Route::Blob(app(), digest.clone()),
            ),
            (
                format!("/v2/cache/app/blobs/sha256%3A{}", digest.hex()),
                Route::Blob(app(), digest.clone()),
            ),
            (
                "/v2/cache/app/blobs/uploads/".to_owned(),
                Route::Uploads(app()),
            ),
            (
                "/v2/cache/app/blobs/uploads".to_owned(),
                Route::Uploads(app()),
            ),
            (
                "/v2/cache/app/blobs/uploads/id1".to_owned(),
                Route::Upload(app(), "id1".to_owned()),
            ),
            (
                "/v2/cache/app/manifests/main".to_owned(),
                Route::Manifest(app(), tag("main")),
            ),
            (
                format!("/v2/cache/app/manifests/{digest}"),
                Route::Manifest(app(), Reference::Digest(digest.clone())),
            ),
            ("/v2/cache/app/tags/list".to_owned(), Route::Tags(app())),
            (
                format!("/v2/cache/app/referrers/{digest}"),
                Route::Referrers(app(), digest.clone()),
            ),
            // Repositories may be called what the paths are called.
            (
                "/v2/blobs/uploads/manifests/main".to_owned(),
                Route::Manifest(repository("blobs/uploads"), tag("main")),
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(Route::parse(&path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is_misspelt() {
        let cases = [
            ("/v1/", Code::NameUnknown),
            ("/v2/_catalog", Code::NameUnknown),
            ("/v2/app", Code::NameUnknown),
            ("/v2/app/tags/", Code::NameUnknown),
            ("/v2/App/tags/list", Code::NameInvalid),
            ("/v2//tags/list", Code::NameInvalid),
            ("/v2/a/../b/tags/list", Code::NameInvalid),
            ("/v2/app/manifests/feature%2Fx", Code::NameUnknown),
            ("/v2/app/manifests/-x", Code::NameInvalid),
            ("/v2/app/manifests/", Code::NameInvalid),
            ("/v2/app/blobs/sha512:00", Code::DigestInvalid),
            ("/v2/app/blobs/x", Code::DigestInvalid),
            ("/v2/app/manifests/sha256:x", Code::DigestInvalid),
            ("/%FF", Code::NameUnknown),
        ];
        for (path, code) in cases {
            let refusal = Route::parse(path).expect_err(path);
            assert_eq!(refusal.code, code, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded_and_unknown_parts_kept_out() {
        let query = Query::parse(Some("_state=a%3D%3D&digest=sha256%3Aabc&n=5&last=x&n=q"));
        assert_eq!(query.digest.as_deref(), Some("sha256:abc"));
        assert_eq!((query.n, query.last.as_deref()), (None, Some("x")));
        assert_eq!(Query::parse(None), Query::default());
    }
}
