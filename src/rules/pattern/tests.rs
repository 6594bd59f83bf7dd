use super::*;

fn matches(pattern: &str, path: &str) -> bool {
    match path.strip_suffix('/') {
        Some(dir) => Pattern::new(pattern.as_bytes()).unwrap().matches(dir.as_bytes(), true),
        None => Pattern::new(pattern.as_bytes()).unwrap().matches(path.as_bytes(), false),
    }
}

#[test]
fn places_are_chosen_as_rsync_chooses_them() {
    // Pattern, paths that match, paths that do not; a path that ends with `/` is a directory.
    let table: [(&str, &str, &str); 22] = [
        ("foo", "foo a/foo a/foo/", "xfoo foox foo/x"),
        ("foo/", "foo/ a/foo/", "foo a/foo"),
        ("/foo", "foo foo/", "a/foo"),
        ("/", "", "foo a/"),
        ("foo/bar", "foo/bar a/foo/bar", "bar xfoo/bar foo/x/bar"),
        ("/foo/bar", "foo/bar", "a/foo/bar"),
        ("*.o", "x.o a/x.o .o", "x.oo x.o/y"),
        ("/*.o", "x.o", "a/x.o"),
        ("a*/b", "a/b ax/b p/ax/b", "a/x/b"),
        ("foo/*/bar", "foo/x/bar q/foo/x/bar", "foo/bar foo/x/y/bar"),
        ("/foo/**/bar", "foo/x/bar foo/x/y/bar", "foo/bar q/foo/x/bar"),
        ("foo/**/bar", "foo/x/bar q/foo/x/y/bar", "foo/bar xfoo/x/bar"),
        ("**/bar", "bar a/bar a/b/bar", "xbar"),
        ("**bar", "bar a/bar xbar a/xbar", "barx"),
        ("foo**", "foo foox foo/x a/foo/x", "xfoo a/xfoo"),
        ("a**z", "az a/z a/b/z q/a/z", "xa/z"),
        ("dir/***", "dir/ dir/x dir/x/y a/dir/", "dir xdir/"),
        ("/dir/***", "dir/ dir/x", "dir a/dir/"),
        ("dir/**", "dir/x", "dir/ dir"),
        ("*", "a a/b .x a/", ""),
        ("*/", "a/ a/b/", "a a/b"),
        ("foo//bar", "", "foo/bar"),
    ];
    for (pattern, yes, no) in table {
        for path in yes.split_whitespace() {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for path in no.split_whitespace() {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
}

#[test]
fn classes() {
    let table: [(&str, &str, &str); 16] = [
        ("[abc]", "abc", "d-"),
        ("[a-c]", "abc", "d-"),
        ("[!a-c]", "dx", "abc"),
        ("[^a-c]", "d^", "abc"),
        ("[]a]", "]a", "b["),
        ("[!]a]", "b[", "]a"),
        ("[a-]", "a-", "b"),
        ("[-a]", "a-", "b"),
        ("[a-c-e]", "abc-e", "d"),
        ("[[:digit:]x]", "09x", "a:["),
        ("[[:alpha:]-z]", "az-", "0"),
        ("[[:a]", "[:a", "b"),
        ("[\\]]", "]", "\\["),
        ("[a\\-z]", "a-z", "m"),
        ("[z-a]", "z", "am-"),
        ("[[:space:]]", " \t\u{b}", "x"),
    ];
    for (pattern, yes, no) in table {
        for c in yes.chars() {
            assert!(matches(pattern, &c.to_string()), "{pattern} {c}");
        }
        for c in no.chars() {
            assert!(!matches(pattern, &c.to_string()), "{pattern} {c}");
        }
    }
    assert!(!matches("a[!x]b", "a/b"), "no class holds a slash");
    assert!(!matches("/a[^x]b", "a/b"), "no class holds a slash");
}

#[test]
fn a_backslash_escapes_only_beside_a_wildcard() {
    assert!(matches("foo\\bar", "foo\\bar"));
    assert!(!matches("foo\\bar*", "foo\\barx"));
    assert!(matches("foo\\bar*", "foobarx"));
    assert!(matches("foo\\\\bar*", "foo\\barx"));
    assert!(matches("\\*x", "*x"));
    assert!(!matches("\\*x", "yx"));
    assert!(!matches("*\\", "x\\"));
}

#[test]
fn names_are_bytes() {
    let pattern = Pattern::new(b"[\x80-\xff]?").unwrap();
    assert!(pattern.matches(b"\xc3\xa4", false));
    assert!(!pattern.matches(b"aa", false));
}

#[test]
fn a_bad_class_is_refused_with_its_position() {
    for (text, at) in
        [("[a-", 1), ("ab[c", 3), ("x[", 2), ("[]", 1), ("[a\\", 1), ("[[:alpha:", 1), ("a[b]c[!]", 6)]
    {
        assert_eq!(Pattern::new(text.as_bytes()), Err(PatternError::OpenClass { at }), "{text}");
    }
    assert_eq!(Pattern::new(b"x[[:foo:]]"), Err(PatternError::UnknownClass { at: 3 }));
}

/// The plainest matcher that can be right: one case per token, all choices tried.
fn naive(tokens: &[Token], text: &[u8]) -> bool {
    let Some((token, rest)) = tokens.split_first() else {
        return text.is_empty();
    };
    match token {
        Token::Literal(literal) => text.strip_prefix(&literal[..]).is_some_and(|text| naive(rest, text)),
        Token::One => matches!(text, [b, after @ ..] if *b != b'/' && naive(rest, after)),
        Token::Class(class) => {
            matches!(text, [b, after @ ..] if *b != b'/' && class.has(*b) && naive(rest, after))
        }
        Token::Star | Token::DoubleStar => {
            naive(rest, text)
                || matches!(text, [b, after @ ..] if (*b != b'/' || *token == Token::DoubleStar) && naive(tokens, after))
        }
    }
}

#[test]
fn agrees_with_a_naive_matcher_on_random_pairs() {
    let mut random = fastrand::Rng::with_seed(2);
    let mut agreed = [0_u32; 2];
    for _ in 0..20_000 {
        let pieces = ["a", "b", "/", "*", "**", "?", "[ab]", "[!a]", "\\*"];
        let text: String = (0..random.usize(1..7)).map(|_| pieces[random.usize(..pieces.len())]).collect();
        let path: Vec<u8> = (0..random.usize(1..9)).map(|_| b"aab/*"[random.usize(..5)]).collect();
        let pattern = Pattern::new(text.as_bytes()).unwrap();
        let starts = (0..path.len()).filter(|at| *at == 0 || path[at - 1] == b'/');
        for any_component in [false, true] {
            let expected = starts.clone().take(if any_component { usize::MAX } else { 1 });
            let expected = expected
                .map(|at| &path[at..])
                .chain((any_component && path.ends_with(b"/")).then_some(&b""[..]));
            let expected = expected.into_iter().any(|text| naive(&pattern.tokens, text));
            assert_eq!(reaches_end(&pattern.tokens, &path, any_component), expected, "{text} {path:?}");
            agreed[usize::from(expected)] += 1;
        }
    }
    println!("{} matches and {} mismatches agreed", agreed[1], agreed[0]);
    assert!(agreed.iter().all(|count| *count > 2_000), "the pairs test both answers: {agreed:?}");
}

#[test]
fn a_hostile_pattern_costs_no_more_than_its_length_times_the_path() {
    // Backtracking would need some 10^40 steps here; a test that hangs is a test that fails.
    let name = vec![b'a'; 4096];
    for piece in ["*a", "**a", "**/*a", "[a-z]*", "?**"] {
        let pattern = Pattern::new(format!("{}b", piece.repeat(30)).as_bytes()).unwrap();
        assert!(!pattern.matches(&name, false));
    }
    let pattern = Pattern::new(format!("{}b", "*a*a*a*a*a*b".repeat(30)).as_bytes()).unwrap();
    assert!(!pattern.matches(&name, false));
}
