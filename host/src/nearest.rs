//! What a misspelt attribute was meant to be. The host says it, for it alone
//! knows its own attributes as well as the backend's.

use crate::Description;

/// What the host takes out of a user's attributes before a backend sees them.
const OWN: [&str; 3] = ["type", "mode", "ignore-error"];

/// What to add to a backend's refusal of an attribute that it does not know.
/// None where it knows the attribute, or nothing is near.
pub(crate) fn hint(name: &str, description: &Description) -> Option<String> {
    let known = description.attributes.iter();
    let known = known.map(|attribute| attribute.name.as_str());
    if known.clone().any(|known| known == name) {
        return None;
    }
    if OWN.contains(&name) {
        return Some(format!(
            "`{name}` is an attribute for the host, which does not pass it on"
        ));
    }
    let nearest = nearest(name, known.chain(OWN))?;
    Some(format!("did you mean `{nearest}`?"))
}

/// The known name that needs the fewest edits, unless more than a third of the
/// letters would change. `-` and `_` count as one.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let name = plain(name);
    let distance = |known: &str| strsim::damerau_levenshtein(&name, &plain(known));
    known
        .map(|known| (distance(known), known))
        .filter(|(distance, known)| *distance <= name.len().max(known.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;

    fn description() -> Description {
        let names = ["account_url", "container", "secret_access_key", "name"];
        let attribute = |name: &str| Attribute {
            name: name.to_owned(),
            description: String::new(),
            default: None,
            required: false,
            secret: false,
        };
        Description {
            attributes: names.map(attribute).into(),
            ..Description::default()
        }
    }

    #[test]
    fn a_misspelt_attribute_is_told_its_nearest_neighbour_the_hosts_own_included() {
        for (given, nearest) in [
            ("acount_url", "account_url"),
            ("Container", "container"),
            ("secret-access-key", "secret_access_key"),
            ("names", "name"),
            ("nmae", "name"),
            ("ignore_error", "ignore-error"),
            ("ignroe-error", "ignore-error"),
            ("ignore-errors", "ignore-error"),
            ("mod", "mode"),
        ] {
            let hint = hint(given, &description());
            assert_eq!(
                hint.as_deref(),
                Some(&*format!("did you mean `{nearest}`?")),
                "{given}"
            );
        }
    }

    #[test]
    fn nothing_is_said_where_nothing_is_near() {
        for given in [
            "x",
            "bucket",
            "region",
            "endpoint_url",
            "key",
            "registry.insecure",
        ] {
            assert_eq!(hint(given, &description()), None, "{given}");
        }
    }

    #[test]
    fn an_attribute_of_the_hosts_is_named_as_one() {
        let hint = hint("mode", &description()).expect("a hint");
        assert!(hint.contains("for the host"), "{hint}");
        assert_eq!(super::hint("container", &description()), None);
    }
}
