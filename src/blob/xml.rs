//! The service's XML, in and out.

use percent_encoding::percent_decode_str;
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::properties::State;

/// A blob in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Listed {
    pub(crate) key: String,
    /// In bytes.
    pub(crate) size: u64,
    /// In seconds since the Unix epoch.
    pub(crate) modified: u64,
    /// When it was last written or read, in seconds since the Unix epoch; none
    /// where the account does not keep count of that.
    pub(crate) used: Option<u64>,
    /// In quotes, as conditions take it.
    pub(crate) etag: String,
    pub(crate) state: State,
}

/// A part of a listing.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Listing {
    pub(crate) blobs: Vec<Listed>,
    /// Where the next part begins; none at the end.
    pub(crate) next: Option<String>,
}

/// Reads the answer of List Blobs, or says what is wrong with it.
pub(super) fn listing(xml: &[u8]) -> Result<Listing, String> {
    let mut listing = Listing::default();
    let mut blob = Listed::default();
    let mut is_listing = false;
    walk(xml, |path, is_encoded, text| match path {
        ["EnumerationResults"] => is_listing = true,
        ["EnumerationResults", "NextMarker"] if !text.is_empty() => {
            listing.next = Some(text.to_owned());
        }
        ["EnumerationResults", "Blobs", "Blob"] => {
            listing.blobs.push(std::mem::take(&mut blob));
        }
        ["EnumerationResults", "Blobs", "Blob", "Name"] => {
            blob.key = match is_encoded {
                true => percent_decode_str(text).decode_utf8_lossy().into_owned(),
                false => text.to_owned(),
            };
        }
        ["EnumerationResults", "Blobs", "Blob", "Properties", name] => match *name {
            "Content-Length" => match text.parse() {
                Ok(size) => blob.size = size,
                Err(_) => blob.state = unlisted("its size is not a number"),
            },
            "Last-Modified" => match seconds(text) {
                Some(seconds) => blob.modified = seconds,
                None => blob.state = unlisted("the date of its last change is not a date"),
            },
            // Only where last access time tracking is turned on.
            "LastAccessTime" => blob.used = seconds(text),
            "Etag" => blob.etag = format!("\"{}\"", text.trim_matches('"')),
            name => blob.state.hear(name, text),
        },
        ["EnumerationResults", "Blobs", "Blob", "Metadata", name] => blob.state.hear(name, text),
        _ => {}
    })?;
    match is_listing {
        true => Ok(listing),
        false => Err("it is not a listing".to_owned()),
    }
}

/// Reads a date, in seconds since the Unix epoch.
pub(super) fn seconds(date: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(date).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

/// The state of a blob whose entry in a listing is damaged: it costs no other.
fn unlisted(why: &str) -> State {
    State::Refused(format!("in the listing, {why}"))
}

/// What an error's body says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Told {
    pub(super) code: String,
    /// Azure's own words.
    pub(super) message: String,
    /// What it says beside: names such as `HeaderName`, and their values.
    pub(super) details: Vec<(String, String)>,
}

/// How much of a detail is kept, in bytes: the text that a signature covers has
/// some hundreds.
const LONGEST_DETAIL: usize = 1500;

/// How many details are kept; Azure gives up to four.
const MOST_DETAILS: usize = 8;

/// Reads an error; empty if the body is not one.
pub(super) fn error(xml: &[u8]) -> Told {
    let mut told = Told::default();
    let read = walk(xml, |path, _, text| match path {
        ["Error", "Code"] => told.code = text.trim().to_owned(),
        ["Error", "Message"] => told.message = own_words(text),
        ["Error", name] if told.details.len() < MOST_DETAILS => {
            let text = own_words(text);
            if !text.is_empty() {
                let text = text[..text.floor_char_boundary(LONGEST_DETAIL)].to_owned();
                told.details.push(((*name).to_owned(), text));
            }
        }
        _ => {}
    });
    match read {
        Ok(()) => told,
        Err(_) => Told::default(),
    }
}

/// A text without the lines that repeat the request's id and time.
fn own_words(text: &str) -> String {
    let lines = text.lines().map(str::trim_end);
    let is_own = |line: &&str| !line.starts_with("RequestId:") && !line.starts_with("Time:");
    let lines: Vec<&str> = lines.filter(is_own).collect();
    lines.join("\n").trim().to_owned()
}

/// The body of Put Block List: these uncommitted blocks, in this order.
pub(super) fn block_list(ids: impl Iterator<Item = String>) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for id in ids {
        // Base64 holds nothing that XML would have escaped.
        xml.push_str("<Uncommitted>");
        xml.push_str(&id);
        xml.push_str("</Uncommitted>");
    }
    xml.push_str("</BlockList>");
    xml
}

/// How deep elements may be nested: in Azure's answers they go 5
/// deep, and each costs the length of its path.
const MAX_DEPTH: usize = 32;

/// Goes through a document and calls `leave` at the end of each element: its
/// path from the root, whether it says `Encoded="true"`, and its text.
fn walk(xml: &[u8], mut leave: impl FnMut(&[&str], bool, &str)) -> Result<(), String> {
    let xml = std::str::from_utf8(xml).map_err(|_| "it is not UTF-8")?;
    let mut reader = Reader::from_str(xml.trim_start_matches('\u{feff}'));
    let mut path: Vec<String> = Vec::new();
    let mut is_encoded = false;
    let mut text = String::new();
    let no_xml = |_| "it is not XML".to_owned();
    loop {
        if path.len() > MAX_DEPTH {
            return Err("its elements are nested too deeply".to_owned());
        }
        match reader.read_event().map_err(no_xml)? {
            Event::Start(element) => {
                is_encoded = element
                    .try_get_attribute("Encoded")
                    .is_ok_and(|found| found.is_some_and(|attribute| &*attribute.value == "true"));
                path.push(element.name().as_ref().to_owned());
                text.clear();
            }
            Event::Empty(element) => {
                path.push(element.name().as_ref().to_owned());
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                leave(&names, false, "");
                path.pop();
            }
            Event::Text(part) => text.push_str(&part.xml_content(XmlVersion::Implicit1_0)),
            Event::CData(part) => text.push_str(&part.xml_content(XmlVersion::Implicit1_0)),
            Event::GeneralRef(name) => match name.resolve_char_ref().map_err(no_xml)? {
                Some(character) => text.push(character),
                None => text.push_str(
                    quick_xml::escape::resolve_predefined_entity(&name)
                        .ok_or("it holds an unknown entity")?,
                ),
            },
            Event::End(_) => {
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                leave(&names, is_encoded, &text);
                path.pop();
                text.clear();
                is_encoded = false;
            }
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err("it is cut short".to_owned()),
            _ => {}
        }
    }
}
