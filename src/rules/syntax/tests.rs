use super::*;

fn rule(text: &str) -> Rule {
    match parse(text.as_bytes(), Syntax::any()) {
        Ok(Parsed::Rule(rule)) => rule,
        other => panic!("{text}: {other:?}"),
    }
}

fn merge(text: &str) -> Merge {
    match parse(text.as_bytes(), Syntax::any()) {
        Ok(Parsed::Merge(merge) | Parsed::DirMerge(merge)) => merge,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn every_spelling_of_a_rule_is_the_same_rule() {
    for (a, b) in [
        ("- x", "exclude x"),
        ("- x", "-_x"),
        ("- x", "-, x"),
        ("+ x", "include x"),
        ("H x", "hide x"),
        ("H x", "-s x"),
        ("S x", "+,s x"),
        ("P x", "exclude,r x"),
        ("R x", "risk_x"),
        ("R x", "+r x"),
        ("-! x", "exclude,!_x"),
        ("-sr x", "-rs x"),
    ] {
        assert_eq!(rule(a), rule(b), "{a} and {b}");
    }
    assert_eq!(merge(". x"), merge("merge x"));
    assert_eq!(merge(": x"), merge("dir-merge,_x"));
    assert_eq!(merge(": x"), merge(": /x"));
    assert_eq!(merge(":C"), merge("dir-merge,nw- .cvsignore").with_clear());
    assert_ne!(rule("- x"), rule("-  x"), "a second space is part of the pattern");
}

impl Merge {
    fn with_clear(mut self) -> Self {
        self.syntax.clearable = true;
        self
    }
}

#[test]
fn what_is_no_rule_is_refused_with_its_place() {
    use RuleError::{Argument, DirMergeName, Modifier, Unfinished, UnknownRule};
    for (text, why) in [
        ("", UnknownRule),
        ("foo", UnknownRule),
        (" - foo", UnknownRule),
        ("excludes x", UnknownRule),
        ("-", Unfinished),
        ("- ", Unfinished),
        ("merge", Unfinished),
        (":", Unfinished),
        ("-foo", Modifier { at: 2 }),
        ("-s,r x", Modifier { at: 3 }),
        ("-- x", Modifier { at: 2 }),
        ("-e x", Modifier { at: 2 }),
        ("hide,s x", Modifier { at: 6 }),
        ("Pr x", Modifier { at: 2 }),
        ("+C", Modifier { at: 2 }),
        (":! x", Modifier { at: 2 }),
        (":+- x", Modifier { at: 3 }),
        (":-C", Modifier { at: 3 }),
        ("!x", Argument),
        ("! ", Argument),
        ("clear x", Argument),
        ("-C x", Argument),
        (": a/b", DirMergeName),
        (": ../../x", DirMergeName),
        ("- a\0b", RuleError::Nul),
        ("- [a-", RuleError::Pattern(PatternError::OpenClass { at: 1 })),
    ] {
        assert_eq!(parse(text.as_bytes(), Syntax::any()), Err(why), "{text:?}");
    }
    assert_eq!(parse(&[b'-'; RULE_BYTES_MAX + 1], Syntax::any()), Err(RuleError::TooLong));
}

#[test]
fn old_options_understand_three_prefixes() {
    let old = |text: &str| parse(text.as_bytes(), Syntax::old(false)).unwrap();
    assert_eq!(old("x"), Parsed::Rule(rule("- x")));
    assert_eq!(old("+ x"), Parsed::Rule(rule("+ x")));
    assert_eq!(old("H x"), Parsed::Rule(rule("- H x")));
    assert_eq!(old("!"), Parsed::Clear);
    assert_eq!(old("!x"), Parsed::Rule(rule("- !x")));
    assert_eq!(parse(b"- x", Syntax::old(true)), Ok(Parsed::Rule(rule("- x"))));
}

#[test]
fn a_merge_hands_its_modifiers_on_but_sides_only_once() {
    let inside = |outer: &str, text: &str| parse(text.as_bytes(), merge(outer).syntax);
    assert_eq!(inside(":s f", "- x"), Ok(Parsed::Rule(rule("-s x"))));
    assert_eq!(inside(":/p f", "+ x"), Ok(Parsed::Rule(rule("+/p x"))));
    assert_eq!(inside(":x f", "- x"), Ok(Parsed::Rule(rule("- x"))), "xattr is not handed on");
    assert_eq!(inside(":- f", "+ x"), Ok(Parsed::Rule(rule("- + x"))));
    assert_eq!(inside(":+ f", "x"), Ok(Parsed::Rule(rule("+ x"))));
    assert_eq!(inside(":- f", "!"), Ok(Parsed::Rule(rule("- !"))));
    assert_eq!(inside(":C", "!"), Ok(Parsed::Clear));
    for text in ["-r x", "H x", "P x", ":s g"] {
        assert_eq!(inside(":s f", text), Err(RuleError::SideTwice), "{text}");
    }
}

#[test]
fn lines_words_and_comments() {
    fn split(syntax: Syntax, text: &str, zero: bool) -> Vec<(usize, String)> {
        let rules = syntax.split(text.as_bytes(), zero);
        rules.map(|(line, rule)| (line, String::from_utf8(rule.to_vec()).unwrap())).collect()
    }
    let of = |line: usize, rule: &str| (line, rule.to_owned());
    let lines = Syntax::any();
    let words = merge(".w f").syntax;
    assert_eq!(
        split(lines, "- a\n# c\n; c\n\n- b\r\n- c d ", false),
        [of(1, "- a"), of(5, "- b"), of(6, "- c d ")]
    );
    assert_eq!(split(lines, "- a\n b\0#c\0- d\0", true), [of(1, "- a\n b"), of(3, "- d")]);
    assert_eq!(split(words, "-_a #b\n\t-_c", false), [of(1, "-_a"), of(1, "#b"), of(2, "-_c")]);
    assert_eq!(split(lines, "", false), []);
}
