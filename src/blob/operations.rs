//! The operations of the Blob service that a cache needs.
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api>

use std::rc::Rc;

use super::failure::{Cause, Failure};
use super::properties::{Properties, State};
use super::xml::{self, Listing};
use super::{Blobs, BlockIds, checksum};
use crate::cache::layout::BlobKey;
use crate::transport::{Body, Headers, Method, Request, Timeouts, Transport};

/// The most that one Put Blob takes, in bytes.
pub(crate) const MAX_PUT_BLOB: u64 = 5000 * 1024 * 1024;

/// The most blobs that one part of a listing holds.
/// <https://learn.microsoft.com/rest/api/storageservices/list-blobs>
pub(crate) const LONGEST_PAGE: u32 = 5000;

/// What a part of a listing may take, in bytes: 5,000 blobs with the longest
/// names, each character escaped.
const MAX_LISTING: usize = 64 * 1024 * 1024;

/// What a write asks of the blob that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing: the last writer wins.
    None,
    /// That there is none.
    Absent,
    /// That it is still this version.
    Is(String),
}

/// A whole blob, and its version.
pub(crate) struct Whole {
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: String,
}

/// What a ranged read found.
pub(crate) enum Span<B> {
    /// The bytes, not read yet.
    Bytes(B),
    /// There is no such blob.
    Absent,
    /// The range begins at or after the blob's end.
    PastTheEnd,
}

/// A part of a listing.
pub(crate) type Page = Listing;

impl<T: Transport> Blobs<'_, T> {
    /// Get Blob Properties: none where there is no such blob. One whose length
    /// the answer does not tell is there, and of no use.
    pub(crate) async fn properties(&self, key: &BlobKey) -> Result<Option<Properties>, Failure> {
        let request = self.request(Method::Head, Some(key));
        let Some(answer) = self.or_absent(self.send(&request, 200).await)? else {
            return Ok(None);
        };
        let length = answer.headers.get("content-length");
        let etag = answer.headers.get("etag").unwrap_or("").to_owned();
        Ok(Some(
            match length.and_then(|text| text.trim().parse().ok()) {
                Some(size) => Properties {
                    size,
                    modified: modified(&answer.headers),
                    etag,
                    state: State::of(&answer.headers),
                },
                None => Properties {
                    etag,
                    ..Properties::refused("it does not contain the blob's length".to_owned())
                },
            },
        ))
    }

    /// Get Blob, the whole of it: none where there is no such blob.
    pub(crate) async fn get(
        &self,
        key: &BlobKey,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let whole = self.get_whole(key, limit).await?;
        Ok(whole.map(|whole| whole.bytes))
    }

    /// Get Blob, the whole of it with its version: none where there is no such
    /// blob.
    pub(crate) async fn get_whole(
        &self,
        key: &BlobKey,
        limit: usize,
    ) -> Result<Option<Whole>, Failure> {
        let request = self.request(Method::Get, Some(key));
        let answer = self.or_absent(self.fetch(&request, limit).await)?;
        Ok(answer.map(|answer| Whole {
            etag: answer.headers.get("etag").unwrap_or("").to_owned(),
            bytes: answer.body,
        }))
    }

    /// Get Blob from `offset`, to its end or for `length` bytes, of which
    /// there must be at least one. The bytes are not read.
    pub(crate) async fn span(
        &self,
        key: &BlobKey,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Span<T::Body>, Failure> {
        let mut request = self.request(Method::Get, Some(key));
        let is_whole = offset == 0 && length.is_none();
        if !is_whole {
            let last = length.map(|length| offset.saturating_add(length) - 1);
            let last = last.map_or(String::new(), |last| last.to_string());
            request
                .headers
                .push("range", format!("bytes={offset}-{last}"));
        }
        match self.send(&request, if is_whole { 200 } else { 206 }).await {
            Ok(answer) if is_whole || has_range(&answer.headers, offset, length) => {
                Ok(Span::Bytes(answer.body))
            }
            Ok(_) => Err(strange(&request, 206, "its range is not the one asked for")),
            Err(failure) if failure.is_absence() => Ok(Span::Absent),
            Err(failure) if failure.status() == 416 => Ok(Span::PastTheEnd),
            Err(failure) => Err(failure),
        }
    }

    /// Put Blob: the whole of a blob of up to [`MAX_PUT_BLOB`] bytes.
    pub(crate) async fn put(
        &self,
        key: &BlobKey,
        body: Body,
        condition: &Condition,
    ) -> Result<(), Failure> {
        let mut request = self.request(Method::Put, Some(key));
        request
            .headers
            .push("content-type", "application/octet-stream");
        request.headers.push("x-ms-blob-type", "BlockBlob");
        condition.put_on(&mut request.headers);
        checksum::put_on(&mut request.headers, &body);
        request.body = body;
        self.write(&request).await
    }

    /// Put Blob where there is no blob yet, in a container that is there
    /// already: what tries a write should not make one.
    pub(crate) async fn put_probe(
        &self,
        key: &BlobKey,
        bytes: &'static [u8],
    ) -> Result<(), Failure> {
        let mut request = self.request(Method::Put, Some(key));
        request.headers.push("x-ms-blob-type", "BlockBlob");
        Condition::Absent.put_on(&mut request.headers);
        request.body = Body::Bytes(Rc::new(bytes.to_vec()));
        self.send(&request, 201).await.map(drop)
    }

    /// Put Blob on a condition that no blob meets: tells whether one may write
    /// here, and writes nothing.
    pub(crate) async fn put_nothing(&self, key: &BlobKey) -> Result<(), Failure> {
        let mut request = self.request(Method::Put, Some(key));
        request.headers.push("x-ms-blob-type", "BlockBlob");
        Condition::Is("\"0x0\"".to_owned()).put_on(&mut request.headers);
        match self.send(&request, 201).await {
            Err(failure) if failure.status() == 412 => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Put Block: one block of an upload that is not committed.
    pub(crate) async fn put_block(
        &self,
        key: &BlobKey,
        id: String,
        body: Body,
    ) -> Result<(), Failure> {
        let mut request = self.request(Method::Put, Some(key));
        request.query = vec![("comp", "block".to_owned()), ("blockid", id)];
        request
            .headers
            .push("content-type", "application/octet-stream");
        request.body = body;
        self.write(&request).await
    }

    /// Put Block List: makes a blob of an upload's blocks, the first `count`.
    pub(crate) async fn put_block_list(
        &self,
        key: &BlobKey,
        ids: &BlockIds,
        count: u32,
        condition: &Condition,
    ) -> Result<(), Failure> {
        let mut request = self.request(Method::Put, Some(key));
        request.query = vec![("comp", "blocklist".to_owned())];
        request.headers.push("content-type", "application/xml");
        condition.put_on(&mut request.headers);
        let list = xml::block_list((0..count).map(|number| ids.id(number)));
        request.body = Body::Bytes(Rc::new(list.into_bytes()));
        checksum::put_on(&mut request.headers, &request.body);
        self.write(&request).await
    }

    /// Delete Blob, if it is still this version. False where it is another or
    /// gone.
    pub(crate) async fn delete(&self, key: &BlobKey, etag: &str) -> Result<bool, Failure> {
        let mut request = self.request(Method::Delete, Some(key));
        Condition::Is(etag.to_owned()).put_on(&mut request.headers);
        match self.send(&request, 202).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_absence() => Ok(false),
            Err(failure) if failure.status() == 412 && !failure.refuses_this_blob() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Set Blob Metadata to what it is already: changes nothing but the time of
    /// the last change, and with it the ETag. False where there is no such blob,
    /// or one that cannot be read.
    /// <https://learn.microsoft.com/rest/api/storageservices/set-blob-metadata>
    pub(crate) async fn touch(&self, key: &BlobKey) -> Result<bool, Failure> {
        let found = self.request(Method::Head, Some(key));
        let Some(found) = self.or_absent(self.send(&found, 200).await)? else {
            return Ok(false);
        };
        if State::of(&found.headers) != State::Readable {
            return Ok(false);
        }
        let mut request = self.request(Method::Put, Some(key));
        request.query = vec![("comp", "metadata".to_owned())];
        for (name, value) in found.headers.iter() {
            if name.starts_with("x-ms-meta-") {
                request.headers.push(name, value);
            }
        }
        // What another writer puts there in between keeps its own metadata.
        let etag = found.headers.get("etag").unwrap_or("").to_owned();
        Condition::Is(etag).put_on(&mut request.headers);
        match self.send(&request, 200).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_absence() || failure.code() == "BlobArchived" => Ok(false),
            // Then it was changed a moment ago, and is as new as we would make
            // it, unless it was removed. A lease is none of that.
            Err(failure) if failure.is_lost_race() && failure.code() != "LeaseIdMissing" => {
                Ok(self.properties(key).await?.is_some())
            }
            Err(failure) => Err(failure),
        }
    }

    /// List Blobs whose keys begin with `prefix`, at most `count` of them, from
    /// where the last part ended. A container that does not exist holds none; of
    /// one that anybody may read but not list, Azure says to those without a
    /// credential that it does not exist, which is a failure here.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        count: u32,
        marker: Option<String>,
    ) -> Result<Page, Failure> {
        let mut request = self.request(Method::Get, None);
        request.query = vec![
            ("restype", "container".to_owned()),
            ("comp", "list".to_owned()),
            ("maxresults", count.to_string()),
            // By it some directories are told from blobs.
            ("include", "metadata".to_owned()),
        ];
        // Azurite takes an empty value for a value.
        if !prefix.is_empty() {
            request.query.push(("prefix", prefix.to_owned()));
        }
        request
            .query
            .extend(marker.map(|marker| ("marker", marker)));
        let listed = match self.fetch(&request, MAX_LISTING).await {
            Err(failure) if failure.was_sent_by_nobody() => return Err(failure),
            listed => self.or_absent(listed)?,
        };
        match listed {
            None => Ok(Page::default()),
            Some(answer) => xml::listing(&answer.body).map_err(|why| strange(&request, 200, &why)),
        }
    }

    /// A write, before which the container is made if it is known to be
    /// missing, and after which it is made if that turns out.
    async fn write(&self, request: &Request) -> Result<(), Failure> {
        self.make_missing_container().await?;
        let container = &self.container;
        let times_made = container.times_made.get();
        match self.send(request, 201).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.code() == "ContainerNotFound" => {
                // Unless it has been made since this request went out.
                if container.times_made.get() == times_made {
                    container.is_missing.set(true);
                }
                self.make_missing_container().await?;
                self.send(request, 201).await.map(drop)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Create Container, once, if an answer has said that there is none.
    async fn make_missing_container(&self) -> Result<(), Failure> {
        let container = &self.container;
        if !container.is_missing.get() {
            return Ok(());
        }
        let _making = container.making.lock().await;
        if !container.is_missing.get() {
            return Ok(());
        }
        let mut request = self.request(Method::Put, None);
        request.query = vec![("restype", "container".to_owned())];
        match self.send(&request, 201).await {
            Err(failure) if failure.code() != "ContainerAlreadyExists" => Err(failure),
            _ => {
                container.is_missing.set(false);
                container.times_made.set(container.times_made.get() + 1);
                Ok(())
            }
        }
    }

    /// Takes a 404 for 'not there', and notes when that is for want of the
    /// container.
    fn or_absent<R>(&self, found: Result<R, Failure>) -> Result<Option<R>, Failure> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_absence() => {
                if failure.code() == "ContainerNotFound" && self.container.times_made.get() == 0 {
                    self.container.is_missing.set(true);
                }
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// A request to a blob, or to the container itself.
    fn request(&self, method: Method, key: Option<&BlobKey>) -> Request {
        let url = &self.config.account_url;
        let mut path = format!("{}/{}", url.path, self.config.container.as_str());
        if let Some(key) = key {
            path.push('/');
            path.push_str(&key.on_the_wire());
        }
        Request {
            method,
            https: url.https,
            authority: url.authority.clone(),
            path,
            query: Vec::new(),
            given_query: None,
            headers: Headers::default(),
            body: Body::Empty,
            timeouts: Timeouts::default(),
        }
    }
}

impl Condition {
    /// Says it in a request's header.
    fn put_on(&self, headers: &mut Headers) {
        match self {
            Self::None => {}
            Self::Absent => headers.push("if-none-match", "*"),
            Self::Is(etag) => headers.push("if-match", etag.as_str()),
        }
    }
}

/// When a blob was last changed, in seconds since the Unix epoch.
fn modified(headers: &Headers) -> u64 {
    let date = headers.get("last-modified").unwrap_or("");
    xml::seconds(date).unwrap_or(0)
}

/// Whether the answer's range is the one asked for: a proxy in between might
/// give another.
fn has_range(headers: &Headers, offset: u64, length: Option<u64>) -> bool {
    let range = headers.get("content-range").unwrap_or("");
    let parsed = range.strip_prefix("bytes ").and_then(|range| {
        let (range, total) = range.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| text.parse::<u64>().ok();
        Some((number(first)?, number(last)?, number(total)?))
    });
    parsed.is_some_and(|(first, last, total)| {
        let end = length.map_or(total, |length| total.min(offset.saturating_add(length)));
        first == offset && last.checked_add(1) == Some(end)
    })
}

/// An answer that the Blob service would not give.
fn strange(request: &Request, status: u16, why: &str) -> Failure {
    Failure {
        request: request.summary(),
        cause: Cause::Strange {
            status,
            why: why.to_owned(),
        },
    }
}
