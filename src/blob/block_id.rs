//! The ids of uncommitted blocks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The ids of one upload's blocks.
///
/// All uncommitted blocks of a blob must have ids of one length, those of
/// other writers included. BuildKit's SDK makes ids of 64 bytes: 16 random
/// ones, the block's number, zeros. These are made alike, so that the two get
/// along.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockIds {
    upload: [u8; 16],
}

impl BlockIds {
    /// Ids that no other upload has.
    pub(crate) fn new(random: impl Fn() -> u64) -> Self {
        let mut upload = [0; 16];
        upload[..8].copy_from_slice(&random().to_be_bytes());
        upload[8..].copy_from_slice(&random().to_be_bytes());
        Self { upload }
    }

    /// The id of a block by its number, as requests carry it.
    pub(crate) fn id(&self, number: u32) -> String {
        let mut id = [0; 64];
        id[..16].copy_from_slice(&self.upload);
        id[16..20].copy_from_slice(&number.to_be_bytes());
        STANDARD.encode(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_64_bytes_with_the_number_after_the_upload() {
        let ids = BlockIds::new(|| 0x0102_0304_0506_0708);
        let id = STANDARD.decode(ids.id(0x0a0b_0c0d)).unwrap();
        assert_eq!(id.len(), 64);
        assert_eq!(id[..8], id[8..16]);
        assert_eq!(id[16..21], [0x0a, 0x0b, 0x0c, 0x0d, 0]);
        assert_eq!(ids.id(1).len(), 88);
    }
}
