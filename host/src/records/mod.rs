//! BuildKit's cache records: which step leads to which, and which layers hold
//! a step's result.
//!
//! A record is a step of a build (its cache key). `inputs` link it to the
//! records of the steps before, and `layers` name the layers that hold its
//! result, if that was exported. The format is BuildKit's `CacheRecord`
//! ([`cache/remotecache/v1/types/spec.go`](https://github.com/moby/buildkit/blob/master/cache/remotecache/v1/types/spec.go));
//! the rules are those of its `parseRecord` in `cache/remotecache/v1/parse.go`.
//!
//! Records are parsed to be checked, and to take layers away ([`prune`],
//! [`mode_min`]). Otherwise they pass through as the bytes they came as.

mod chains;
mod cycle;
pub(crate) mod go_json;
mod mode_min;
mod prune;

use serde::{Deserialize, Serialize};

pub(crate) use chains::{Claim, joined, unnamed, with_chains, without_chains};
pub(crate) use cycle::find_cycle;
use go_json::{Go, go_struct};
pub use prune::Pruned;

/// What is wrong with a cache's records. Records are counted from 0.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// Not the JSON that BuildKit writes.
    #[error("the records are not BuildKit's JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// More than any cache has.
    #[error(
        "the records hold more than {MAX_ELEMENTS} JSON objects and arrays, more than are read"
    )]
    TooMany,
    /// A result in a layer that is not there.
    #[error("record {record} has its result in layer {layer}, but there are only {layers} layers")]
    NoSuchLayer {
        /// The record.
        record: usize,
        /// The layer it names.
        layer: i64,
        /// How many layers there are.
        layers: usize,
    },
    /// A link to a record that is not there.
    #[error("record {record} links to record {link}, but there are only {records} records")]
    NoSuchRecord {
        /// The record.
        record: usize,
        /// The record it links to.
        link: i64,
        /// How many records there are.
        records: usize,
    },
    /// An input without a single link, which BuildKit refuses.
    #[error("input {input} of record {record} has no links")]
    EmptyInput {
        /// The record.
        record: usize,
        /// The input, from 0.
        input: usize,
    },
    /// A record that comes before itself.
    #[error("record {0} links to itself, through its inputs")]
    Cycle(usize),
    /// A time that is not one.
    #[error("record {record} has a result created at `{time}`, which is not an RFC 3339 time")]
    CreatedAt {
        /// The record.
        record: usize,
        /// What it says.
        time: String,
    },
}

/// As many JSON objects and arrays as records may hold, so that a hostile
/// manifest cannot fill the memory. BuildKit's records have about six each.
const MAX_ELEMENTS: usize = 2_000_000;

/// One record. The order of the fields is the order in which Go writes them.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Record {
    #[serde(rename = "layers", skip_serializing_if = "Vec::is_empty")]
    results: Vec<LayerResult>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chains: Vec<ChainResult>,
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Input>,
}
go_struct!(Record {
    results: "layers",
    chains: "chains",
    digest: "digest",
    inputs: "inputs"
});

/// A result: a layer on top of its parents.
#[derive(Debug, Clone, Default, Serialize)]
struct LayerResult {
    layer: i64,
    #[serde(rename = "createdAt")]
    created_at: Time,
}
go_struct!(LayerResult {
    layer: "layer",
    created_at: "createdAt"
});

/// A result: layers on top of each other, whatever their parents are.
#[derive(Debug, Clone, Default, Serialize)]
struct ChainResult {
    layers: Vec<i64>,
    #[serde(rename = "createdAt")]
    created_at: Time,
}
go_struct!(ChainResult {
    layers: "layers",
    created_at: "createdAt"
});

/// The records that can stand before a step at one of its inputs.
type Input = Vec<Link>;

#[derive(Debug, Clone, Default, Serialize)]
struct Link {
    #[serde(skip_serializing_if = "String::is_empty")]
    selector: String,
    link: i64,
}
go_struct!(Link {
    selector: "selector",
    link: "link"
});

/// A time, as its text.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
struct Time(String);

/// What Go makes of a time that is not there.
impl Default for Time {
    fn default() -> Self {
        Self("0001-01-01T00:00:00Z".to_owned())
    }
}

impl go_json::FromGo for Time {
    fn from_go<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Option::<String>::deserialize(deserializer)?;
        Ok(given.map_or_else(Self::default, Self))
    }
}

/// Whether Go's `time.Time` would read it from JSON.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).is_ok()
}

impl Record {
    fn has_result(&self) -> bool {
        !self.results.is_empty() || !self.chains.is_empty()
    }

    /// The layers that this record's results name.
    fn layers(&self) -> impl Iterator<Item = i64> {
        let chained = self
            .chains
            .iter()
            .flat_map(|chain| chain.layers.iter().copied());
        self.results
            .iter()
            .map(|result| result.layer)
            .chain(chained)
    }

    /// The records that this one links to.
    fn links(&self) -> impl Iterator<Item = i64> {
        self.inputs.iter().flatten().map(|link| link.link)
    }
}

/// Indices that [`parse`] has found in range.
fn checked(indices: impl Iterator<Item = i64>) -> impl Iterator<Item = usize> {
    indices.filter_map(|index| usize::try_from(index).ok())
}

/// Reads `json` and checks everything that BuildKit checks on import, for a
/// cache of `layers` layers.
pub(crate) fn parse(json: &str, layers: usize) -> Result<Vec<Record>, RecordsError> {
    if json
        .bytes()
        .filter(|byte| matches!(byte, b'{' | b'['))
        .count()
        > MAX_ELEMENTS
    {
        return Err(RecordsError::TooMany);
    }
    let Go(records) = serde_json::from_str::<Go<Vec<Record>>>(json).map_err(RecordsError::Json)?;
    let count = records.len();
    let in_range =
        |index: i64, count: usize| usize::try_from(index).is_ok_and(|index| index < count);
    for (index, record) in records.iter().enumerate() {
        if let Some(layer) = record.layers().find(|layer| !in_range(*layer, layers)) {
            return Err(RecordsError::NoSuchLayer {
                record: index,
                layer,
                layers,
            });
        }
        if let Some(link) = record.links().find(|link| !in_range(*link, count)) {
            return Err(RecordsError::NoSuchRecord {
                record: index,
                link,
                records: count,
            });
        }
        if let Some(input) = record.inputs.iter().position(Vec::is_empty) {
            return Err(RecordsError::EmptyInput {
                record: index,
                input,
            });
        }
        let results = record.results.iter().map(|result| &result.created_at);
        let mut times = results.chain(record.chains.iter().map(|chain| &chain.created_at));
        if let Some(Time(time)) = times.find(|time| !is_rfc3339(&time.0)) {
            let time = time.chars().take(100).collect();
            return Err(RecordsError::CreatedAt {
                record: index,
                time,
            });
        }
    }
    match find_cycle(count, |record| checked(records[record].links())) {
        Some(record) => Err(RecordsError::Cycle(record)),
        None => Ok(records),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        parse(json, 2)
            .map(|_| ())
            .expect_err("should be refused")
            .to_string()
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let json = concat!(
            r#"[{"layers":[{"layer":0,"createdAt":"2026-11-23T14:14:42.8Z"}],"#,
            r#""chains":[{"layers":[0,1],"createdAt":"0001-01-01T00:00:00Z"}],"#,
            r#""digest":"sha256:a","inputs":[[{"link":1},{"selector":"\u003cx\u003e","link":1}]]},"#,
            r#"{"digest":"sha256:b"}]"#
        );
        let records = parse(json, 2).expect("valid");
        assert_eq!(go_json::to_string(&records).expect("JSON"), json);
    }

    #[test]
    fn what_go_leaves_out_is_read_as_go_reads_it() {
        let json = r#"[{"layers":null,"inputs":null,"new":{}},{"layers":[{}],"inputs":[[{}]]}]"#;
        let records = parse(json, 2).expect("valid");
        let expected = r#"[{},{"layers":[{"layer":0,"createdAt":"0001-01-01T00:00:00Z"}],"inputs":[[{"link":0}]]}]"#;
        assert_eq!(go_json::to_string(&records).expect("JSON"), expected);
        assert!(parse("null", 0).expect("no records").is_empty());
    }

    #[test]
    fn what_buildkit_refuses_is_named() {
        let cases = [
            ("", "not BuildKit's JSON"),
            ("{}", "not BuildKit's JSON"),
            ("[1]", "not BuildKit's JSON"),
            (r#"[{"layers":[{"layer":1.5}]}]"#, "not BuildKit's JSON"),
            (
                r#"[{},{"layers":[{"layer":2}]}]"#,
                "record 1 has its result in layer 2, but there are only 2",
            ),
            (
                r#"[{"layers":[{"layer":-1}]}]"#,
                "record 0 has its result in layer -1",
            ),
            (
                r#"[{"chains":[{"layers":[0,7]}]}]"#,
                "record 0 has its result in layer 7",
            ),
            (
                r#"[{"inputs":[[{"link":1}]]}]"#,
                "record 0 links to record 1, but there are only 1",
            ),
            (
                r#"[{"inputs":[[{"link":-9223372036854775808}]]}]"#,
                "links to record -9223372036854775808",
            ),
            (
                r#"[{},{"inputs":[[{"link":0}],[]]}]"#,
                "input 1 of record 1 has no links",
            ),
            (
                r#"[{},{"inputs":[null]}]"#,
                "input 0 of record 1 has no links",
            ),
            (
                r#"[{"inputs":[[{"link":1}]]},{"inputs":[[{"link":0}]]}]"#,
                "links to itself",
            ),
            (
                r#"[{"layers":[{"createdAt":"2026-02-30T00:00:00Z"}]}]"#,
                "not an RFC 3339 time",
            ),
        ];
        for (json, expected) in cases {
            let message = error(json);
            assert!(message.contains(expected), "{json} gave: {message}");
        }
    }

    #[test]
    fn hostile_sizes_are_refused_before_they_are_read() {
        let many = format!("[{}{{}}]", "{},".repeat(MAX_ELEMENTS));
        assert!(error(&many).contains("more than are read"));
        let deep = format!(
            "[{{\"new\":{}{}}}]",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        parse(&deep, 0).expect("what nobody reads is skipped without a stack");
    }
}
