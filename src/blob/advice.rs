//! What to do about the service's refusal: Azure says what it refused, and rarely
//! why. The usual causes depend on what the request was sent with.
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>

use super::failure::{Refusal, is_off};
use crate::transport::Request;

/// What a request was sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SentWith {
    #[default]
    Nothing,
    Key,
    Sas,
    Token,
}

impl SentWith {
    /// What a request that is complete carries.
    pub(super) fn of(request: &Request) -> Self {
        match request.headers.get("authorization") {
            Some(token) if token.starts_with("Bearer ") => Self::Token,
            Some(_) => Self::Key,
            None if request.given_query.is_some() => Self::Sas,
            None => Self::Nothing,
        }
    }
}

/// What to do, where that is known; else empty.
pub(super) fn advice(refusal: &Refusal) -> &'static str {
    use SentWith::{Key, Nothing, Sas, Token};
    let with = refusal.sent_with;
    if refusal.status == 403 && refusal.clock_ahead.is_some_and(is_off) {
        return "This machine's clock is more than 15 minutes off: set it right";
    }
    match (refusal.meaning(), with) {
        ("AuthenticationFailed" | "InvalidAuthenticationInfo", Key) => {
            "Check that the key is one of this account, and has not been replaced"
        }
        ("AuthenticationFailed" | "InvalidAuthenticationInfo", Sas) => {
            "Check that the SAS token is for this account and container, that its time has come \
             and it has not expired, and that the key or the access policy behind it has not been \
             replaced"
        }
        ("AuthenticationFailed" | "InvalidAuthenticationInfo", Token) => {
            "Check that the identity is of the tenant that the account belongs to"
        }
        ("KeyBasedAuthenticationNotPermitted", _) => {
            "The account accepts neither keys nor the SAS tokens that they sign: leave them out to \
             sign in with an identity, or use a SAS token that a user delegated"
        }
        ("AuthorizationFailure", Sas) => {
            "Check the account's firewall, which may not let this network in, and that the SAS \
             token has the permissions (r to pull, r and w to push) and has not expired"
        }
        ("AuthorizationFailure", Key) => {
            "Check the account's firewall: it may not let this network in. The emulator says the \
             same of a wrong key"
        }
        ("AuthorizationFailure", _) => {
            "Check the account's firewall: it may not let this network in"
        }
        ("AuthorizationPermissionMismatch", Sas) => {
            "The SAS token lacks a permission: it needs r to pull, r and w to push, l to list and \
             d to delete. Where a user delegated it, that user's role may lack it"
        }
        ("UnauthorizedBlobOverwrite", Sas) => {
            "The SAS token allows blobs to be made (c) and not to be replaced, as a push does with \
             the name of a cache that exists: it needs w"
        }
        ("UnauthorizedBlobOverwrite", _) => {
            "The identity may make blobs and not replace them, as a push does with the name of a \
             cache that exists"
        }
        ("BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold", _) => {
            "A retention policy or a legal hold keeps blobs of this container from being replaced \
             or deleted, and a push replaces the name of a cache: use a container without one"
        }
        ("LeaseIdMissing" | "LeaseIdMismatchWithBlobOperation", _) => {
            "Somebody holds a lease on it: it has to be released or broken first"
        }
        ("InsufficientAccountPermissions", _) => {
            "What it was sent with lacks the permission for this: to read is r, to write w"
        }
        ("AuthorizationPermissionMismatch", _) => {
            "The identity lacks a role on the account or the container: Storage Blob Data \
             Contributor, or Storage Blob Data Reader to pull; Owner and Contributor do not \
             include it. A new role takes some minutes to count"
        }
        ("AuthorizationResourceTypeMismatch", _) => {
            "The SAS token is for other kinds of resources: an account's must allow objects \
             (srt=o), and containers too to list or to make one (srt=co)"
        }
        ("AuthorizationServiceMismatch", _) => {
            "The SAS token is for another service: an account's must allow blobs (ss=b)"
        }
        ("AuthorizationProtocolMismatch", _) => {
            "The SAS token is for https alone: begin account_url with https://"
        }
        ("AuthorizationSourceIPMismatch", _) => "The SAS token is for other addresses than this",
        ("PublicAccessNotPermitted" | "NoAuthenticationInformation", _)
        | ("ResourceNotFound" | "AuthenticationFailed", Nothing) => {
            "Without a credential this cannot be done: the container, or the account, is not \
             public, or is not there. To use a credential, leave out anonymous=true"
        }
        ("ResourceNotFound", _) => "Check the account's name",
        ("ContainerNotFound", _) => {
            "There is no such container: check its name. A push creates it, if the credential allows that"
        }
        ("ContainerBeingDeleted", _) => {
            "The container is being deleted, which takes Azure a while: try again later"
        }
        ("AccountIsDisabled", _) => "The storage account is disabled",
        _ if refusal.status == 503 || refusal.status == 429 => {
            "The store is busy: a lower parallelism may help"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advised(status: u16, code: &str, sent_with: SentWith) -> &'static str {
        advice(&Refusal {
            status,
            code: code.to_owned(),
            sent_with,
            ..Refusal::default()
        })
    }

    #[test]
    fn a_missing_permission_is_a_role_of_an_identity_and_a_letter_of_a_sas_token() {
        let advised = |with| advised(403, "AuthorizationPermissionMismatch", with);
        assert!(advised(SentWith::Token).contains("Storage Blob Data Contributor"));
        assert!(advised(SentWith::Sas).contains("r and w to push"));
        assert!(!advised(SentWith::Sas).contains("Owner"));
    }

    #[test]
    fn a_refused_credential_is_advised_on_by_its_kind() {
        for (with, part) in [
            (SentWith::Key, "the key is one of this account"),
            (SentWith::Sas, "it has not expired"),
            (SentWith::Token, "tenant"),
            (SentWith::Nothing, "anonymous=true"),
        ] {
            let advice = advised(403, "AuthenticationFailed", with);
            assert!(advice.contains(part), "{advice}");
        }
    }

    #[test]
    fn the_emulators_refusal_of_a_signature_is_told_from_a_firewalls() {
        let refusal = |message: &str| Refusal {
            status: 403,
            code: "AuthorizationFailure".to_owned(),
            message: message.to_owned(),
            sent_with: SentWith::Key,
            ..Refusal::default()
        };
        let emulators = refusal("Server failed to authenticate the request.");
        assert!(advice(&emulators).contains("key"));
        assert!(advice(&refusal("This request is not authorized.")).contains("firewall"));
    }

    #[test]
    fn a_clock_that_is_off_is_the_cause_whatever_the_code() {
        let refusal = Refusal {
            status: 403,
            code: "AuthenticationFailed".to_owned(),
            clock_ahead: Some(-3600),
            ..Refusal::default()
        };
        assert!(advice(&refusal).contains("clock"));
    }
}
