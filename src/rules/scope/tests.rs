use super::*;
use crate::rules::filter::FilterBuilder;

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn scope(rules: &[&str]) -> Arc<Scope> {
    let mut builder = FilterBuilder::new(false);
    for rule in rules {
        assert!(builder.rule(rule.as_bytes()).unwrap().is_none(), "{rule}");
    }
    builder.build().unwrap()
}

fn enter(scope: &Arc<Scope>, dir: &str, files: &[(&str, &str)]) -> Arc<Scope> {
    let files: Vec<_> =
        files.iter().map(|(name, text)| (name.as_bytes().to_vec(), text.as_bytes().to_vec())).collect();
    scope.enter(&path(dir), &files).unwrap()
}

fn excluded(scope: &Scope, name: &str) -> bool {
    scope.verdict(&path(name), false, Side::Sender).is_excluded()
}

#[test]
fn a_scope_is_shared_among_threads() {
    fn check<T: Send + Sync>() {}
    check::<Scope>();
}

#[test]
fn no_rules_are_trivial_and_entering_costs_nothing() {
    let none = scope(&[]);
    assert!(none.is_trivial());
    assert!(Arc::ptr_eq(&none, &enter(&none, "", &[])));
    let plain = scope(&["- x"]);
    assert!(!plain.is_trivial());
    assert!(Arc::ptr_eq(&plain, &enter(&plain, "", &[])));
    let merging = scope(&[": .f"]);
    let root = enter(&merging, "", &[(".f", "- x")]);
    assert!(Arc::ptr_eq(&root, &enter(&root, "a", &[])), "a directory without a file changes nothing");
}

#[test]
fn inner_files_come_before_outer_ones_and_leave_with_their_directory() {
    let root = enter(&scope(&[": .f", "- z"]), "", &[(".f", "- a\n+ z")]);
    let inner = enter(&root, "d", &[(".f", "+ a\n- b\n- /c")]);
    let innermost = enter(&inner, "d/e", &[]);
    assert!(excluded(&root, "a") && !excluded(&root, "b") && !excluded(&root, "z"));
    assert!(!excluded(&inner, "d/a") && excluded(&inner, "d/b") && excluded(&inner, "d/c"));
    assert!(excluded(&innermost, "d/e/b") && !excluded(&innermost, "d/e/c"));
    assert!(!excluded(&enter(&root, "g", &[]), "g/b"));
}

#[test]
fn a_clear_in_a_file_forgets_only_what_that_file_inherits() {
    let root = enter(&scope(&["- x", ": .f", "- z"]), "", &[(".f", "- a")]);
    let inner = enter(&root, "d", &[(".f", "- b\n!")]);
    assert!(!excluded(&inner, "d/a") && !excluded(&inner, "d/b"));
    assert!(excluded(&inner, "d/x") && excluded(&inner, "d/z"));
}

#[test]
fn rules_that_are_not_inherited_end_with_their_directory() {
    let root = enter(&scope(&[":n .f"]), "", &[(".f", "- a")]);
    assert!(excluded(&root, "a"));
    let inner = enter(&root, "d", &[]);
    assert!(!excluded(&inner, "d/a"));
    assert!(Arc::ptr_eq(&inner, &enter(&inner, "d/e", &[])));
}

#[test]
fn a_file_may_name_further_files_which_the_next_try_reads() {
    let above = scope(&[": .f"]);
    let first = enter(&above, "", &[(".f", ": .g\n: .f")]);
    assert_eq!(first.merge_names().collect::<Vec<_>>(), [&b".f"[..], b".g"]);
    let root = enter(&above, "", &[(".f", ": .g"), (".g", "- a")]);
    assert!(excluded(&root, "a"));
    let inner = enter(&root, "d", &[(".g", "- b")]);
    assert!(excluded(&inner, "d/a") && excluded(&inner, "d/b"));
    let cleared = enter(&root, "d", &[(".f", "!\n: .g"), (".g", "- b")]);
    assert!(!excluded(&cleared, "d/a") && excluded(&cleared, "d/b"));
}

#[test]
fn a_planted_file_cannot_name_a_file_to_read() {
    let above = scope(&[": .f"]);
    for text in [&b". /etc/shadow"[..], b"merge ../x", b"- a\n. x"] {
        let error = above.enter(&path("d"), &[(b".f".to_vec(), text.to_vec())]).unwrap_err();
        let FilterError::Rule { at, source: RuleError::MergeInTree } = error else { panic!("{error:?}") };
        assert!(at.to_string().starts_with("d/.f:"), "{at}");
    }
}

#[test]
fn a_planted_file_cannot_ask_for_endless_names_or_rules() {
    let above = scope(&[": .f"]);
    let names: String = (0..=DIR_MERGES_MAX).map(|n| format!(": .{n}\n")).collect();
    let error = above.enter(&path("d"), &[(b".f".to_vec(), names.into_bytes())]).unwrap_err();
    assert!(matches!(error, FilterError::TooManyDirMerges { .. }));
    let rules = "- x\n".repeat(RULES_MAX / 2).into_bytes();
    let files = [(b".f".to_vec(), rules)];
    let full = above.enter(&path("d"), &files).unwrap().enter(&path("d/e"), &files).unwrap();
    assert!(matches!(full.enter(&path("d/e/f"), &files), Err(FilterError::TooManyRules { .. })));
}

#[test]
fn sides_decide_where_a_rule_acts() {
    let table: [(&str, bool, bool); 8] = [
        ("- a", true, true),
        ("H a", true, false),
        ("P a", false, true),
        ("-s a", true, false),
        ("-r a", false, true),
        ("-sr a", true, true),
        ("-x a", false, false),
        ("-! b", true, true),
    ];
    for (rule, sender, receiver) in table {
        let scope = scope(&[rule]);
        let on = |side| scope.verdict(&path("a"), false, side).is_excluded();
        assert_eq!((on(Side::Sender), on(Side::Receiver)), (sender, receiver), "{rule}");
        assert_eq!(scope.is_frozen(&path("a"), false), sender || receiver, "{rule}");
    }
    assert!(!scope(&["-! b"]).verdict(&RelPath::root(), true, Side::Sender).is_excluded(), "never the root");
}

#[test]
fn delete_excluded_makes_rules_without_a_side_act_on_the_sender_alone() {
    let mut builder = FilterBuilder::new(true);
    for rule in [&b"- a"[..], b"P b", b": .f"] {
        assert!(builder.rule(rule).unwrap().is_none());
    }
    let root = enter(&builder.build().unwrap(), "", &[(".f", "- c")]);
    for (name, sender, receiver) in [("a", true, false), ("b", false, true), ("c", true, false)] {
        assert_eq!(root.verdict(&path(name), false, Side::Sender).is_excluded(), sender, "{name}");
        assert_eq!(root.verdict(&path(name), false, Side::Receiver).is_excluded(), receiver, "{name}");
    }
}

#[test]
fn a_perishable_rule_does_not_hold_in_a_deleted_directory() {
    let scope = scope(&["-p *.o", "- keep.o"]);
    assert!(scope.verdict(&path("d/a.o"), false, Side::Receiver).is_excluded());
    assert!(!scope.verdict_in_deleted(&path("d/a.o"), false).is_excluded());
    assert!(scope.verdict_in_deleted(&path("d/keep.o"), false).is_excluded());
}

#[test]
fn an_absolute_rule_sees_where_each_tree_lies() {
    let mut builder =
        FilterBuilder::new(false).with_root(Side::Sender, b"/srv/a/").with_root(Side::Receiver, b"/srv/b");
    assert!(builder.rule(b"-/ /srv/a/x").unwrap().is_none());
    let scope = builder.build().unwrap();
    assert!(scope.verdict(&path("x"), false, Side::Sender).is_excluded());
    assert!(!scope.verdict(&path("x"), false, Side::Receiver).is_excluded());
}

#[test]
fn the_reason_is_the_option_or_the_line_but_not_its_text() {
    let root = enter(&scope(&["- a", ": .f"]), "d", &[(".f", "# c\n- b")]);
    for (name, expected) in [("d/a", "`- a`"), ("d/b", "d/.f:2")] {
        match root.verdict(&path(name), false, Side::Sender) {
            Verdict::Excluded { rule } => assert_eq!(rule.to_string(), expected),
            Verdict::Included => panic!("{name}"),
        }
    }
}

#[test]
fn a_list_that_lets_nothing_through_is_noticed() {
    let table: [(&[&str], bool); 11] = [
        (&["- *"], true),
        (&["- /*"], true),
        (&["- **"], true),
        (&["- *.o", "- *"], true),
        (&["P x", "+r y", "H *"], true),
        (&["+ a", "- *"], false),
        (&["- *.o"], false),
        (&["- */"], false),
        (&["-! *"], false),
        (&["P *"], false),
        (&[": .f", "- *"], false),
    ];
    for (rules, expected) in table {
        assert_eq!(scope(rules).excludes_everything(), expected, "{rules:?}");
    }
}
