//! The operations, each from a checked request to its answer.

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED,
};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::answer::Answer;
use crate::blocks::{block_list_xml, parse_block_list};
use crate::checksum::{Checksums, Received};
use crate::conditions::{Conditions, Stamp};
use crate::content::Piece;
use crate::index::Blob;
use crate::names::{BlobKey, ContainerName};
use crate::properties::{Properties, metadata, write_metadata};
use crate::range::ByteRange;
use crate::refusal::Refusal;
use crate::request::{BlobOperation, ContainerOperation, Operation};
use crate::stats::InFlight;
use crate::store::Store;
use crate::upload::{Failure, Upload};

/// The largest blob that one Put Blob takes.
const MAX_PUT_BLOB_BYTES: u64 = 5000 << 20;

/// The largest block.
const MAX_BLOCK_BYTES: u64 = 4000 << 20;

/// Room for 50,000 entries with the longest ids, and some for spaces.
const MAX_BLOCK_LIST_BYTES: u64 = 16 << 20;

/// One request, as the operations see it.
pub(crate) struct Call<'a> {
    pub store: &'a Store,
    pub parts: &'a Parts,
    pub upload: &'a mut Upload,
    pub request: &'a InFlight,
    /// The account's address, for listings.
    pub endpoint: String,
}

impl Call<'_> {
    pub async fn perform(&mut self, operation: Operation) -> Result<Answer, Failure> {
        match operation {
            Operation::Container(name, operation) => Ok(self.on_container(&name, &operation)?),
            Operation::Blob(container, key, operation) => match operation {
                BlobOperation::Put => {
                    check_blob_type(&self.parts.headers)?;
                    self.length()?;
                    self.put(&container, &key).await
                }
                BlobOperation::PutBlock(id) => {
                    self.store.container(&container)?;
                    if self.length()? == 0 {
                        return Err(Refusal::invalid_header("Content-Length", "0").into());
                    }
                    let (piece, received) = self.receive(MAX_BLOCK_BYTES).await?;
                    self.store.stage(&container, &key, id, piece)?;
                    let mut answer = Answer::new(StatusCode::CREATED);
                    confirm(&mut answer, &received);
                    Ok(answer)
                }
                BlobOperation::PutBlockList => self.put_block_list(&container, &key).await,
                BlobOperation::BlockList {
                    committed,
                    uncommitted,
                } => Ok(self.block_list(&container, &key, committed, uncommitted)?),
                BlobOperation::Get => Ok(self.get(&container, &key)?),
                BlobOperation::Properties => Ok(self.properties(&container, &key)?),
                BlobOperation::SetMetadata => Ok(self.set_metadata(&container, &key)?),
                BlobOperation::Delete => Ok(self.delete(&container, &key)?),
                BlobOperation::SetTier => Ok(self.set_tier(&container, &key)?),
            },
        }
    }

    fn on_container(
        &self,
        name: &ContainerName,
        operation: &ContainerOperation,
    ) -> Result<Answer, Refusal> {
        let headers = &self.parts.headers;
        match operation {
            ContainerOperation::Create => {
                let stamp =
                    self.blocking(|store| store.create_container(name, metadata(headers)))?;
                let mut answer = Answer::new(StatusCode::CREATED);
                stamp_on(&mut answer, &stamp);
                Ok(answer)
            }
            ContainerOperation::Properties => {
                let (stamp, metadata) = self.store.container(name)?;
                let mut answer = Answer::new(StatusCode::OK);
                stamp_on(&mut answer, &stamp);
                lease_on(&mut answer);
                answer.set(
                    HeaderName::from_static("x-ms-has-immutability-policy"),
                    "false",
                );
                answer.set(HeaderName::from_static("x-ms-has-legal-hold"), "false");
                write_metadata(&metadata, &mut answer.headers);
                Ok(answer)
            }
            ContainerOperation::Delete => {
                let conditions = Conditions::parse(headers)?;
                self.blocking(|store| store.delete_container(name, &conditions))?;
                Ok(Answer::new(StatusCode::ACCEPTED))
            }
            ContainerOperation::List(query) => {
                let xml = self
                    .store
                    .list(name, query)?
                    .xml(query, &self.endpoint, name.as_str());
                Ok(Answer::new(StatusCode::OK).text("application/xml", xml))
            }
        }
    }

    /// Put Blob, once it is clear that it is a block blob. Needs no declared length.
    pub async fn put(
        &mut self,
        container: &ContainerName,
        key: &BlobKey,
    ) -> Result<Answer, Failure> {
        let conditions = Conditions::parse(&self.parts.headers)?;
        self.store.container(container)?;
        let (piece, received) = self.receive(MAX_PUT_BLOB_BYTES).await?;
        let properties = Properties::of_put_blob(&self.parts.headers, received.md5());
        let blob =
            self.blocking(|store| store.put(container, key, &conditions, properties, piece))?;
        Ok(written(&blob, &received))
    }

    async fn put_block_list(
        &mut self,
        container: &ContainerName,
        key: &BlobKey,
    ) -> Result<Answer, Failure> {
        let conditions = Conditions::parse(&self.parts.headers)?;
        self.store.container(container)?;
        check_length(self.length()?, MAX_BLOCK_LIST_BYTES)?;
        let mut checksums = Checksums::expected(&self.parts.headers)?;
        let mut xml = Vec::new();
        while let Some(bytes) = self.upload.next(self.request).await? {
            checksums.update(&bytes);
            xml.extend_from_slice(&bytes);
        }
        let received = checksums.verify()?;
        let list = parse_block_list(&xml)?;
        let properties = Properties::of_block_list(&self.parts.headers);
        let blob =
            self.blocking(|store| store.commit(container, key, &conditions, properties, &list))?;
        Ok(written(&blob, &received))
    }

    fn block_list(
        &self,
        container: &ContainerName,
        key: &BlobKey,
        committed: bool,
        uncommitted: bool,
    ) -> Result<Answer, Refusal> {
        let (blob, waiting) = self.store.blocks_of(container, key)?;
        let blocks = blob
            .as_ref()
            .map(|blob| blob.blocks.as_slice())
            .unwrap_or_default();
        let sizes: Vec<_> = blocks
            .iter()
            .map(|(id, piece)| (id.clone(), piece.len()))
            .collect();
        let xml = block_list_xml(committed.then_some(&sizes), uncommitted.then_some(&waiting));
        let mut answer = Answer::new(StatusCode::OK).text("application/xml", xml);
        if let Some(blob) = blob {
            stamp_on(&mut answer, &blob.stamp);
            answer.set(
                HeaderName::from_static("x-ms-blob-content-length"),
                blob.content.len().to_string(),
            );
        }
        Ok(answer)
    }

    pub fn get(&self, container: &ContainerName, key: &BlobKey) -> Result<Answer, Refusal> {
        let headers = &self.parts.headers;
        let blob = self
            .store
            .read(container, key, &Conditions::parse(headers)?)?;
        blob.properties.check_readable()?;
        let size = blob.content.len();
        let range = ByteRange::requested(headers, size)?;
        let mut answer = Answer::new(if range.is_some() {
            StatusCode::PARTIAL_CONTENT
        } else {
            StatusCode::OK
        });
        describe(&mut answer, &blob, range.is_some());
        if let Some(range) = range {
            answer.set(
                CONTENT_RANGE,
                format!("bytes {}-{}/{size}", range.start, range.end - 1),
            );
        }
        Ok(answer.blob(
            blob.content.clone(),
            range.unwrap_or(ByteRange {
                start: 0,
                end: size,
            }),
        ))
    }

    pub fn properties(&self, container: &ContainerName, key: &BlobKey) -> Result<Answer, Refusal> {
        let conditions = Conditions::parse(&self.parts.headers)?;
        let blob = self.store.read(container, key, &conditions)?;
        let mut answer = Answer::new(StatusCode::OK);
        describe(&mut answer, &blob, false);
        answer
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(blob.content.len()));
        Ok(answer)
    }

    fn set_metadata(&self, container: &ContainerName, key: &BlobKey) -> Result<Answer, Refusal> {
        let conditions = Conditions::parse(&self.parts.headers)?;
        let metadata = metadata(&self.parts.headers);
        let blob =
            self.blocking(|store| store.set_metadata(container, key, &conditions, metadata))?;
        let mut answer = Answer::new(StatusCode::OK);
        stamp_on(&mut answer, &blob.stamp);
        answer.set(
            HeaderName::from_static("x-ms-request-server-encrypted"),
            "true",
        );
        Ok(answer)
    }

    pub fn delete(&self, container: &ContainerName, key: &BlobKey) -> Result<Answer, Refusal> {
        let conditions = Conditions::parse(&self.parts.headers)?;
        self.blocking(|store| store.delete(container, key, &conditions))?;
        let mut answer = Answer::new(StatusCode::ACCEPTED);
        answer.set(
            HeaderName::from_static("x-ms-delete-type-permanent"),
            "true",
        );
        Ok(answer)
    }

    fn set_tier(&self, container: &ContainerName, key: &BlobKey) -> Result<Answer, Refusal> {
        let tier = self.parts.headers.get("x-ms-access-tier");
        let tier = tier.ok_or_else(|| Refusal::missing_header("x-ms-access-tier"))?;
        let tier = tier.to_str().unwrap_or_default();
        let is_at_once = self.blocking(|store| store.set_tier(container, key, tier))?;
        Ok(Answer::new(match is_at_once {
            true => StatusCode::OK,
            false => StatusCode::ACCEPTED,
        }))
    }

    /// The length that a write has to declare.
    fn length(&self) -> Result<u64, Refusal> {
        self.upload.declared.ok_or_else(|| {
            Refusal::new(
                StatusCode::LENGTH_REQUIRED,
                "MissingContentLengthHeader",
                "A write needs a Content-Length.",
            )
        })
    }

    /// Takes the body in. What arrives in part is dropped.
    async fn receive(&mut self, limit: u64) -> Result<(Arc<Piece>, Received), Failure> {
        check_length(self.upload.declared.unwrap_or_default(), limit)?;
        let mut checksums = Checksums::expected(&self.parts.headers)?;
        let mut writer = self.blocking(Store::writer)?;
        let mut arrived = 0;
        while let Some(bytes) = self.upload.next(self.request).await? {
            arrived += bytes.len() as u64;
            check_length(arrived, limit)?;
            let to_come = self
                .upload
                .declared
                .map_or(u64::MAX, |length| length.saturating_sub(arrived));
            checksums.update(&bytes);
            self.blocking(|_| writer.push(&bytes, to_come))?;
        }
        let received = checksums.verify()?;
        Ok((self.blocking(|_| writer.finish())?, received))
    }

    /// Runs what may wait for a disk without holding up other requests.
    fn blocking<T>(&self, work: impl FnOnce(&Store) -> T) -> T {
        if self.store.blocks() {
            tokio::task::block_in_place(|| work(self.store))
        } else {
            work(self.store)
        }
    }
}

fn check_blob_type(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key("x-ms-copy-source") {
        return Err(Refusal::not_implemented("This store does not copy blobs."));
    }
    let Some(blob_type) = headers.get("x-ms-blob-type") else {
        return Err(Refusal::missing_header("x-ms-blob-type"));
    };
    match blob_type.as_bytes() {
        b"BlockBlob" => Ok(()),
        b"PageBlob" | b"AppendBlob" => Err(Refusal::not_implemented(
            "This store keeps block blobs only.",
        )),
        other => Err(Refusal::invalid_header(
            "x-ms-blob-type",
            &String::from_utf8_lossy(other),
        )),
    }
}

fn check_length(length: u64, limit: u64) -> Result<(), Refusal> {
    if length <= limit {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestBodyTooLarge",
        format!("The body has {length} bytes; this operation takes at most {limit}."),
    )
    .detail("MaxLimit", limit.to_string()))
}

fn written(blob: &Blob, received: &Received) -> Answer {
    let mut answer = Answer::new(StatusCode::CREATED);
    stamp_on(&mut answer, &blob.stamp);
    confirm(&mut answer, received);
    answer
}

fn confirm(answer: &mut Answer, received: &Received) {
    answer.set(HeaderName::from_static(received.header), &received.value);
    answer.set(
        HeaderName::from_static("x-ms-request-server-encrypted"),
        "true",
    );
}

fn stamp_on(answer: &mut Answer, stamp: &Stamp) {
    answer.set(ETAG, &stamp.etag);
    answer.set(LAST_MODIFIED, httpdate::fmt_http_date(stamp.modified));
}

fn lease_on(answer: &mut Answer) {
    answer.set(HeaderName::from_static("x-ms-lease-status"), "unlocked");
    answer.set(HeaderName::from_static("x-ms-lease-state"), "available");
}

/// The headers that tell a reader about a blob.
fn describe(answer: &mut Answer, blob: &Blob, partial: bool) {
    blob.properties.write(&mut answer.headers, partial);
    stamp_on(answer, &blob.stamp);
    lease_on(answer);
    answer.set(ACCEPT_RANGES, "bytes");
    answer.set(HeaderName::from_static("x-ms-blob-type"), "BlockBlob");
    answer.set(HeaderName::from_static("x-ms-server-encrypted"), "true");
    answer.set(
        HeaderName::from_static("x-ms-creation-time"),
        httpdate::fmt_http_date(blob.created),
    );
}
