//! Whom a refusal concerns: the one blob that was asked for, or everything that
//! is asked with this credential. One blob that cannot be had is a cache miss;
//! a key that is wrong is an error, and not as many misses as there are layers.
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>

use super::advice::SentWith;
use super::failure::{Cause, Failure, Refusal};
use super::sending::CHANGED;
use crate::transport::TransportError;

/// Whom a failure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Concern {
    /// This blob: it is archived, encrypted with a customer's key, immutable,
    /// a directory, or damaged.
    ThisBlob,
    /// This blob, if others can be had; else everything.
    Unclear,
    /// Everything: the credential, the account, the container, the network.
    Everything,
}

impl Failure {
    /// Whom the failure concerns.
    pub(crate) fn concern(&self) -> Concern {
        match &self.cause {
            Cause::Refused(refusal) => of_refusal(refusal),
            _ if self.is_too_long() => Concern::ThisBlob,
            // Its Content-MD5 is damaged: it was fetched again and again.
            Cause::Transport(TransportError::Broken(text)) if text == CHANGED => Concern::ThisBlob,
            _ => Concern::Everything,
        }
    }

    /// The service refuses to write or to remove this blob as it is, whatever
    /// the conditions are that were asked for.
    pub(crate) fn refuses_this_blob(&self) -> bool {
        let may_be_a_race = self.is_lost_race() && !is_lease(self.code());
        self.concern() == Concern::ThisBlob && !may_be_a_race && !self.is_block_trouble()
    }

    /// What came back, without the request.
    pub(crate) fn reason(&self) -> String {
        self.cause.to_string()
    }

    /// Whether the request was sent without a credential.
    pub(super) fn was_sent_by_nobody(&self) -> bool {
        matches!(&self.cause, Cause::Refused(refusal) if refusal.sent_with == SentWith::Nothing)
    }

    /// Whether there was an answer, from any server. A listing that failed with
    /// one says nothing about whether blobs can be had.
    pub(crate) fn was_answered(&self) -> bool {
        matches!(
            self.cause,
            Cause::Refused(_)
                | Cause::Strange { .. }
                | Cause::Transport(TransportError::TooLong(_))
        )
    }
}

fn of_refusal(refusal: &Refusal) -> Concern {
    match (refusal.status, refusal.meaning()) {
        (401, _)
        | (
            _,
            "AuthenticationFailed"
            | "InvalidAuthenticationInfo"
            | "NoAuthenticationInformation"
            | "PublicAccessNotPermitted"
            | "KeyBasedAuthenticationNotPermitted"
            | "AuthorizationProtocolMismatch"
            | "AuthorizationServiceMismatch"
            | "AuthorizationResourceTypeMismatch"
            | "AuthorizationSourceIPMismatch"
            | "InsufficientAccountPermissions"
            | "AccountIsDisabled"
            | "AccountBeingCreated"
            | "ContainerAlreadyExists"
            | "ContainerBeingDeleted"
            | "ContainerDisabled"
            | "ContainerNotFound"
            | "ResourceNotFound",
        ) => Concern::Everything,
        (409, _) | (403, "UnauthorizedBlobOverwrite") => Concern::ThisBlob,
        (403, code) if code.starts_with("Blob") => Concern::ThisBlob,
        (412, code) if is_lease(code) => Concern::ThisBlob,
        (404 | 408 | 416 | 429, _) => Concern::Everything,
        (400..=499, _) => Concern::Unclear,
        _ => Concern::Everything,
    }
}

/// Someone holds a lease on the blob.
fn is_lease(code: &str) -> bool {
    code.starts_with("Lease")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, code: &str) -> Failure {
        let refusal = Refusal {
            status,
            code: code.to_owned(),
            ..Refusal::default()
        };
        Failure {
            request: "GET x".to_owned(),
            cause: Cause::Refused(Box::new(refusal)),
        }
    }

    #[test]
    fn a_refusal_of_one_blob_is_told_from_one_of_everything() {
        use Concern::{Everything, ThisBlob, Unclear};
        for (status, code, concern) in [
            (409, "BlobArchived", ThisBlob),
            (409, "BlobBeingRehydrated", ThisBlob),
            (409, "BlobUsesCustomerSpecifiedEncryption", ThisBlob),
            (409, "BlobImmutableDueToPolicy", ThisBlob),
            (409, "BlobImmutableDueToLegalHold", ThisBlob),
            (409, "ResourceTypeMismatch", ThisBlob),
            (409, "", ThisBlob),
            (403, "UnauthorizedBlobOverwrite", ThisBlob),
            (412, "LeaseIdMissing", ThisBlob),
            (403, "AuthorizationPermissionMismatch", Unclear),
            (403, "AuthorizationFailure", Unclear),
            (403, "", Unclear),
            (400, "InvalidMetadata", Unclear),
            (401, "", Everything),
            (403, "AuthenticationFailed", Everything),
            (403, "AuthorizationSourceIPMismatch", Everything),
            (409, "PublicAccessNotPermitted", Everything),
            (409, "ContainerBeingDeleted", Everything),
            (404, "BlobNotFound", Everything),
            (404, "ResourceNotFound", Everything),
            (429, "", Everything),
            (503, "ServerBusy", Everything),
        ] {
            assert_eq!(failure(status, code).concern(), concern, "{status} {code}");
        }
    }

    #[test]
    fn a_lost_race_is_no_refusal_of_the_blob_but_a_lease_is() {
        for (status, code, refuses) in [
            (409, "BlobAlreadyExists", false),
            (412, "ConditionNotMet", false),
            (400, "InvalidBlockList", false),
            (412, "LeaseIdMissing", true),
            (409, "BlobArchived", true),
            (409, "BlobImmutableDueToPolicy", true),
        ] {
            assert_eq!(failure(status, code).refuses_this_blob(), refuses, "{code}");
        }
    }

    #[test]
    fn what_is_no_refusal_concerns_everything_unless_it_is_what_the_blob_holds() {
        let of = |error| {
            let cause = Cause::Transport(error);
            let request = String::new();
            Failure { request, cause }.concern()
        };
        let broken = |text: &str| TransportError::Broken(text.to_owned());
        assert_eq!(of(broken("the connection broke")), Concern::Everything);
        assert_eq!(of(broken(CHANGED)), Concern::ThisBlob);
        assert_eq!(of(TransportError::TooLong(5)), Concern::ThisBlob);
        assert_eq!(of(TransportError::Denied), Concern::Everything);
    }
}
