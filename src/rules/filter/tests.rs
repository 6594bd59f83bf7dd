use std::error::Error as _;

use super::*;
use crate::model::path::RelPath;
use crate::rules::source::FILE_BYTES_MAX;

fn message(error: &FilterError) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {source}"))
}

fn excluded(builder: FilterBuilder, name: &str) -> bool {
    let scope = builder.build().unwrap();
    scope.verdict(&RelPath::new(name.as_bytes()).unwrap(), false, Side::Sender).is_excluded()
}

#[test]
fn rules_hold_in_the_order_of_the_arguments() {
    let mut builder = FilterBuilder::new(false);
    builder.include(b"a.o").unwrap();
    builder.exclude(b"*.o").unwrap();
    builder.include(b"b.o").unwrap();
    let scope = builder.build().unwrap();
    for (name, expected) in [("a.o", false), ("b.o", true), ("c", false)] {
        let path = RelPath::new(name.as_bytes()).unwrap();
        assert_eq!(scope.verdict(&path, false, Side::Sender).is_excluded(), expected, "{name}");
    }
}

#[test]
fn a_merged_file_stands_where_its_rule_stands() {
    for (contents, name, expected) in [
        (&b"+ b"[..], "b", false),
        (b"- c", "c", true),
        (b"- a", "a", false),
        (b"!", "x", false),
        (b"!\n- x", "x", true),
        (b"", "b", true),
    ] {
        let mut builder = FilterBuilder::new(false);
        builder.rule(b"+ a").unwrap();
        builder.rule(b"- x").unwrap();
        let request = builder.rule(b". some/file").unwrap().unwrap();
        assert_eq!(request.file(), b"some/file");
        builder.rule(b"- b").unwrap();
        assert!(builder.merge(request, contents).unwrap().is_empty());
        assert_eq!(excluded(builder, name), expected, "{contents:?} {name}");
    }
}

#[test]
fn a_file_merged_by_a_file_stands_in_its_middle() {
    let mut builder = FilterBuilder::new(false);
    let outer = builder.rule(b". outer").unwrap().unwrap();
    let mut inner = builder.merge(outer, b"- a\n. inner\n- b\n").unwrap();
    let inner = inner.pop().unwrap();
    assert!(builder.merge(inner, b"+ a\n+ b\n").unwrap().is_empty());
    let scope = builder.build().unwrap();
    let verdict =
        |name: &[u8]| scope.verdict(&RelPath::new(name).unwrap(), false, Side::Sender).is_excluded();
    assert!(verdict(b"a"));
    assert!(!verdict(b"b"));
}

#[test]
fn a_file_behind_which_the_list_is_cleared_is_still_checked() {
    let mut builder = FilterBuilder::new(false);
    let request = builder.rule(b". file").unwrap().unwrap();
    builder.rule(b"!").unwrap();
    builder.rule(b"- a").unwrap();
    assert!(builder.merge(request, b"- b\n- [").is_err());
    assert!(excluded(builder, "a"));
}

#[test]
fn a_file_that_is_never_read_is_an_error() {
    let mut builder = FilterBuilder::new(false);
    drop(builder.rule(b". file").unwrap());
    let error = builder.build().unwrap_err();
    assert_eq!(message(&error), "Cannot use the filter rule `. file`: the file it names was not read");
}

#[test]
fn files_that_merge_each_other_are_stopped() {
    let mut builder = FilterBuilder::new(false);
    let mut next = builder.rule(b". loop").unwrap().unwrap();
    let error = loop {
        match builder.merge(next, b". loop") {
            Ok(mut found) => next = found.pop().unwrap(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, FilterError::MergeTooDeep { .. }));
}

#[test]
fn messages_repeat_options_but_never_lines_of_files() {
    let mut builder = FilterBuilder::new(false);
    let error = builder.rule(b"- [a-").unwrap_err();
    assert_eq!(
        message(&error),
        "Cannot understand the filter rule `- [a-`: the `[` at byte 1 of the pattern is never closed"
    );
    let error = builder.exclude(b"x[a-").unwrap_err();
    assert_eq!(
        message(&error),
        "Cannot understand the filter rule `x[a-`: the `[` at byte 2 of the pattern is never closed"
    );
    let request = builder.rule(b". /etc/shadow").unwrap().unwrap();
    let error = builder.merge(request, b"# c\nroot:$6$secret\n").unwrap_err();
    let text = message(&error);
    assert!(
        text.starts_with("Cannot understand the filter rule /etc/shadow:2: it begins with no known rule"),
        "{text}"
    );
    assert!(!text.contains("secret"));
    let error = builder.exclude_from(&vec![b'\n'; FILE_BYTES_MAX + 1], b"big").unwrap_err();
    assert!(matches!(error, FilterError::FileTooLarge { .. }));
}

#[test]
fn from_files_take_old_patterns_and_zero_ends_them_when_told() {
    let mut builder = FilterBuilder::new(false);
    builder.exclude_from(b"# comment\n+ a.o\n*.o\n", b"list").unwrap();
    assert!(excluded(builder, "b.o"));
    let mut builder = FilterBuilder::new(false).zero_terminated();
    builder.exclude_from(b"a\nb\0c", b"list").unwrap();
    assert!(excluded(builder, "a\nb"));
}

#[test]
fn cvs_patterns_come_after_all_other_rules() {
    let mut builder = FilterBuilder::new(false);
    builder.rule(b"+ core").unwrap();
    builder.cvs_exclude().unwrap();
    let scope = builder.build().unwrap();
    let verdict =
        |name: &[u8]| scope.verdict(&RelPath::new(name).unwrap(), false, Side::Sender).is_excluded();
    assert!(verdict(b"x.o") && verdict(b"dir/x~"));
    assert!(!verdict(b"core") && !verdict(b"main.c"));
    assert_eq!(scope.merge_names().collect::<Vec<_>>(), [b".cvsignore"]);
}

#[test]
fn the_two_rules_of_f_look_for_our_file_and_hide_it() {
    let mut builder = FilterBuilder::new(false);
    for rule in F_RULES {
        assert!(builder.rule(rule).unwrap().is_none());
    }
    let scope = builder.build().unwrap();
    assert_eq!(scope.merge_names().collect::<Vec<_>>(), [b".csync-filter"]);
    assert!(scope.is_frozen(&RelPath::new(b"a/.csync-filter").unwrap(), false));
}
