//! The server: a function for each thing that this backend asks of it.

use std::cell::Cell;
use std::time::UNIX_EPOCH;

use wasip3::http::types::{Method, Response};
use wit_bindgen::{FutureReader, StreamReader};

use crate::bindings::build_cache::plugin::content;
use crate::bindings::build_cache::plugin::events::{Event, emit};
use crate::bindings::build_cache::plugin::types::{CallId, Error};
use crate::bindings::{wit_future, wit_stream};
use crate::config::Config;
use crate::wire::{Failure, Request, collect, header, why};

/// A layer's bytes on their way to the host, and whether they were all.
pub(crate) type Outgoing = (StreamReader<u8>, FutureReader<Result<(), Error>>);

/// A layer without bytes.
pub(crate) fn nothing() -> Outgoing {
    (wit_stream::new().1, wit_future::new(|| Ok(())).1)
}

/// The server of a cache, and what one call has asked of it.
pub(crate) struct Server<'a> {
    pub(crate) config: &'a Config,
    /// Which call it is, for events and for content.
    pub(crate) call: CallId,
    /// Requests sent.
    pub(crate) requests: Cell<u32>,
    /// Requests that failed and were sent again.
    pub(crate) retries: Cell<u32>,
}

/// What a server tells of a file without sending it.
pub(crate) struct Found {
    /// In bytes; none where the server does not say.
    pub(crate) size: Option<u64>,
    /// When it was written, in seconds since the Unix epoch; 0 where the server
    /// does not say.
    pub(crate) modified: u64,
    /// Its ETag; empty where the server does not say.
    pub(crate) version: String,
}

/// What must be true of a file before it is replaced.
pub(crate) enum Condition {
    /// Nothing.
    None,
    /// That there is none.
    Absent,
    /// That it still has this ETag.
    Is(String),
}

impl<'a> Server<'a> {
    pub(crate) fn new(config: &'a Config, call: CallId) -> Self {
        Self {
            config,
            call,
            requests: Cell::new(0),
            retries: Cell::new(0),
        }
    }

    /// Asks for a file's size and version. None where there is no such file.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Found>, Error> {
        self.persist(async || self.find_once(path).await).await
    }

    async fn find_once(&self, path: &str) -> Result<Option<Found>, Failure> {
        let answer = self.send(&Request::new(Method::Head, path), None).await?;
        Ok(answer.map(|answer| Found {
            size: header(&answer, "content-length").parse().ok(),
            modified: seconds(&header(&answer, "last-modified")),
            version: header(&answer, "etag"),
        }))
    }

    /// Stores a layer, unless the server has it. Whether it had to be sent.
    ///
    /// Every try looks first: one that succeeded and whose answer was lost is
    /// not repeated, and a short file that one may have left is replaced.
    pub(crate) async fn store_layer(
        &self,
        path: &str,
        blob: &str,
        size: u64,
    ) -> Result<bool, Error> {
        let request = Request::new(Method::Put, path)
            .with("content-length", size.to_string())
            .with("content-type", "application/octet-stream");
        let sent = Cell::new(false);
        let store_once = async || {
            let found = self.find_once(path).await?;
            if found.is_some_and(|found| found.size == Some(size)) {
                return Ok(());
            }
            if !sent.replace(true) {
                emit(self.call, &Event::LayerStarted(blob.to_owned()));
            }
            // The host's stream goes into the request as it is: none of its
            // bytes enters this component.
            let (bytes, outcome) = content::read(self.call, blob, 0, size);
            match self.send(&request, Some(bytes)).await {
                Ok(answer) => self.stored(&request, answer),
                // Perhaps the stream ended too soon, and the host knows why.
                Err(failure) => Err(outcome.await.map_or_else(Failure::Final, |()| failure)),
            }
        };
        self.persist(store_once).await?;
        Ok(sent.get())
    }

    /// Stores a file from memory, in place of what was there.
    pub(crate) async fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.put_if(&Condition::None, path, bytes).await
    }

    /// Stores a file from memory, if the condition holds. A server that ignores
    /// conditions leaves a moment between the look and the write.
    pub(crate) async fn put_if(
        &self,
        condition: &Condition,
        path: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let retries = self.retries.get();
        match self.put_on(condition, path, bytes).await {
            // Perhaps an earlier try of our own was there first, and its answer
            // was lost.
            Err(Error::Conflict(why)) if self.retries.get() > retries => {
                match self.get(path).await? {
                    Some((found, _)) if found == bytes => Ok(()),
                    _ => Err(Error::Conflict(why)),
                }
            }
            outcome => outcome,
        }
    }

    async fn put_on(&self, condition: &Condition, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut request = Request::new(Method::Put, path)
            .with("content-length", bytes.len().to_string())
            .with("content-type", "application/json");
        match condition {
            Condition::None => {}
            Condition::Absent => request = request.with("if-none-match", "*"),
            Condition::Is(version) => request = request.with("if-match", version),
        }
        // Not every server heeds these headers, so the file is looked at first.
        let holds = match condition {
            Condition::None => true,
            Condition::Absent => self.find(path).await?.is_none(),
            Condition::Is(version) => {
                let found = self.find(path).await?;
                found.is_some_and(|found| !version.is_empty() && found.version == *version)
            }
        };
        if !holds {
            let request = self.describe(&request);
            return Err(Error::Conflict(format!(
                "{request}: another client was there first"
            )));
        }
        let put_once = async || {
            let (mut writer, body) = wasip3::wit_stream::new();
            let feeding = async move {
                // What is left over, the host did not want: it has its answer.
                writer.write_all(bytes.to_vec()).await;
            };
            let (answer, ()) = futures::join!(self.send(&request, Some(body)), feeding);
            self.stored(&request, answer?)
        };
        self.persist(put_once).await
    }

    /// A PUT that finds nothing there was not taken.
    fn stored(&self, request: &Request<'_>, answer: Option<Response>) -> Result<(), Failure> {
        answer.map(drop).ok_or_else(|| {
            let request = self.describe(request);
            Failure::Final(Error::Other(format!(
                "{request}: the server has no such place; check `url`, and make blobs/sha256 and \
                 manifests below it"
            )))
        })
    }

    /// Reads a file into memory, with its ETag. None where there is no such file.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<(Vec<u8>, String)>, Error> {
        let request = Request::new(Method::Get, path);
        let get_once = async || match self.send(&request, None).await? {
            Some(answer) => {
                let version = header(&answer, "etag");
                let bytes = collect(answer, self.describe(&request)).await?;
                Ok(Some((bytes, version)))
            }
            None => Ok(None),
        };
        self.persist(get_once).await
    }

    /// Streams a file from `offset`, to its end or for `length` bytes, at
    /// least one. None where there is no such file.
    pub(crate) async fn read(
        &self,
        path: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Option<Outgoing>, Error> {
        let last = length.map(|length| offset.saturating_add(length - 1).to_string());
        let range = format!("bytes={offset}-{}", last.unwrap_or_default());
        let request = Request::new(Method::Get, path).with("range", range);
        let answer = self
            .persist(async || self.send(&request, None).await)
            .await?;
        let Some(answer) = answer else {
            return Ok(None);
        };
        let size = header(&answer, "content-length").parse::<u64>().ok();
        let part = header(&answer, "content-range");
        match answer.get_status_code() {
            206 if part.starts_with(&format!("bytes {offset}-")) => {}
            // The whole file, which does where no more than that was asked for.
            200 if offset == 0
                && (length.is_none() || size.is_some_and(|size| Some(size) <= length)) => {}
            // The file ends before the range begins.
            416 => return Ok(Some(nothing())),
            _ => {
                let request = self.describe(&request);
                return Err(Error::Other(format!(
                    "{request}: the server sent another part than it was asked for; it must \
                     understand Range"
                )));
            }
        }
        Ok(Some(hand_on(answer, self.describe(&request))))
    }

    /// Removes a file if it still has this size and version.
    ///
    /// Not every server heeds If-Match, so the file is looked at first.
    pub(crate) async fn remove(&self, path: &str, size: u64, version: &str) -> Result<bool, Error> {
        match self.find(path).await? {
            Some(found) if found.size == Some(size) && found.version == version => {}
            _ => return Ok(false),
        }
        let mut request = Request::new(Method::Delete, path);
        if !version.is_empty() {
            request = request.with("if-match", version);
        }
        let answer = self
            .persist(async || self.send(&request, None).await)
            .await?;
        Ok(answer.is_some())
    }
}

/// Hands an answer's body on unread, with a future that tells whether it was
/// all of it. `what` names it in an error.
fn hand_on(answer: Response, what: String) -> Outgoing {
    let handled = wasip3::wit_future::new(|| Ok(())).1;
    let (bytes, ended) = Response::consume_body(answer, handled);
    let (verdict, outcome) = wit_future::new(|| Ok(()));
    // Runs on after the call has returned, until the body has ended.
    wit_bindgen::spawn_local(async move {
        let ended = ended.await.map(drop);
        let ended = ended.map_err(|code| Error::Unavailable(format!("{what}: {}", why(&code))));
        // Not taken means that the host no longer wants to know.
        let _ = verdict.write(ended).await;
    });
    (bytes, outcome)
}

/// Reads a date, in seconds since the Unix epoch; 0 where there is none.
fn seconds(date: &str) -> u64 {
    let date = httpdate::parse_http_date(date).ok();
    let since = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}
