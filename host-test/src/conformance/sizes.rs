//! Layers of every size, and many of them.

use super::{Subject, check_holds};
use crate::Outcome;
use crate::sample::{Sample, unique};

/// A size of blocks that backends with blocks take, in bytes.
const BLOCK: u64 = 65_536;
const MIB: u64 = 1 << 20;

pub(super) async fn layers_of_odd_sizes_come_back(subject: &Subject) -> Outcome {
    let around = |size: u64| [size - 1, size, size + 1];
    let sizes = [0, 1, 2 * BLOCK, 5 * BLOCK + 1, 40 * BLOCK]
        .into_iter()
        .chain(around(BLOCK))
        .chain(around(MIB));
    let in_blocks = if subject.takes("block_size") {
        subject.clone().with("block_size", &BLOCK.to_string())
    } else {
        subject.clone()
    };
    for subject in [subject, &in_blocks] {
        let sample = Sample::of_sizes(sizes.clone());
        let name = unique("sizes");
        subject.store(&name, &sample).await?;
        check_holds(&subject.open_to_read(&[&name]).await?, &sample.manifest).await?;
    }
    Ok(())
}

pub(super) async fn hundreds_of_layers_come_back(subject: &Subject) -> Outcome {
    let sample = Sample::of_sizes((1..=500).map(|number| number % 97 + 1));
    let name = unique("hundreds");
    subject.store(&name, &sample).await?;
    check_holds(&subject.open_to_read(&[&name]).await?, &sample.manifest).await
}
