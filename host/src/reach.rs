//! Which servers an instance may send requests to: what the host's policy is,
//! what the backend asks for, and who named it.
//!
//! `pattern` and `template` are what a policy and a description may write, `given`
//! is what the user wrote. What addresses are whose is decided in `places`.

mod given;
mod pattern;
mod template;

use crate::places::Place;
use crate::policy::Policy;
use crate::{Description, Error};
pub(crate) use given::Given;
use given::Named;
pub use pattern::AuthorityPattern;
use template::Template;

/// Which authorities an instance may send requests to.
#[derive(Debug, Clone, Default)]
pub enum Authorities {
    /// Those that the backend asks for, as long as the user named each of them
    /// in an attribute or a variable, or the description names it. One that
    /// only the description names may lead only to public addresses, unless
    /// the [`Policy`] says otherwise.
    #[default]
    AsAsked,
    /// Those alone, whatever the backend asks for.
    Only(Vec<AuthorityPattern>),
}

/// An entry of a description's `authorities`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offer {
    Pattern(AuthorityPattern),
    Template(Template),
}

impl Offer {
    /// Reads an entry.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        if !Template::is_one(text) {
            return AuthorityPattern::parse(text).map(Self::Pattern);
        }
        Template::parse(text).map(Self::Template).ok_or_else(|| {
            Error::Other(format!(
                "`{text}` is not an authority: expected `host` or `host:port`, where a label may be \
                 `{{NAME}}` for what the user gives as this attribute or variable, and ` if \
                 NAME=VALUE` may follow"
            ))
        })
    }

    /// Whether it means anything but addresses that are not public.
    pub(crate) fn may_be_public(&self) -> bool {
        let place = match self {
            Self::Pattern(pattern) => pattern.place(),
            Self::Template(template) => template.fixed().and_then(|fixed| fixed.place()),
        };
        place.is_none_or(|place| place == Place::Public)
    }

    /// What of an authority it means.
    fn share_of(&self, authority: &AuthorityPattern, given: &Given) -> Option<AuthorityPattern> {
        match self {
            Self::Pattern(pattern) => pattern.share_of(authority),
            Self::Template(template) => template.makes(authority, given).then(|| authority.clone()),
        }
    }
}

/// Who named an authority that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The user, or the host's own policy: it may be anywhere.
    User,
    /// The plugin's description alone: it must lead to public addresses.
    Plugin,
}

/// The authorities that one instance was granted: the list that every one of
/// its requests is checked against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach(Vec<(AuthorityPattern, NamedBy)>);

impl Reach {
    /// Decides what a backend that asks for `asked` gets, or names the one
    /// that it does not get.
    pub(crate) fn decide(
        authorities: &Authorities,
        plugin: &str,
        asked: &[String],
        description: &Description,
        given: &Given,
        policy: &Policy,
    ) -> Result<Self, Error> {
        let cannot =
            |error: Error| Error::Other(format!("the plugin {plugin} cannot reach it: {error}"));
        let offers = match authorities {
            Authorities::AsAsked => Offers::of(description, policy).map_err(cannot)?,
            Authorities::Only(_) => Offers::default(),
        };
        let granted = asked.iter().map(|text| {
            let authority = AuthorityPattern::parse(text).map_err(cannot)?;
            let granted = match authorities {
                Authorities::Only(allowed) => {
                    let mut shares = allowed.iter().filter_map(|p| p.share_of(&authority));
                    shares.next().map(|share| (share, NamedBy::User))
                }
                Authorities::AsAsked => offers.grant(&authority, given),
            };
            granted.ok_or_else(|| Error::Denied {
                plugin: plugin.to_owned(),
                authority: authority.to_string(),
            })
        });
        granted.collect::<Result<_, _>>().map(Self)
    }

    /// Who named the authority of this URL; none where no request to it may be
    /// sent.
    pub(crate) fn named_by(&self, url: &http::Uri) -> Option<NamedBy> {
        let (host, scheme) = (url.host()?, url.scheme_str()?);
        let own_port = if scheme == "https" { 443 } else { 80 };
        let port = url.port_u16().unwrap_or(own_port);
        let granted = self.0.iter();
        let found = granted.filter(|(a, _)| a.matches(host, port, own_port));
        let mut who = found.map(|(_, named_by)| *named_by);
        let first = who.next()?;
        Some(match who.any(|other| other == NamedBy::User) {
            true => NamedBy::User,
            false => first,
        })
    }
}

/// What a description offers to reach.
#[derive(Default)]
struct Offers {
    /// What may lead anywhere, as the host's policy has it too.
    trusted: Vec<Offer>,
    /// What may lead to public addresses.
    others: Vec<Offer>,
}

impl Offers {
    fn of(description: &Description, policy: &Policy) -> Result<Self, Error> {
        let mut offers = Self::default();
        for text in &description.authorities {
            let offer = Offer::parse(text)?;
            match policy.trusts_authority(text) {
                true => offers.trusted.push(offer),
                false => offers.others.push(offer),
            }
        }
        Ok(offers)
    }

    /// What of an authority is granted, and who named it.
    fn grant(
        &self,
        authority: &AuthorityPattern,
        given: &Given,
    ) -> Option<(AuthorityPattern, NamedBy)> {
        let share = |offers: &[Offer]| {
            let mut shares = offers.iter().filter_map(|o| o.share_of(authority, given));
            shares.next()
        };
        let named = given.names(authority);
        if named == Some(Named::AsServer) {
            return Some((authority.clone(), NamedBy::User));
        }
        if let Some(share) = share(&self.trusted) {
            return Some((share, NamedBy::User));
        }
        if authority
            .place()
            .is_some_and(|place| place != Place::Public)
        {
            return None;
        }
        let share = match named {
            Some(_) => Some(authority.clone()),
            None => share(&self.others),
        };
        share.map(|share| (share, NamedBy::Plugin))
    }
}

#[cfg(test)]
mod tests;
