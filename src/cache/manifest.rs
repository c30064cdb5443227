//! BuildKit's manifest of an azblob cache, as JSON and as data.
//!
//! What is written here BuildKit must be able to read, byte for byte as it
//! would write it itself; what is read must be right, since BuildKit fails
//! builds over wrong sizes.

mod wire;

use crate::digest::Digest;

/// The longest manifest that is read or written, in bytes. It is in the
/// component's memory; one of this size would name some 200,000 layers.
pub(crate) const MAX_MANIFEST: usize = 64 * 1024 * 1024;

/// A build cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) layers: Vec<Layer>,
    /// A JSON array, unread.
    pub(crate) records: String,
}

/// One layer of a build cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) blob: Digest,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) media_type: String,
    pub(crate) diff_id: Digest,
    /// RFC 3339.
    pub(crate) created_at: Option<String>,
    /// Index of the layer below.
    pub(crate) parent: Option<u32>,
}

/// A manifest as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The replacement of a layer that cannot be used has no more than
    /// its digest: the records count the layers, so none is left out.
    pub(crate) manifest: Manifest,
    /// The layers that are not described as they have to be, in their order.
    pub(crate) unusable: Vec<Unusable>,
}

/// A layer that nobody can use as a manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// Its place among the layers.
    pub(crate) index: usize,
    /// What the manifest calls its blob.
    pub(crate) blob: String,
    /// What is wrong with it.
    pub(crate) why: &'static str,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { index, blob, why } = self;
        match blob.as_str() {
            "" => write!(f, "layer {index} {why}"),
            blob => {
                let blob: String = blob.chars().take(100).collect();
                write!(f, "layer {index} ({blob}) {why}")
            }
        }
    }
}

impl Parsed {
    /// The layers that are described as they have to be.
    pub(crate) fn usable_layers(&self) -> impl Iterator<Item = &Layer> {
        let mut unusable = self.unusable.iter().map(|layer| layer.index).peekable();
        let layers = self.manifest.layers.iter().enumerate();
        layers.filter_map(move |(index, layer)| match unusable.peek() {
            Some(next) if *next == index => {
                unusable.next();
                None
            }
            _ => Some(layer),
        })
    }
}

impl Manifest {
    /// Reads BuildKit's JSON, or says what is wrong with it. A single layer that
    /// cannot be used makes the whole wrong.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, String> {
        let parsed = Self::as_far_as_usable(json)?;
        match parsed.unusable.first() {
            Some(unusable) => Err(unusable.to_string()),
            None => Ok(parsed.manifest),
        }
    }

    /// Reads BuildKit's JSON, as far as it can be used, or says what is wrong
    /// with all of it.
    pub(crate) fn as_far_as_usable(json: &[u8]) -> Result<Parsed, String> {
        let parsed = wire::read(json)?;
        parsed.manifest.check()?;
        Ok(parsed)
    }

    /// Writes the JSON that BuildKit would write, or says why BuildKit could
    /// not use it.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, String> {
        self.check()?;
        let json = wire::write(self)?;
        if json.len() > MAX_MANIFEST {
            return Err(format!(
                "it would take {} bytes; the limit is {MAX_MANIFEST}",
                json.len()
            ));
        }
        Ok(json)
    }

    /// What must hold of every manifest beyond its form.
    fn check(&self) -> Result<(), String> {
        for (index, layer) in self.layers.iter().enumerate() {
            let wrong = |what: &str| Err(format!("layer {index} {what}"));
            if let Some(what) = layer.flaw() {
                return wrong(what);
            }
            let parent = layer.parent.map(|parent| parent as usize);
            if parent.is_some_and(|parent| parent >= self.layers.len()) {
                return wrong("has a parent that does not exist");
            }
        }
        match self.layer_in_a_circle() {
            Some(index) => Err(format!("layer {index} is its own parent")),
            None => Ok(()),
        }
    }

    /// A layer whose parents lead back to it, if there is one. Expects parents
    /// in range.
    fn layer_in_a_circle(&self) -> Option<usize> {
        // The start of the walk that first came by; walks end where an
        // earlier one has been.
        let mut seen_by = vec![None; self.layers.len()];
        for start in 0..self.layers.len() {
            let mut next = Some(start);
            while let Some(index) = next {
                match seen_by[index] {
                    Some(walk) if walk == start => return Some(index),
                    Some(_) => break,
                    None => seen_by[index] = Some(start),
                }
                next = self.layers[index].parent.map(|parent| parent as usize);
            }
        }
        None
    }
}

impl Layer {
    /// What is wrong with the layer, beside its parent.
    fn flaw(&self) -> Option<&'static str> {
        if self.media_type.is_empty() {
            return Some("has no media type");
        }
        if i64::try_from(self.size).is_err() {
            return Some("has a size that is impossible");
        }
        if (self.size == 0) != (self.blob == Digest::OF_NOTHING) {
            return Some("has a size that does not go with its digest");
        }
        if self.created_at.as_deref().is_some_and(|t| !is_rfc3339(t)) {
            return Some("has a time of creation that is not RFC 3339");
        }
        None
    }
}

/// Whether Go would read the text as a time: `2006-01-02T15:04:05`, perhaps a
/// fraction, and `Z` or an offset.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((date_time, rest)) = bytes.split_at_checked(19) else {
        return false;
    };
    let is_shaped = |bytes: &[u8], shape: &[u8]| {
        bytes.len() == shape.len()
            && bytes.iter().zip(shape).all(|(b, s)| match s {
                b'0' => b.is_ascii_digit(),
                _ => b == s,
            })
    };
    if !is_shaped(date_time, b"0000-00-00T00:00:00") {
        return false;
    }
    let part = |range: std::ops::Range<usize>| -> u32 { text[range].parse().unwrap_or(u32::MAX) };
    let is_in_range = (1..=12).contains(&part(5..7))
        && (1..=31).contains(&part(8..10))
        && part(11..13) < 24
        && part(14..16) < 60
        && part(17..19) < 60;
    let zone = match rest.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        _ => rest,
    };
    is_in_range && (zone == b"Z" || is_shaped(zone, b"+00:00") || is_shaped(zone, b"-00:00"))
}
