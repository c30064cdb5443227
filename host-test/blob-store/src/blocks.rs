//! Block ids and block lists: what Put Block List may name, and what comes of it.
//!
//! Rules: <https://learn.microsoft.com/rest/api/storageservices/put-block-list>.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

use crate::content::Piece;
use crate::refusal::Refusal;
use crate::xml::{PROLOGUE, push_element, push_group};

/// The most blocks that a blob can have.
pub(crate) const MAX_BLOCKS: usize = 50_000;

/// The most blocks that may wait for a Put Block List.
pub(crate) const MAX_UNCOMMITTED_BLOCKS: usize = 100_000;

/// The longest block id before base64, in bytes.
const MAX_ID_BYTES: usize = 64;

/// A block's id, in base64 as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct BlockId(String);

impl BlockId {
    /// From the query parameter `blockid`, decoded.
    pub fn from_query(value: Option<&str>) -> Result<Self, Refusal> {
        let Some(id) = value.filter(|id| !id.is_empty()) else {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "MissingRequiredQueryParameter",
                "Put Block needs the query parameter blockid.",
            )
            .detail("QueryParameterName", "blockid"));
        };
        match STANDARD.decode(id) {
            Ok(bytes) if bytes.len() <= MAX_ID_BYTES => Ok(Self(id.to_owned())),
            Ok(_) => Err(Refusal::out_of_range_query(
                "blockid",
                id,
                "A block id has at most 64 bytes before base64.",
            )),
            Err(_) => Err(Refusal::invalid_query(
                "blockid",
                id,
                "A block id is base64.",
            )),
        }
    }

    /// The length that all blocks of a blob must share.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Blocks that wait for a Put Block List, in the order of their ids.
pub(crate) type Uncommitted = BTreeMap<BlockId, Arc<Piece>>;

/// One entry of a Put Block List.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlockRef {
    Committed(BlockId),
    Uncommitted(BlockId),
    /// The uncommitted one, or else the committed one.
    Latest(BlockId),
}

/// Checks that another block may join those that wait.
pub(crate) fn check_staged(waiting: &Uncommitted, id: &BlockId) -> Result<(), Refusal> {
    if waiting
        .keys()
        .next()
        .is_some_and(|other| other.len() != id.len())
    {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidBlobOrBlock",
            "All blocks of a blob have ids of one length, and this blob has uncommitted ones of another.",
        ));
    }
    if waiting.len() >= MAX_UNCOMMITTED_BLOCKS && !waiting.contains_key(id) {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "BlockCountExceedsLimit",
            "The blob has 100,000 uncommitted blocks, and no more are allowed.",
        ));
    }
    Ok(())
}

/// Finds the pieces that a Put Block List names.
pub(crate) fn resolve(
    list: &[BlockRef],
    committed: &[(BlockId, Arc<Piece>)],
    waiting: &Uncommitted,
) -> Result<Vec<(BlockId, Arc<Piece>)>, Refusal> {
    let committed: HashMap<_, _> = committed.iter().map(|(id, piece)| (id, piece)).collect();
    let find = |entry: &BlockRef| {
        let (id, piece) = match entry {
            BlockRef::Committed(id) => (id, committed.get(id).copied()),
            BlockRef::Uncommitted(id) => (id, waiting.get(id)),
            BlockRef::Latest(id) => (id, waiting.get(id).or_else(|| committed.get(id).copied())),
        };
        Some((id.clone(), Arc::clone(piece?)))
    };
    list.iter()
        .map(|entry| find(entry).ok_or_else(invalid_block_list))
        .collect()
}

fn invalid_block_list() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "InvalidBlockList",
        "The list names a block that is not there. A Put Blob or another Put Block List may have removed it.",
    )
}

/// Reads the body of a Put Block List.
pub(crate) fn parse_block_list(xml: &[u8]) -> Result<Vec<BlockRef>, Refusal> {
    let text = std::str::from_utf8(xml).map_err(|_| Refusal::invalid_xml("It is not UTF-8."))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut list = Vec::new();
    let mut depth = 0;
    let mut kind = String::new();
    let mut id = String::new();
    let mut closed = false;
    loop {
        match reader
            .read_event()
            .map_err(|error| Refusal::invalid_xml(error.to_string()))?
        {
            Event::Start(_) if closed => {
                return Err(Refusal::invalid_xml("There is more than one root."));
            }
            Event::Start(start) => {
                depth += 1;
                kind = start.local_name().as_ref().to_owned();
                id.clear();
                match (depth, kind.as_str()) {
                    (1, "BlockList") | (2, "Committed" | "Uncommitted" | "Latest") => {}
                    _ => {
                        return Err(Refusal::invalid_xml(format!(
                            "<{kind}> does not belong here."
                        )));
                    }
                }
            }
            Event::Empty(empty)
                if depth == 0 && !closed && empty.local_name().as_ref() == "BlockList" =>
            {
                closed = true
            }
            Event::Empty(_) => return Err(Refusal::invalid_xml("An element is empty.")),
            Event::Text(text) if depth == 2 => {
                id.push_str(&text.xml_content(XmlVersion::Implicit1_0))
            }
            Event::GeneralRef(reference) if depth == 2 => {
                let character = reference.resolve_char_ref().ok().flatten();
                id.push(character.ok_or_else(|| {
                    Refusal::invalid_xml("It has a reference that is no character.")
                })?);
            }
            Event::End(_) => {
                if depth == 2 {
                    list.push(entry(&kind, id.trim()));
                }
                depth -= 1;
                closed = depth == 0;
            }
            Event::Eof if closed => break,
            Event::Eof => return Err(Refusal::invalid_xml("It ends early.")),
            _ => {}
        }
    }
    if list.len() > MAX_BLOCKS {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "BlockListTooLong",
            "A blob has at most 50,000 blocks.",
        ));
    }
    Ok(list)
}

/// An id that is no base64 names no block; `resolve` says so.
fn entry(kind: &str, id: &str) -> BlockRef {
    let id = BlockId(id.to_owned());
    match kind {
        "Committed" => BlockRef::Committed(id),
        "Uncommitted" => BlockRef::Uncommitted(id),
        _ => BlockRef::Latest(id),
    }
}

/// Writes the answer to Get Block List: ids and sizes, `None` for a list that was not asked for.
pub(crate) fn block_list_xml(
    committed: Option<&[(BlockId, u64)]>,
    uncommitted: Option<&[(BlockId, u64)]>,
) -> String {
    let mut xml = PROLOGUE.to_owned();
    push_group(&mut xml, "BlockList", |xml| {
        for (name, blocks) in [
            ("CommittedBlocks", committed),
            ("UncommittedBlocks", uncommitted),
        ] {
            let Some(blocks) = blocks else { continue };
            push_group(xml, name, |xml| {
                for (id, size) in blocks {
                    push_group(xml, "Block", |xml| {
                        push_element(xml, "Name", &id.0);
                        push_element(xml, "Size", &size.to_string());
                    });
                }
            });
        }
    });
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> BlockId {
        BlockId::from_query(Some(id)).unwrap()
    }

    #[test]
    fn a_block_list_keeps_its_order_and_its_kinds() {
        let xml = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList>\n <Latest>QUE=</Latest>\
                   <Committed>Qg==</Committed><Uncommitted>Q&#x77;==</Uncommitted>\n</BlockList>\n";
        assert_eq!(
            parse_block_list(xml.as_bytes()),
            Ok(vec![
                BlockRef::Latest(id("QUE=")),
                BlockRef::Committed(id("Qg==")),
                BlockRef::Uncommitted(id("Qw=="))
            ])
        );
    }

    #[test]
    fn a_block_list_may_be_empty() {
        for xml in ["<BlockList/>", "<BlockList></BlockList>"] {
            assert_eq!(parse_block_list(xml.as_bytes()), Ok(vec![]), "{xml}");
        }
    }

    #[test]
    fn what_is_no_block_list_is_refused() {
        for xml in [
            "",
            "x",
            "<BlockList>",
            "<BlockList><Latest>QQ==</BlockList>",
            "<BlockList><Newest>QQ==</Newest></BlockList>",
            "<Blocks/>",
            "<BlockList/><BlockList/>",
            "<BlockList></BlockList><BlockList></BlockList>",
            "<BlockList><Latest>&nope;</Latest></BlockList>",
        ] {
            assert_eq!(
                parse_block_list(xml.as_bytes()).unwrap_err().code,
                "InvalidXmlDocument",
                "{xml}"
            );
        }
    }

    #[test]
    fn a_list_of_more_than_50_000_is_too_long() {
        let entries = "<Latest>QQ==</Latest>".repeat(MAX_BLOCKS + 1);
        let xml = format!("<BlockList>{entries}</BlockList>");
        assert_eq!(
            parse_block_list(xml.as_bytes()).unwrap_err().code,
            "BlockListTooLong"
        );
    }

    #[test]
    fn an_id_is_base64_of_at_most_64_bytes() {
        assert!(BlockId::from_query(Some(&STANDARD.encode([0; 64]))).is_ok());
        for (value, code) in [
            (
                Some(STANDARD.encode([0; 65])),
                "OutOfRangeQueryParameterValue",
            ),
            (Some("a b".into()), "InvalidQueryParameterValue"),
            (Some("QQ".into()), "InvalidQueryParameterValue"),
            (Some(String::new()), "MissingRequiredQueryParameter"),
            (None, "MissingRequiredQueryParameter"),
        ] {
            assert_eq!(
                BlockId::from_query(value.as_deref()).unwrap_err().code,
                code,
                "{value:?}"
            );
        }
    }
}
