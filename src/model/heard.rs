//! What a peer says for people: error texts, comments, names of folders. Nothing of it is shown that did not pass here.

use crate::model::path::steers;

/// Characters that are shown of one text.
const CHARS_MAX: usize = 400;

/// Returns what a peer said as it is shown: a piece of one line that is not too long, and in which nothing steers a
/// terminal or passes for another line.
#[must_use]
pub fn heard(text: &str) -> String {
    let mut chars = text.chars();
    let plain = |c: char| if steers(c) { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = chars.by_ref().take(CHARS_MAX).map(plain).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_is_one_short_plain_line() {
        for (case, text, shown) in [
            ("plain", "the folder is halted: mount it", "the folder is halted: mount it"),
            ("another line", "no\r\nerror: all is lost", "no\u{fffd}\u{fffd}error: all is lost"),
            ("a terminal", "\x1b[2Jno\u{9b}1m", "\u{fffd}[2Jno\u{fffd}1m"),
            ("a direction", "a\u{202e}b", "a\u{fffd}b"),
        ] {
            assert_eq!(heard(text), shown, "{case}");
        }
        let long = heard(&"ä".repeat(4096));
        assert_eq!((long.chars().count(), long.chars().last()), (CHARS_MAX + 1, Some('…')));
        assert_eq!(heard(&long.replace('…', "")).chars().count(), CHARS_MAX);
    }
}
