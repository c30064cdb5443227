//! The few shapes of XML that the service writes. Text is escaped here and nowhere else.

use quick_xml::escape::escape;

/// What every document begins with: the service puts a byte order mark first, and so do we, so
/// that a client that stumbles over it does so here.
pub(crate) const PROLOGUE: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>";

/// Adds `<name>text</name>`, or `<name />` for an empty text.
pub(crate) fn push_element(xml: &mut String, name: &str, text: &str) {
    // Piece by piece, for a listing has a hundred thousand of them.
    if text.is_empty() {
        push_all(xml, &["<", name, " />"]);
    } else {
        push_all(xml, &["<", name, ">", &escape(text), "</", name, ">"]);
    }
}

/// Adds `<name>…</name>` around what `inside` adds.
pub(crate) fn push_group(xml: &mut String, name: &str, inside: impl FnOnce(&mut String)) {
    push_all(xml, &["<", name, ">"]);
    inside(xml);
    push_all(xml, &["</", name, ">"]);
}

fn push_all(xml: &mut String, pieces: &[&str]) {
    for piece in pieces {
        xml.push_str(piece);
    }
}

/// Whether XML 1.0 can carry this text at all.
pub(crate) fn can_carry(text: &str) -> bool {
    !text.chars().any(|c| {
        (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut xml = String::new();
        push_group(&mut xml, "A", |xml| {
            push_element(xml, "B", "<&>");
            push_element(xml, "C", "");
        });
        assert_eq!(xml, "<A><B>&lt;&amp;&gt;</B><C /></A>");
    }
}
