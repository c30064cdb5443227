//! `build-cache plugin`: what plugins are there, and what one of them is.

use std::path::{Path, PathBuf};

use anyhow::Result;
use build_cache_host::{Attribute, Contract, Description, Digest, Plugin, Variable, Wishes};
use serde::Serialize;

use crate::args::{FolderArgs, GrantArgs};
use crate::console::Console;
use crate::{failure, search, session, tools};

/// What a plugin imports that asks for the user's own tokens.
const IDENTITY: &str = "build-cache:plugin/identity@";

/// All that can be said of a plugin.
#[derive(Serialize)]
struct Inspected<'a> {
    file: &'a Path,
    #[serde(flatten)]
    description: &'a Description,
    digest: &'a Digest,
    /// In bytes.
    size: usize,
    /// The version of the contract that it speaks.
    contract: &'a str,
    /// What the contract of this host has and that one does not.
    lacks: &'a [&'a str],
    imports: &'a [String],
    exports: &'a [String],
    /// What of that it gets.
    granted: &'a Wishes,
    /// What it merely asks for, and gets by `--grant`.
    not_granted: &'a Wishes,
}

/// What is in the plugin folders.
#[derive(Serialize)]
struct Listed {
    folders: Vec<PathBuf>,
    plugins: Vec<ListedPlugin>,
}

/// A plugin, or a file that is not one.
#[derive(Serialize)]
struct ListedPlugin {
    file: PathBuf,
    #[serde(flatten)]
    is: Is,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Is {
    Plugin { r#type: String, version: String },
    Unusable { error: String },
}

/// `plugin inspect`
pub async fn inspect(file: &Path, grants: &GrantArgs, console: &Console) -> Result<()> {
    let plugin = session::host(None)?.load(file).await?;
    let policy = session::policy(plugin.description(), grants)?;
    let (granted, not_granted) = policy.judge(plugin.description());
    let inspected = Inspected {
        file,
        description: plugin.description(),
        digest: plugin.digest(),
        size: plugin.size(),
        contract: plugin.contract().version(),
        lacks: plugin.contract().lacks(),
        imports: plugin.imports(),
        exports: plugin.exports(),
        granted: &granted,
        not_granted: &not_granted,
    };
    let text = text(file, &plugin, &granted, &not_granted);
    console.answer(&text, &inspected)
}

/// `plugin list`
pub async fn list(args: &FolderArgs, console: &Console) -> Result<()> {
    let folders = search::folders(args.plugin_dir.as_deref());
    let host = session::host(None)?;
    let mut plugins = Vec::new();
    for file in search::all(&folders) {
        let is = match host.load(&file).await {
            Ok(plugin) => {
                let Description {
                    r#type, version, ..
                } = plugin.description().clone();
                Is::Plugin { r#type, version }
            }
            Err(error) => Is::Unusable {
                error: failure::message(&error.into()),
            },
        };
        plugins.push(ListedPlugin { file, is });
    }
    let listed = Listed { folders, plugins };
    console.answer(&listed.text(), &listed)
}

impl Listed {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for ListedPlugin { file, is } in &self.plugins {
            let file = file.display();
            lines.push(match is {
                Is::Plugin { r#type, version } => format!("{type} {version}  {file}"),
                Is::Unusable { error } => error.clone(),
            });
        }
        if lines.is_empty() {
            lines.push("There is no plugin.".to_owned());
        }
        lines.push("\nLooked for in:".to_owned());
        lines.extend(
            self.folders
                .iter()
                .map(|folder| format!("  {}", folder.display())),
        );
        lines.join("\n")
    }
}

fn text(file: &Path, plugin: &Plugin, granted: &Wishes, not_granted: &Wishes) -> String {
    let Description {
        r#type,
        version,
        attributes,
        environment,
        ..
    } = plugin.description();
    let mut lines = vec![
        format!("{type} {version}  {}", file.display()),
        format!("{} bytes, {}", plugin.size(), plugin.digest()),
        contract(plugin.contract()),
    ];
    let mut section = |title: &str, entries: Vec<String>| {
        lines.push(format!("\n{title}"));
        if entries.is_empty() {
            lines.push("  none".to_owned());
        }
        lines.extend(entries.into_iter().map(|entry| format!("  {entry}")));
    };
    let rows = attributes
        .iter()
        .map(|attribute| (&attribute.name, about(attribute)));
    section("Attributes", table(rows.collect()));
    let variables = |wishes: &Wishes| {
        let asked = environment
            .iter()
            .filter(|variable| wishes.environment.contains(&variable.name));
        let rows = asked.map(|variable| (&variable.name, about_variable(variable)));
        table(rows.collect())
    };
    section("Environment variables that it sees", variables(granted));
    let always = granted.authorities.iter().map(|text| short(text));
    let named = "what the attributes and these variables name".to_owned();
    section("May reach", always.chain([named]).collect());
    let always = granted.files.iter().cloned();
    let named = environment
        .iter()
        .filter(|variable| variable.file && granted.environment.contains(&variable.name))
        .map(|variable| format!("what ${} names", variable.name));
    section("May read these files", always.chain(named).collect());
    let mut imports = plugin.imports().iter();
    let tokens = match imports.any(|import| import.starts_with(IDENTITY)) {
        true => granted
            .scopes
            .iter()
            .map(|scope| {
                let tools = tools::in_words();
                format!("{scope} of {tools}, if you are signed in there")
            })
            .collect(),
        false => Vec::new(),
    };
    section("May ask for these tokens", tokens);
    if !not_granted.is_empty() {
        let others = not_granted.authorities.iter().chain(&not_granted.files);
        let scopes = not_granted.scopes.iter().map(|s| format!("scope:{s}"));
        let all = variables(not_granted).into_iter();
        let all = all.chain(others.cloned()).chain(scopes).collect();
        let title = "Asks for these too, and gets each by `--grant NAME` alone";
        section(title, all);
    }
    section("Imports", plugin.imports().to_vec());
    section("Exports", plugin.exports().to_vec());
    lines.join("\n")
}

/// The version of the contract, and what is missing from it.
fn contract(contract: Contract) -> String {
    let lacks = contract.lacks();
    match lacks.is_empty() {
        true => format!("contract {contract}"),
        false => format!(
            "contract {contract}: it runs without {}, which came later",
            lacks.join(", ")
        ),
    }
}

/// What may be reached, where of the sources that fill a label the first stands
/// for all.
fn short(authority: &str) -> String {
    let mut short = String::new();
    for (at, part) in authority.split('{').enumerate() {
        let (label, rest) = part.split_once('}').unwrap_or(("", part));
        if at > 0 {
            let first = label.split('|').next().unwrap_or_default();
            short.push_str(&format!("{{{first}}}"));
        }
        short.push_str(rest);
    }
    short
}

/// What an attribute is for, and how it may be given.
fn about(attribute: &Attribute) -> String {
    let mut about = attribute.description.clone();
    if attribute.required {
        about.push_str(" [required]");
    }
    if let Some(default) = &attribute.default {
        about.push_str(&format!(" [default: {default}]"));
    }
    if attribute.secret {
        about.push_str(&format!(" [secret; or {}_file=PATH]", attribute.name));
    }
    about
}

/// What a variable is for, and what its value is.
fn about_variable(variable: &Variable) -> String {
    let mut about = variable.description.clone();
    if variable.secret {
        about.push_str(" [secret]");
    }
    if variable.file {
        about.push_str(" [file]");
    }
    about
}

fn table(rows: Vec<(&String, String)>) -> Vec<String> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.into_iter()
        .map(|(name, about)| format!("{name:width$}  {about}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_sources_of_a_label_the_first_is_shown() {
        for (authority, shown) in [
            ("a.example:80", "a.example:80"),
            ("{a|B|c/D}.x.{e/F|g}", "{a}.x.{e/F}"),
            ("127.0.0.1:1 if a/B=c", "127.0.0.1:1 if a/B=c"),
        ] {
            assert_eq!(short(authority), shown);
        }
    }
}
