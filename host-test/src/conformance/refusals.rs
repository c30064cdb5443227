//! What fails, and what is left behind when it does.

use std::io;

use build_cache_host::{Content, Digest, Error};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::{Subject, read};
use crate::failure::ensure;
use crate::sample::{Sample, unique};
use crate::{Failure, Outcome};

/// How the layer that cannot be read ends.
#[derive(Clone, Copy)]
enum End {
    WithAnError,
    TooSoon,
}

/// Content of which one layer breaks off half-way.
struct Broken {
    sample: Sample,
    blob: Digest,
    end: End,
}

impl Content for Broken {
    fn read(
        &self,
        blob: &Digest,
        offset: u64,
        length: u64,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        if *blob != self.blob {
            return self.sample.read(blob, offset, length);
        }
        let half = self.sample.read(blob, offset, length / 2);
        match self.end {
            End::TooSoon => half,
            End::WithAnError => half
                .chain(stream::once(async {
                    Err(io::Error::other("the disk is broken"))
                }))
                .boxed(),
        }
    }
}

pub(super) async fn content_that_fails_fails_the_export(subject: &Subject) -> Outcome {
    let error = export_broken(subject, End::WithAnError).await?;
    ensure!(
        error.contains("the disk is broken"),
        "content failed because the disk is broken, and the error says: {error}"
    );
    Ok(())
}

pub(super) async fn content_that_ends_too_soon_fails_the_export(subject: &Subject) -> Outcome {
    export_broken(subject, End::TooSoon).await.map(drop)
}

/// Exports a cache with a layer that breaks off, checks what is left of it,
/// and gives the error's text.
async fn export_broken(subject: &Subject, end: End) -> Outcome<String> {
    let sample = Sample::of_sizes([100, 300_000, 200]);
    let name = unique("broken");
    let blob = sample.digests()[1].clone();
    let content = Broken {
        sample: sample.clone(),
        blob: blob.clone(),
        end,
    };
    let cache = subject.open(&[&name], content).await?;
    let text = match cache.export(&sample.manifest).await {
        Err(Error::Content(text)) => text,
        other => {
            return Err(Failure::Broken(format!(
                "an export of content that breaks off gave {other:?}"
            )));
        }
    };
    let other = subject.open(&[&name], sample.clone()).await?;
    ensure!(
        other.import().await?.is_empty(),
        "a failed export wrote its name"
    );
    ensure!(
        read(&other, &blob, 0, None).await?.is_none(),
        "a layer that broke off was stored under its digest"
    );
    // And it does no harm to the next one, who has the layer whole.
    other.export(&sample.manifest).await?;
    super::check_holds(&other, &sample.manifest).await?;
    Ok(text)
}

pub(super) async fn an_unknown_attribute_is_refused_by_name(subject: &Subject) -> Outcome {
    let wrong = subject.clone().with("no-such-attribute", "x");
    match wrong.open_to_read(&["any"]).await {
        Err(Failure::Call(Error::InvalidAttribute { name, .. })) if name == "no-such-attribute" => {
            Ok(())
        }
        other => Err(Failure::Broken(format!(
            "opened with the attribute `no-such-attribute`, the backend gave {:?}",
            other.err()
        ))),
    }
}
