//! What a build tool writes to store a cache: `push PLUGIN DIR NAME=VALUE…`.

use std::sync::Arc;

use build_cache_host::oci_layout::{Layout, VerifiedContent};
use build_cache_host::{Grants, Host, HostOptions, OpenOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: push PLUGIN DIR NAME=VALUE…";
    let (plugin, directory) = (
        arguments.next().ok_or(usage)?,
        arguments.next().ok_or(usage)?,
    );
    let attributes: Vec<_> = arguments
        .filter_map(|a| a.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())))
        .collect();

    let layout = Layout::open(directory).await?;
    let manifest = layout.read(None).await?;

    let host = Host::new(HostOptions::default())?;
    let plugin = host.load(plugin).await?;
    let options = OpenOptions {
        grants: Grants::from_environment(plugin.description()),
        content: Some(Arc::new(VerifiedContent::new(layout, &manifest))),
        on_event: Some(Arc::new(|event| println!("{event:?}"))),
        ..OpenOptions::default()
    };
    let cache = plugin.open(&attributes, options).await?;
    println!("{:?}", cache.export(&manifest).await?);
    Ok(())
}
