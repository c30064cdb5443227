//! Answers that no backend may give.

use std::mem::forget;

use crate::bindings::build_cache::plugin::types::{Error, Layer, Manifest};
use crate::bindings::exports::build_cache::plugin::backend::{
    Access, Attempt, Attribute, Description, ExportSummary, Imported, Loaded, Variable,
};
use crate::bindings::exports::build_cache::plugin::inventory::{BlobInfo, ManifestInfo};
use crate::bindings::exports::build_cache::plugin::layers::StoredLayer;
use crate::bindings::exports::build_cache::plugin::names::NamedManifest;
use crate::bindings::{wit_future, wit_stream};
use crate::{Listing, Outgoing};

/// What would clear a terminal.
const ESCAPE: &str = "\u{1b}[2J";
/// A digest that is one.
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Text of a length that nobody prints.
const HUGE: usize = 200 << 20;

/// The description. `names` adds authorities to it, `offers` one that has
/// spaces in it, `reads` variables, `opens` files, `as` a type and variables.
pub(crate) fn description(lie: &str, rest: &str) -> Description {
    let mut description = Description {
        type_: "hostile".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        attributes: Vec::new(),
        environment: variables("HOSTILE_VARIABLE"),
        authorities: Vec::new(),
        files: Vec::new(),
    };
    match lie {
        "names" => description.authorities = rest.split(' ').map(str::to_owned).collect(),
        "offers" => description.authorities = vec![rest.to_owned()],
        "reads" => description.environment = variables(rest),
        "opens" => description.files = rest.split(' ').map(str::to_owned).collect(),
        "as" => {
            let (type_, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            description.type_ = type_.to_owned();
            description.environment = variables(rest);
        }
        "escapes" => {
            description.type_ += ESCAPE;
            description.version += ESCAPE;
            description.attributes.push(Attribute {
                name: format!("a{ESCAPE}"),
                description: format!("line\nerror: forged {ESCAPE}"),
                default: Some(ESCAPE.into()),
                required: false,
                secret: false,
            });
        }
        "huge" => description.version = "9".repeat(HUGE),
        _ => {}
    }
    description
}

/// Variables of these names, which it reads and tells.
fn variables(names: &str) -> Vec<Variable> {
    let variable = |name: &str| Variable {
        name: name.to_owned(),
        description: "Read and told.".into(),
        secret: false,
        file: false,
    };
    names.split_whitespace().map(variable).collect()
}

/// What an export did.
pub(crate) fn summary(lie: &str) -> ExportSummary {
    let everything = lie == "lying-summary";
    ExportSummary {
        layers_stored: if everything { u32::MAX } else { 0 },
        layers_reused: if everything { u32::MAX } else { 0 },
        bytes_stored: if everything { u64::MAX } else { 0 },
        requests: 0,
        retries: 0,
    }
}

/// What an import found.
pub(crate) fn imported(lie: &str) -> Vec<Imported> {
    let mut layer = Layer {
        blob: DIGEST.into(),
        size: 1,
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
        diff_id: DIGEST.into(),
        created_at: None,
        parent: None,
    };
    let mut records = "[]".to_owned();
    let mut missing = Vec::new();
    let mut count = 1;
    match lie {
        "wrong-index" => layer.parent = Some(u32::MAX),
        "cycle" => layer.parent = Some(0),
        "bad-digest" => layer.blob = format!("sha256:../../{ESCAPE}\nerror: forged"),
        "bad-media-type" => layer.media_type += ESCAPE,
        "bad-time" => layer.created_at = Some(ESCAPE.into()),
        "bad-records" => records = format!("[{{\"digest\":\"{ESCAPE}\"}}]"),
        "bad-missing" => missing.push(format!("sha256:{ESCAPE}")),
        "huge-size" => layer.size = u64::MAX,
        "huge-answer" => records = " ".repeat(HUGE),
        "many-layers" => count = 1_000_000,
        _ => return Vec::new(),
    }
    vec![Imported {
        name: format!("app{ESCAPE}"),
        outcome: Ok(Loaded {
            manifest: Manifest {
                layers: vec![layer; count],
                records,
            },
            missing,
        }),
    }]
}

/// What is stored of so many layers.
pub(crate) fn found(lie: &str, asked: usize) -> Vec<Option<StoredLayer>> {
    let layer = StoredLayer {
        size: u64::MAX,
        modified: u64::MAX,
        version: match lie {
            "bad-version" => ESCAPE.into(),
            "long-version" => "9".repeat(1 << 20),
            _ => String::new(),
        },
    };
    match lie {
        "too-few" => Vec::new(),
        "too-many" => vec![Some(layer); asked + 1],
        "bad-version" | "long-version" => vec![Some(layer); asked],
        _ => vec![None; asked],
    }
}

/// The names that the attributes are said to give.
pub(crate) fn names(lie: &str) -> Vec<String> {
    match lie {
        "many-names" => vec!["app".into(); 100_000],
        _ => Vec::new(),
    }
}

/// What is under a name: the first that an import would find.
pub(crate) fn named(lie: &str) -> Option<NamedManifest> {
    let named = |manifest| NamedManifest {
        manifest,
        version: ESCAPE.into(),
    };
    if lie == "bad-version" {
        return Some(named(Manifest {
            layers: Vec::new(),
            records: "[]".into(),
        }));
    }
    let loaded = imported(lie).pop()?.outcome.ok()?;
    Some(named(loaded.manifest))
}

/// The layers that are said to be missing, where a call says so at all.
pub(crate) fn missing(lie: &str) -> Option<Vec<String>> {
    Some(match lie {
        "none-missing" => Vec::new(),
        "foreign-missing" => vec![DIGEST.into()],
        "bad-missing" => vec![format!("sha256:{ESCAPE}")],
        _ => return None,
    })
}

/// A layer's bytes.
pub(crate) fn layer(lie: &str) -> Option<Outgoing> {
    let (mut writer, bytes) = wit_stream::new();
    let (verdict, outcome) = wit_future::new(|| Ok(()));
    match lie {
        // Neither the stream nor the future ever moves.
        "silence" => forget((writer, verdict)),
        // The stream ends, and nobody says how.
        "no-verdict" => forget(verdict),
        "endless" => wit_bindgen::spawn_local(async move {
            while writer.write_all(vec![0; 1 << 20]).await.is_empty() {}
            forget(verdict);
        }),
        _ => return None,
    }
    Some((bytes, outcome))
}

/// What a credential opens.
pub(crate) fn access(lie: &str) -> Access {
    let text = if lie == "escapes" { ESCAPE } else { "" };
    Access {
        credential: text.into(),
        store: text.into(),
        attempts: vec![Attempt {
            what: text.into(),
            outcome: Err(Error::Other(text.into())),
        }],
    }
}

/// A listing of manifests.
pub(crate) fn manifests(lie: &str) -> Listing<ManifestInfo> {
    let (mut writer, items) = wit_stream::new();
    let (verdict, outcome) = wit_future::new(|| Ok(()));
    let lie = lie.to_owned();
    wit_bindgen::spawn_local(async move {
        let item = ManifestInfo {
            name: format!("app{ESCAPE}"),
            size: u64::MAX,
            modified: u64::MAX,
            used: Some(u64::MAX),
            version: ESCAPE.into(),
        };
        match lie.as_str() {
            "endless" => while writer.write_all(vec![item.clone(); 512]).await.is_empty() {},
            "escapes" => drop(writer.write_all(vec![item]).await),
            _ => {}
        }
        drop(writer);
        let _ = verdict.write(Ok(())).await;
    });
    (items, outcome)
}

/// A listing of blobs.
pub(crate) fn blobs(lie: &str) -> Listing<BlobInfo> {
    let (mut writer, items) = wit_stream::new();
    let (verdict, outcome) = wit_future::new(|| Ok(()));
    let is_lie = lie == "escapes";
    wit_bindgen::spawn_local(async move {
        if is_lie {
            let item = BlobInfo {
                blob: format!("sha256:{ESCAPE}"),
                size: u64::MAX,
                modified: u64::MAX,
                used: None,
                version: ESCAPE.into(),
            };
            drop(writer.write_all(vec![item]).await);
        }
        drop(writer);
        let _ = verdict.write(Ok(())).await;
    });
    (items, outcome)
}
