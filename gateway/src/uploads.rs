//! Uploads: from the first request to the blob that is whole, has the digest that
//! was named, and is on its way to the store.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use build_cache_host::{Digest, Manifest};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::documents::Document;
use crate::gateway::Inner;
use crate::intake::{self, IntakeError};
use crate::range;
use crate::reference::Repository;
use crate::refusal::{Code, Refusal};
use crate::reply::{self, Reply};
use crate::route::{Query, parse_digest};
use crate::spool::Draft;

/// A request that finds another one busy with the same upload waits this long.
const BUSY: Duration = Duration::from_secs(10);
/// A document is at most as large as a cache's records may be, and some.
const DOCUMENT_BYTES: u64 = Manifest::MAX_RECORDS_BYTES as u64 + (16 << 20);
/// Configs are stored as a part of the cache, whatever a client calls them.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// The uploads that are open.
#[derive(Default)]
pub(crate) struct Uploads {
    open: Mutex<HashMap<String, Arc<Upload>>>,
}

struct Upload {
    repository: Repository,
    /// None once it is complete or given up.
    draft: AsyncMutex<Option<Draft>>,
    touched: Mutex<Instant>,
}

impl Uploads {
    /// How many are open.
    pub fn count(&self) -> usize {
        self.open().len()
    }

    fn begin(&self, repository: &Repository, draft: Draft, most: usize) -> Option<String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let id = format!("{:032x}", u128::from_ne_bytes(random));
        let upload = Arc::new(Upload {
            repository: repository.clone(),
            draft: AsyncMutex::new(Some(draft)),
            touched: Mutex::new(Instant::now()),
        });
        let mut open = self.open();
        if open.len() >= most {
            return None;
        }
        open.insert(id.clone(), upload);
        Some(id)
    }

    fn get(&self, repository: &Repository, id: &str) -> Result<Arc<Upload>, Refusal> {
        let upload = self.open().get(id).cloned();
        let upload = upload.filter(|upload| upload.repository == *repository);
        let upload = upload.ok_or_else(no_upload)?;
        upload.touch();
        Ok(upload)
    }

    fn remove(&self, id: &str) {
        self.open().remove(id);
    }

    /// Gives up the uploads that rested for longer than this.
    pub fn sweep(&self, rest: Duration) {
        self.open().retain(|_, upload| {
            let touched = *upload
                .touched
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // One that is being written to is not resting.
            touched.elapsed() < rest || upload.draft.try_lock().is_err()
        });
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Upload>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Inner {
    /// Begins an upload, or says that none is needed.
    pub async fn begin_upload(
        self: &Arc<Self>,
        repository: &Repository,
        query: &Query,
        request: &mut Request<Incoming>,
    ) -> Result<Reply, Refusal> {
        let target = self.target()?;
        if let Some(mount) = &query.mount
            && let Ok(blob) = mount.parse()
            && self.size_for_push(&blob, request.headers()).await.is_some()
        {
            return Ok(reply::created(&blob_location(repository, &blob), &blob));
        }
        if let Some(error) = target.pending.recent_failure()
            && !self.options.ignore_errors
        {
            return Err(Refusal::from_store(&error));
        }
        let mut draft = self.spool.draft().map_err(|error| no_room(&error))?;
        if let Some(digest) = &query.digest {
            // The whole blob in one request.
            let digest = parse_digest(digest)?;
            self.receive(&mut draft, request).await?;
            return self.finish_upload(repository, draft, &digest);
        }
        let most = self.options.limits.uploads;
        let id = self.uploads.begin(repository, draft, most).ok_or_else(|| {
            Refusal::new(
                Code::Unavailable,
                format!("{most} uploads are open already; try again when some have ended"),
            )
        })?;
        let location = upload_location(repository, &id);
        Ok(reply::upload(StatusCode::ACCEPTED, &location, &id, 0))
    }

    /// Appends to an upload.
    pub async fn append(
        &self,
        repository: &Repository,
        id: &str,
        request: &mut Request<Incoming>,
    ) -> Result<Reply, Refusal> {
        self.target()?;
        let upload = self.uploads.get(repository, id)?;
        let mut draft = lock(&upload).await?;
        let draft = draft.as_mut().ok_or_else(no_upload)?;
        let location = upload_location(repository, id);
        if let Some(refused) = out_of_order(request, draft.size)? {
            return Ok(reply::upload(refused, &location, id, draft.size));
        }
        let received = self.receive(draft, request).await;
        upload.touch();
        if draft.digest().is_none() {
            // What is on the disk is not what was hashed.
            self.uploads.remove(id);
        }
        received?;
        Ok(reply::upload(
            StatusCode::ACCEPTED,
            &location,
            id,
            draft.size,
        ))
    }

    /// Ends an upload, perhaps with its last part.
    pub async fn complete(
        self: &Arc<Self>,
        repository: &Repository,
        id: &str,
        query: &Query,
        request: &mut Request<Incoming>,
    ) -> Result<Reply, Refusal> {
        self.target()?;
        let upload = self.uploads.get(repository, id)?;
        let digest = query.digest.as_deref().ok_or_else(|| {
            Refusal::new(
                Code::DigestInvalid,
                "the request that ends an upload needs `?digest=sha256:…`",
            )
        })?;
        let digest = parse_digest(digest)?;
        let mut held = lock(&upload).await?;
        let draft = held.as_mut().ok_or_else(no_upload)?;
        if let Some(refused) = out_of_order(request, draft.size)? {
            let location = upload_location(repository, id);
            return Ok(reply::upload(refused, &location, id, draft.size));
        }
        let received = self.receive(draft, request).await;
        // Whatever comes of it, the upload ends here.
        let draft = held.take().ok_or_else(no_upload)?;
        self.uploads.remove(id);
        received?;
        self.finish_upload(repository, draft, &digest)
    }

    /// How far an upload has come.
    pub async fn upload_status(&self, repository: &Repository, id: &str) -> Result<Reply, Refusal> {
        let upload = self.uploads.get(repository, id)?;
        let draft = lock(&upload).await?;
        let size = draft.as_ref().ok_or_else(no_upload)?.size;
        let location = upload_location(repository, id);
        Ok(reply::upload(StatusCode::NO_CONTENT, &location, id, size))
    }

    /// Gives an upload up.
    pub fn cancel_upload(&self, repository: &Repository, id: &str) -> Result<Reply, Refusal> {
        self.uploads.get(repository, id)?;
        self.uploads.remove(id);
        Ok(reply::status(StatusCode::NO_CONTENT))
    }

    async fn receive(
        &self,
        draft: &mut Draft,
        request: &mut Request<Incoming>,
    ) -> Result<(), Refusal> {
        let patience = self.options.limits.patience;
        let received = intake::receive(draft, request.body_mut(), patience).await;
        let bytes = received.map_err(|error| refused(&error))?;
        self.stats.received(bytes);
        Ok(())
    }

    /// Keeps a blob that is whole, if it is what its digest says.
    fn finish_upload(
        self: &Arc<Self>,
        repository: &Repository,
        draft: Draft,
        digest: &Digest,
    ) -> Result<Reply, Refusal> {
        let target = self.target()?;
        let found = draft.digest().ok_or_else(no_upload)?;
        if found != *digest {
            return Err(Refusal::new(
                Code::DigestInvalid,
                format!(
                    "the {} bytes that arrived have the digest {found}, not {digest}; nothing was stored",
                    draft.size
                ),
            ));
        }
        let spooled = self
            .spool
            .keep(draft, digest)
            .map_err(|error| no_room(&error))?;
        // What a manifest names as its config goes to the store as a part of the
        // cache, not as a layer. No layer is JSON.
        match spooled.json(DOCUMENT_BYTES) {
            Some(bytes) => self.keep_document(digest, bytes),
            None => target.pending.submit(spooled),
        }
        Ok(reply::created(&blob_location(repository, digest), digest))
    }

    fn keep_document(&self, digest: &Digest, bytes: Bytes) {
        let media_type = UNKNOWN_TYPE.to_owned();
        let document = Document { bytes, media_type };
        self.documents.put(digest.clone(), document);
    }

    /// Sends a document to the store after all, since a manifest names it as a
    /// layer.
    pub async fn store_document(
        self: &Arc<Self>,
        digest: &Digest,
        bytes: &Bytes,
    ) -> Result<(), Refusal> {
        let target = self.target()?;
        let mut draft = self.spool.draft().map_err(|error| no_room(&error))?;
        let mut body = http_body_util::Full::new(bytes.clone());
        let patience = self.options.limits.patience;
        let received = intake::receive(&mut draft, &mut body, patience).await;
        received.map_err(|error| refused(&error))?;
        let spooled = self
            .spool
            .keep(draft, digest)
            .map_err(|error| no_room(&error))?;
        target.pending.submit(spooled);
        Ok(())
    }
}

async fn lock(upload: &Upload) -> Result<tokio::sync::MutexGuard<'_, Option<Draft>>, Refusal> {
    let locked = tokio::time::timeout(BUSY, upload.draft.lock()).await;
    locked.map_err(|_| {
        Refusal::new(
            Code::BlobUploadInvalid,
            "another request is writing to this upload",
        )
        .with_status(StatusCode::CONFLICT)
    })
}

/// Whether a chunk does not begin where the last one ended, or is not as long as
/// it says.
fn out_of_order(request: &Request<Incoming>, size: u64) -> Result<Option<StatusCode>, Refusal> {
    let headers = request.headers();
    let Some(range) = headers.get(CONTENT_RANGE) else {
        return Ok(None);
    };
    let range = range.to_str().ok().and_then(range::chunk).ok_or_else(|| {
        Refusal::new(
            Code::BlobUploadInvalid,
            "the Content-Range is not `FIRST-LAST`",
        )
    })?;
    let length = headers.get(CONTENT_LENGTH).map(|length| length.as_bytes());
    let expected = (range.end - range.start).to_string();
    if length.is_some_and(|length| length != expected.as_bytes()) {
        return Err(Refusal::new(
            Code::SizeInvalid,
            "the Content-Range and the Content-Length differ",
        ));
    }
    Ok((range.start != size).then_some(StatusCode::RANGE_NOT_SATISFIABLE))
}

/// What a client hears whose body did not arrive.
pub(crate) fn refused(error: &IntakeError) -> Refusal {
    let refusal = |code| Refusal::new(code, error.to_string());
    match error {
        IntakeError::BrokeOff(_) => refusal(Code::SizeInvalid),
        IntakeError::TooSlow => {
            refusal(Code::BlobUploadInvalid).with_status(StatusCode::REQUEST_TIMEOUT)
        }
        IntakeError::TooLarge { .. } => {
            refusal(Code::SizeInvalid).with_status(StatusCode::PAYLOAD_TOO_LARGE)
        }
        IntakeError::SpoolFull { .. } => {
            refusal(Code::Unavailable).with_status(StatusCode::INSUFFICIENT_STORAGE)
        }
        IntakeError::Disk(error) => no_room(error),
    }
}

/// What a client hears when the disk does not take it.
fn no_room(error: &io::Error) -> Refusal {
    let is_full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    let message = format!(
        "the gateway cannot write to its spool: {error}; make room, or choose another place with --spool"
    );
    let status = match is_full {
        true => StatusCode::INSUFFICIENT_STORAGE,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal::new(Code::Unavailable, message).with_status(status)
}

fn no_upload() -> Refusal {
    Refusal::new(
        Code::BlobUploadUnknown,
        "there is no such upload: it has ended, or rested for too long",
    )
}

fn upload_location(repository: &Repository, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

fn blob_location(repository: &Repository, blob: &Digest) -> String {
    format!("/v2/{repository}/blobs/{blob}")
}
