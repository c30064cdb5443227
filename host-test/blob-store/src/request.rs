//! What a request asks for. Done in two steps, as the service does: the route, which needs no more
//! than the method and the address and serves counting, faults and authentication; and after that
//! the parameters, whose errors only an authenticated client gets to see.

use std::borrow::Cow;

use http::Method;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::blocks::BlockId;
use crate::listing::ListQuery;
use crate::names::{BlobKey, ContainerName};
use crate::refusal::Refusal;

/// The operations that the store counts and that a fault can name. The names are the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the names are those of the service's own operations"
)]
pub enum OperationKind {
    CreateContainer,
    GetContainerProperties,
    DeleteContainer,
    ListBlobs,
    PutBlob,
    PutBlock,
    PutBlockList,
    GetBlockList,
    GetBlob,
    GetBlobProperties,
    SetBlobMetadata,
    DeleteBlob,
    SetBlobTier,
    /// Anything that the store does not do.
    Other,
}

impl OperationKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 14] = [
        Self::CreateContainer,
        Self::GetContainerProperties,
        Self::DeleteContainer,
        Self::ListBlobs,
        Self::PutBlob,
        Self::PutBlock,
        Self::PutBlockList,
        Self::GetBlockList,
        Self::GetBlob,
        Self::GetBlobProperties,
        Self::SetBlobMetadata,
        Self::DeleteBlob,
        Self::SetBlobTier,
        Self::Other,
    ];
}

/// Where a request goes, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    pub kind: OperationKind,
    pub account: &'a str,
    /// As it came over the wire.
    pub container: &'a str,
    /// As it came over the wire.
    pub key: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// Reads the method, the path and the parameters `restype` and `comp`.
    pub fn of(parts: &'a Parts) -> Self {
        let path = parts.uri.path();
        let mut segments = path.strip_prefix('/').unwrap_or(path).splitn(3, '/');
        let account = segments.next().unwrap_or_default();
        let container = segments.next().unwrap_or_default();
        let key = segments.next().filter(|key| !key.is_empty());

        let query = Query::of(parts);
        let restype = query.get("restype").unwrap_or_default();
        let comp = query.get("comp").unwrap_or_default();
        let kind = if container.is_empty() {
            OperationKind::Other
        } else if key.is_none() {
            container_operation(&parts.method, &restype, &comp)
        } else {
            blob_operation(&parts.method, &restype, &comp)
        };
        Self {
            kind,
            account,
            container,
            key,
        }
    }

    /// The key decoded, or as much of it as can be: for matching faults only.
    pub fn readable_key(&self) -> Cow<'a, str> {
        percent_decode_str(self.key.unwrap_or_default()).decode_utf8_lossy()
    }
}

fn container_operation(method: &Method, restype: &str, comp: &str) -> OperationKind {
    match (method.as_str(), restype, comp) {
        ("PUT", "container", "") => OperationKind::CreateContainer,
        ("GET" | "HEAD", "container", "") => OperationKind::GetContainerProperties,
        ("DELETE", "container", "") => OperationKind::DeleteContainer,
        ("GET", "container", "list") => OperationKind::ListBlobs,
        _ => OperationKind::Other,
    }
}

fn blob_operation(method: &Method, restype: &str, comp: &str) -> OperationKind {
    match (method.as_str(), restype, comp) {
        ("PUT", "", "") => OperationKind::PutBlob,
        ("PUT", "", "block") => OperationKind::PutBlock,
        ("PUT", "", "blocklist") => OperationKind::PutBlockList,
        ("PUT", "", "metadata") => OperationKind::SetBlobMetadata,
        ("GET", "", "blocklist") => OperationKind::GetBlockList,
        ("GET", "", "") => OperationKind::GetBlob,
        ("HEAD", "", "") => OperationKind::GetBlobProperties,
        ("DELETE", "", "") => OperationKind::DeleteBlob,
        ("PUT", "", "tier") => OperationKind::SetBlobTier,
        _ => OperationKind::Other,
    }
}

/// An operation on a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContainerOperation {
    Create,
    Properties,
    Delete,
    List(ListQuery),
}

/// An operation on a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobOperation {
    Put,
    PutBlock(BlockId),
    PutBlockList,
    BlockList { committed: bool, uncommitted: bool },
    Get,
    Properties,
    SetMetadata,
    Delete,
    SetTier,
}

/// A request whose names and parameters are in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Container(ContainerName, ContainerOperation),
    Blob(ContainerName, BlobKey, BlobOperation),
}

impl Operation {
    /// Checks names and parameters.
    pub fn parse(route: &Route<'_>, parts: &Parts) -> Result<Self, Refusal> {
        let query = Query::of(parts);
        if route.kind == OperationKind::Other {
            return Err(not_ours(&query, &parts.method));
        }
        let container = ContainerName::parse(route.container)?;
        if let Some(operation) = parse_container_operation(route.kind, &query)? {
            return Ok(Self::Container(container, operation));
        }
        let key = BlobKey::from_wire(route.key.unwrap_or_default())?;
        if query
            .get("snapshot")
            .or_else(|| query.get("versionid"))
            .is_some()
        {
            return Err(Refusal::not_implemented(
                "This store keeps no snapshots and no versions.",
            ));
        }
        let operation = match route.kind {
            OperationKind::PutBlob => BlobOperation::Put,
            OperationKind::PutBlock => {
                BlobOperation::PutBlock(BlockId::from_query(query.get("blockid").as_deref())?)
            }
            OperationKind::PutBlockList => BlobOperation::PutBlockList,
            OperationKind::GetBlockList => parse_block_list_type(&query)?,
            OperationKind::GetBlob => BlobOperation::Get,
            OperationKind::GetBlobProperties => BlobOperation::Properties,
            OperationKind::SetBlobMetadata => BlobOperation::SetMetadata,
            OperationKind::DeleteBlob => BlobOperation::Delete,
            OperationKind::SetBlobTier => BlobOperation::SetTier,
            _ => return Err(not_ours(&query, &parts.method)),
        };
        Ok(Self::Blob(container, key, operation))
    }
}

fn parse_container_operation(
    kind: OperationKind,
    query: &Query<'_>,
) -> Result<Option<ContainerOperation>, Refusal> {
    Ok(Some(match kind {
        OperationKind::CreateContainer => ContainerOperation::Create,
        OperationKind::GetContainerProperties => ContainerOperation::Properties,
        OperationKind::DeleteContainer => ContainerOperation::Delete,
        OperationKind::ListBlobs => ContainerOperation::List(ListQuery::parse(query)?),
        _ => return Ok(None),
    }))
}

fn parse_block_list_type(query: &Query<'_>) -> Result<BlobOperation, Refusal> {
    let list = query
        .get("blocklisttype")
        .unwrap_or(Cow::Borrowed("committed"));
    let (committed, uncommitted) = match list.to_ascii_lowercase().as_str() {
        "committed" => (true, false),
        "uncommitted" => (false, true),
        "all" => (true, true),
        _ => {
            return Err(Refusal::invalid_query(
                "blocklisttype",
                &list,
                "It is committed, uncommitted or all.",
            ));
        }
    };
    Ok(BlobOperation::BlockList {
        committed,
        uncommitted,
    })
}

/// Names what was asked for, so that a client's author sees at once what this store lacks.
fn not_ours(query: &Query<'_>, method: &Method) -> Refusal {
    let asked = match (query.get("restype"), query.get("comp")) {
        (None, None) => format!("{method} on this address"),
        (Some(restype), None) => format!("{method} with restype={restype}"),
        (None, Some(comp)) => format!("{method} with comp={comp}"),
        (Some(restype), Some(comp)) => format!("{method} with restype={restype} and comp={comp}"),
    };
    Refusal::not_implemented(format!("This store does not do {asked}."))
}

/// A request's query parameters. Names count in any case; values are decoded, and a plus sign
/// stands for itself.
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub fn of(parts: &'a Parts) -> Self {
        Self(parts.uri.query().unwrap_or_default())
    }

    /// Lower-case names and decoded values, in the order of the wire.
    pub fn pairs(&self) -> impl Iterator<Item = (String, Cow<'a, str>)> {
        self.0
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let name = percent_decode_str(name)
                    .decode_utf8_lossy()
                    .to_ascii_lowercase();
                (name, percent_decode_str(value).decode_utf8_lossy())
            })
    }

    /// The first value of a lower-case name.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.pairs()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, target: &str) -> Parts {
        http::Request::builder()
            .method(method)
            .uri(target)
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    #[test]
    fn method_and_address_say_which_operation_it_is() {
        for (method, target, kind) in [
            (
                "PUT",
                "/acct/c?restype=container",
                OperationKind::CreateContainer,
            ),
            (
                "GET",
                "/acct/c?restype=container",
                OperationKind::GetContainerProperties,
            ),
            (
                "HEAD",
                "/acct/c/?restype=container",
                OperationKind::GetContainerProperties,
            ),
            (
                "DELETE",
                "/acct/c?restype=container",
                OperationKind::DeleteContainer,
            ),
            (
                "GET",
                "/acct/c?comp=list&restype=container&prefix=a",
                OperationKind::ListBlobs,
            ),
            ("PUT", "/acct/c/k", OperationKind::PutBlob),
            (
                "PUT",
                "/acct/c/k?comp=block&blockid=QUFB",
                OperationKind::PutBlock,
            ),
            (
                "PUT",
                "/acct/c/k/l?comp=blocklist",
                OperationKind::PutBlockList,
            ),
            (
                "GET",
                "/acct/c/k?comp=blocklist",
                OperationKind::GetBlockList,
            ),
            (
                "PUT",
                "/acct/c/k?comp=metadata",
                OperationKind::SetBlobMetadata,
            ),
            ("GET", "/acct/c/k", OperationKind::GetBlob),
            ("HEAD", "/acct/c/k", OperationKind::GetBlobProperties),
            ("DELETE", "/acct/c/k", OperationKind::DeleteBlob),
            ("POST", "/acct/c/k", OperationKind::Other),
            ("PUT", "/acct/c/k?comp=lease", OperationKind::Other),
            ("GET", "/acct?comp=list", OperationKind::Other),
            ("GET", "/", OperationKind::Other),
        ] {
            assert_eq!(
                Route::of(&parts(method, target)).kind,
                kind,
                "{method} {target}"
            );
        }
    }

    #[test]
    fn a_slash_in_the_key_may_be_encoded() {
        for target in [
            "/acct/cache/blobs%2Fsha256:ab",
            "/acct/cache/blobs/sha256:ab",
        ] {
            let parts = parts("GET", target);
            let operation = Operation::parse(&Route::of(&parts), &parts).unwrap();
            let Operation::Blob(container, key, BlobOperation::Get) = operation else {
                panic!("{operation:?}")
            };
            assert_eq!(
                (container.as_str(), key.as_str()),
                ("cache", "blobs/sha256:ab")
            );
        }
    }

    #[test]
    fn what_the_store_does_not_do_is_named() {
        let parts = parts("PUT", "/acct/cache/k?comp=lease");
        let refusal = Operation::parse(&Route::of(&parts), &parts).unwrap_err();
        assert_eq!(
            (refusal.status.as_u16(), refusal.code),
            (501, "NotImplemented")
        );
        assert!(
            refusal.message.contains("comp=lease"),
            "{}",
            refusal.message
        );
    }
}
