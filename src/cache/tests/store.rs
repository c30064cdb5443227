//! A small Blob service: enough of one container to export to and import
//! from. Layers are known by their sizes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use percent_encoding::percent_decode_str;

use crate::transport::scripted::{Answer, Reply};
use crate::transport::{Body, Method, Request};

/// What a blob holds.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Held {
    Bytes(Vec<u8>),
    /// A layer, of this size.
    Layer(u64),
}

impl Held {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Layer(size) => *size,
        }
    }
}

/// One container.
#[derive(Default)]
pub(super) struct Store {
    pub(super) has_container: Cell<bool>,
    pub(super) blobs: RefCell<BTreeMap<String, (Held, u32)>>,
    /// Sizes of uncommitted blocks, by blob and id.
    pub(super) blocks: RefCell<BTreeMap<(String, String), u64>>,
    /// Metadata that others gave to blobs, as headers.
    pub(super) metadata: RefCell<BTreeMap<String, Vec<(String, String)>>>,
    /// When blobs were last changed: the second of 1970.
    times: RefCell<BTreeMap<String, u64>>,
    /// The second of 1970 in which what comes next is changed.
    pub(super) clock: Cell<u64>,
    version: Cell<u32>,
    /// Shorter pages than are asked for, as a store may give.
    pub(super) longest_page: Cell<Option<usize>>,
    /// As to someone who may read but not list: a status and a code.
    pub(super) refuses_to_list: Cell<Option<(u16, &'static str)>>,
    /// Blobs that are not like others, by their keys.
    pub(super) marked: RefCell<BTreeMap<String, Mark>>,
}

/// What is special about a blob.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Mark {
    /// It is in the archive tier.
    Archived,
    /// It is a directory of a Data Lake account.
    Directory,
}

const ROOT: &str = "/devstoreaccount1/buildkit-cache";

impl Store {
    /// A container with nothing in it.
    pub(super) fn new() -> Self {
        let store = Self::default();
        store.has_container.set(true);
        store.clock.set(60);
        store
    }

    /// Puts a blob there, as another writer would.
    pub(super) fn hold(&self, key: &str, held: Held) {
        self.version.set(self.version.get() + 1);
        let version = self.version.get();
        self.blobs
            .borrow_mut()
            .insert(key.to_owned(), (held, version));
        let now = self.clock.get();
        self.times.borrow_mut().insert(key.to_owned(), now);
    }

    /// Takes a blob away, as another client would.
    pub(super) fn lose(&self, key: &str) {
        self.blobs.borrow_mut().remove(key);
    }

    /// When a blob was last changed, as the service writes it.
    fn date_of(&self, key: &str) -> String {
        let second = self.times.borrow()[key];
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second))
    }

    /// Moves a blob to the archive tier.
    pub(super) fn archive(&self, key: &str) {
        assert!(self.blobs.borrow().contains_key(key), "{key}");
        let mut marked = self.marked.borrow_mut();
        marked.insert(key.to_owned(), Mark::Archived);
    }

    /// Makes a directory, as an account with a hierarchical namespace does.
    pub(super) fn make_directory(&self, key: &str) {
        self.hold(key, Held::Bytes(Vec::new()));
        let mut marked = self.marked.borrow_mut();
        marked.insert(key.to_owned(), Mark::Directory);
    }

    pub(super) fn size_of(&self, key: &str) -> Option<u64> {
        self.blobs.borrow().get(key).map(|(held, _)| held.size())
    }

    /// Answers as the service would.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        let query = |name| {
            let mut query = request.query.iter();
            query
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.as_str())
        };
        assert!(request.headers.get("authorization").is_some(), "unsigned");
        let rest = request.path.strip_prefix(ROOT).unwrap();
        let key = percent_decode_str(rest.trim_start_matches('/'));
        let key = key.decode_utf8().unwrap().into_owned();
        if query("restype") == Some("container") && request.method == Method::Put {
            return Ok(match self.has_container.replace(true) {
                true => Reply::error(409, "ContainerAlreadyExists"),
                false => Reply::azure(201),
            });
        }
        if !self.has_container.get() {
            return Ok(Reply::error(404, "ContainerNotFound"));
        }
        if query("comp") == Some("list") {
            if let Some((status, code)) = self.refuses_to_list.get() {
                return Ok(Reply::error(status, code));
            }
            assert_eq!(query("include"), Some("metadata"));
            let count = query("maxresults").map_or(5000, |text| text.parse().unwrap());
            let count = count.min(self.longest_page.get().unwrap_or(count));
            return Ok(self.list(query("prefix").unwrap_or(""), query("marker"), count));
        }
        let blob = self.blobs.borrow().get(&key).cloned();
        let mark = self.marked.borrow().get(&key).copied();
        match (request.method, mark) {
            (Method::Get | Method::Put, Some(Mark::Archived)) => {
                return Ok(Reply::error(409, "BlobArchived"));
            }
            (Method::Put, Some(Mark::Directory)) => {
                return Ok(Reply::error(409, "BlobAlreadyExists"));
            }
            (Method::Delete, Some(Mark::Directory)) => {
                return Ok(Reply::error(409, "DirectoryIsNotEmpty"));
            }
            _ => {}
        }
        let held = match &request.body {
            Body::Empty => Held::Bytes(Vec::new()),
            Body::Bytes(bytes) => Held::Bytes(bytes.to_vec()),
            Body::Layer { length, .. } => Held::Layer(*length),
        };
        let etag = blob.as_ref().map(|(_, version)| format!("\"{version}\""));
        let conflict = match (
            request.headers.get("if-none-match"),
            request.headers.get("if-match"),
        ) {
            (Some("*"), _) if blob.is_some() => Some(Reply::error(409, "BlobAlreadyExists")),
            (_, Some("*")) if blob.is_some() => None,
            (_, Some(wanted)) if etag.as_deref() != Some(wanted) => {
                Some(Reply::error(412, "ConditionNotMet"))
            }
            _ => None,
        };
        Ok(match (request.method, query("comp"), blob) {
            (Method::Post, ..) => panic!("the Blob service is sent no POST"),
            (Method::Head | Method::Get | Method::Delete, _, None) => {
                Reply::error(404, "BlobNotFound")
            }
            (Method::Head, ..) => self.properties(&key),
            (Method::Get, _, Some((held, _))) => {
                ranged(&held, request.headers.get("range")).with("etag", etag.unwrap_or_default())
            }
            (Method::Delete, ..) => conflict.unwrap_or_else(|| {
                self.blobs.borrow_mut().remove(&key);
                self.marked.borrow_mut().remove(&key);
                Reply::azure(202)
            }),
            (Method::Put, Some("metadata"), None) => Reply::error(404, "BlobNotFound"),
            (Method::Put, Some("metadata"), Some((held, _))) => conflict.unwrap_or_else(|| {
                let metadata = request.headers.iter();
                let metadata = metadata.filter(|(name, _)| name.starts_with("x-ms-meta-"));
                let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let metadata = metadata.collect();
                self.metadata.borrow_mut().insert(key.clone(), metadata);
                self.hold(&key, held);
                Reply::azure(200)
            }),
            (Method::Put, Some("block"), _) => {
                let id = query("blockid").unwrap().to_owned();
                self.blocks.borrow_mut().insert((key, id), held.size());
                Reply::azure(201)
            }
            (Method::Put, Some("blocklist"), _) => {
                conflict.unwrap_or_else(|| self.commit(&key, &request.body))
            }
            (Method::Put, ..) => conflict.unwrap_or_else(|| {
                self.drop_blocks(&key);
                self.hold(&key, held);
                Reply::azure(201)
            }),
        })
    }

    fn properties(&self, key: &str) -> Reply {
        let blobs = self.blobs.borrow();
        let (held, version) = &blobs[key];
        let mut reply = Reply::azure(200)
            .with("content-length", held.size().to_string())
            .with("last-modified", self.date_of(key))
            .with("etag", format!("\"{version}\""));
        for (name, value) in self.metadata.borrow().get(key).into_iter().flatten() {
            reply = reply.with(name, value);
        }
        match self.marked.borrow().get(key) {
            None => reply.with("x-ms-access-tier", "Hot"),
            Some(Mark::Archived) => reply.with("x-ms-access-tier", "Archive"),
            Some(Mark::Directory) => reply.with("x-ms-meta-hdi_isfolder", "true"),
        }
    }

    fn commit(&self, key: &str, list: &Body) -> Reply {
        let Body::Bytes(list) = list else {
            return Reply::error(400, "InvalidXmlDocument");
        };
        let list = std::str::from_utf8(list).unwrap();
        let mut size = 0;
        for part in list.split("<Uncommitted>").skip(1) {
            let (id, _) = part.split_once("</Uncommitted>").unwrap();
            match self.blocks.borrow().get(&(key.to_owned(), id.to_owned())) {
                Some(block) => size += block,
                None => return Reply::error(400, "InvalidBlockList"),
            }
        }
        self.drop_blocks(key);
        self.hold(key, Held::Layer(size));
        Reply::azure(201)
    }

    fn drop_blocks(&self, key: &str) {
        self.blocks.borrow_mut().retain(|(of, _), _| of != key);
    }

    fn list(&self, prefix: &str, marker: Option<&str>, count: usize) -> Reply {
        let blobs = self.blobs.borrow();
        let matching = blobs.iter().filter(|(key, _)| key.starts_with(prefix));
        let after: Vec<_> = matching
            .filter(|(key, _)| marker.is_none_or(|m| key.as_str() >= m))
            .collect();
        let mut xml = String::from("<EnumerationResults><Blobs>");
        for (key, (held, version)) in after.iter().take(count) {
            let (size, date) = (held.size(), self.date_of(key));
            let (tier, metadata) = match self.marked.borrow().get(*key) {
                None => ("Hot", ""),
                Some(Mark::Archived) => ("Archive", ""),
                Some(Mark::Directory) => ("Hot", "<hdi_isfolder>true</hdi_isfolder>"),
            };
            xml += &format!(
                "<Blob><Name>{key}</Name><Properties><Etag>{version}</Etag><Content-Length>{size}\
                 </Content-Length><Last-Modified>{date}</Last-Modified>\
                 <AccessTier>{tier}</AccessTier></Properties><Metadata>{metadata}</Metadata></Blob>"
            );
        }
        let next = after.get(count).map_or("", |(key, _)| key.as_str());
        xml += &format!("</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>");
        Reply::azure(200).body(xml)
    }
}

/// A whole blob, or a range of it.
fn ranged(held: &Held, range: Option<&str>) -> Reply {
    let bytes = match held {
        Held::Bytes(bytes) => bytes.clone(),
        Held::Layer(size) => vec![0; usize::try_from(*size).unwrap()],
    };
    let Some(range) = range else {
        return Reply::azure(200).body(bytes);
    };
    let (first, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let first: usize = first.parse().unwrap();
    if first >= bytes.len() {
        return Reply::error(416, "InvalidRange");
    }
    let last = last.parse().unwrap_or(usize::MAX).min(bytes.len() - 1);
    Reply::azure(206)
        .with(
            "content-range",
            format!("bytes {first}-{last}/{}", bytes.len()),
        )
        .body(&bytes[first..=last])
}
