//! Containers whose blobs everybody may read, as the service's public access level `blob` has it:
//! reading alone, and no listing.
//! <https://learn.microsoft.com/azure/storage/blobs/anonymous-read-access-configure>

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::names::ContainerName;
use crate::request::{OperationKind, Route};

/// The containers that are public.
#[derive(Debug, Default)]
pub(crate) struct PublicContainers(Mutex<BTreeSet<String>>);

impl PublicContainers {
    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, container: &ContainerName) {
        self.names().insert(container.as_str().to_owned());
    }

    /// Whether anybody may do this.
    pub fn allow(&self, route: &Route<'_>) -> bool {
        let reads = matches!(
            route.kind,
            OperationKind::GetBlob | OperationKind::GetBlobProperties
        );
        reads && self.names().contains(route.container)
    }
}
