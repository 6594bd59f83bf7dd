//! Filter rules over small trees, as data: what rsync makes of each is asked of rsync itself.

/// One set of filter rules, and the files it meets.
pub(crate) struct Case {
    /// What the case is about.
    pub(crate) case: &'static str,
    /// Arguments of rsync: `-f RULE`, `--exclude PATTERN`, `--include PATTERN`, `--exclude-from FILE`,
    /// `--include-from FILE`, `--delete-excluded`.
    /// `@/` stands for the absolute path of the sender's tree.
    pub(crate) args: &'static [&'static str],
    /// Files of rules, by path, present on both sides; the rest of the tree is [`TREE`].
    pub(crate) rule_files: &'static [(&'static str, &'static str)],
}

/// The files of the sender. The receiver has each of them under the same name, and a stale one beside it: the name
/// with an `s` before its last dot, or at its end.
pub(crate) const TREE: &[&str] = &[
    "a.c",
    "a.o",
    "core",
    "foo/a.c",
    "foo/a.o",
    "foo/bar/a.o",
    "foo/bar/deep/x",
    "foo/bar/deep/a.c",
    "foo/x",
    "bar/foo/x",
    "bar/foo/bar/y",
    "bar/x.tmp",
    "sub/foo",
    "sub/dir/x",
    "sub/dir/core",
    "b\\c",
    "[z]",
    "st*r",
    "q?",
    "-dash",
    "!bang",
    "#hash",
    "a b",
    "UP/Lo1",
    "UP/lo22",
    ".hid/x",
];

const fn plain(case: &'static str, args: &'static [&'static str]) -> Case {
    Case {
        case,
        args,
        rule_files: &[],
    }
}

const fn files(
    case: &'static str,
    args: &'static [&'static str],
    rule_files: &'static [(&'static str, &'static str)],
) -> Case {
    Case {
        case,
        args,
        rule_files,
    }
}

/// Every case; names are unique.
pub(crate) const CASES: &[Case] = &[
    plain("no rules", &[]),
    plain("a name", &["-f", "- foo"]),
    plain("a directory by name", &["-f", "- foo/"]),
    plain("an anchored name", &["-f", "- /foo"]),
    plain("an anchored directory", &["-f", "- /foo/"]),
    plain("a suffix", &["-f", "- *.o"]),
    plain("an anchored suffix", &["-f", "- /*.o"]),
    plain("two components", &["-f", "- foo/bar"]),
    plain("two anchored components", &["-f", "- /foo/bar"]),
    plain("two components, the last a directory", &["-f", "- foo/bar/"]),
    plain("a star as component", &["-f", "- foo/*/deep"]),
    plain("a star ends at a slash", &["-f", "- /foo*x"]),
    plain("two stars cross slashes", &["-f", "- /foo**x"]),
    plain("two stars as component", &["-f", "- /foo/**/x"]),
    plain("two stars before a name", &["-f", "- **/x"]),
    plain("two stars before letters", &["-f", "- **o"]),
    plain("two stars behind letters", &["-f", "- fo**"]),
    plain("two stars inside, not anchored", &["-f", "- foo/**/x"]),
    plain("two stars between letters", &["-f", "- f**x"]),
    plain("two stars as last component", &["-f", "- /foo/**"]),
    plain("three stars take the directory too", &["-f", "- foo/***"]),
    plain("three stars, anchored", &["-f", "- /foo/bar/***"]),
    plain("three stars and a slash", &["-f", "- foo/***/"]),
    plain(
        "three stars alone behind an include",
        &["-f", "+ /foo/***", "-f", "- ***"],
    ),
    plain("everything", &["-f", "- *"]),
    plain("all directories", &["-f", "- */"]),
    plain("all but directories", &["-f", "-! */"]),
    plain(
        "one suffix and directories",
        &["-f", "+ */", "-f", "+ *.c", "-f", "- *"],
    ),
    plain(
        "one file and its directories",
        &["-f", "+ foo/", "-f", "+ foo/a.c", "-f", "- *"],
    ),
    plain(
        "the first match wins",
        &["-f", "+ a.o", "-f", "- *.o", "-f", "+ *.o"],
    ),
    plain(
        "an include cannot reach below an exclude",
        &["-f", "- /foo/", "-f", "+ /foo/x"],
    ),
    plain("negated name", &["-f", "+ */", "-f", "-! *.c"]),
    plain("negated include", &["-f", "+! *.o", "-f", "- *.o"]),
    plain("one letter", &["-f", "- ?.c"]),
    plain("one letter is no slash", &["-f", "- foo?x"]),
    plain("a class", &["-f", "- [a-c].[co]"]),
    plain("a negated class", &["-f", "- [!a]*"]),
    plain("a class negated by a caret", &["-f", "- [^a-f]*"]),
    plain("a named class", &["-f", "- [[:upper:]]*"]),
    plain("a named class among letters", &["-f", "- *[[:digit:]z]*"]),
    plain("a closing bracket first", &["-f", "- []z[]*"]),
    plain("a class as component", &["-f", "- foo/[bx]*"]),
    plain("a dash last in a class", &["-f", "- [a-]*"]),
    plain("a class from high to low", &["-f", "- [z-a]*"]),
    plain("an escaped bracket", &["-f", "- \\[z]*"]),
    plain("an escaped star", &["-f", "- st\\*r"]),
    plain("an escaped star beside a star", &["-f", "- *\\*r"]),
    plain("a star for a star", &["-f", "- st*r"]),
    plain("a literal backslash", &["-f", "- b\\c"]),
    plain("a backslash beside a star", &["-f", "- b\\c*"]),
    plain("two backslashes beside a star", &["-f", "- b\\\\c*"]),
    plain("an escaped question mark", &["-f", "- q\\?"]),
    plain("an underscore for the space", &["-f", "-_foo"]),
    plain("a second space belongs to the pattern", &["-f", "-  foo"]),
    plain("a space within", &["-f", "- a b"]),
    plain("a trailing space belongs to the pattern", &["-f", "- foo "]),
    plain("a doubled slash", &["-f", "- foo//x"]),
    plain("two slashes at the end", &["-f", "- foo//"]),
    plain("a slash alone", &["-f", "- /"]),
    plain("a slash alone, negated", &["-f", "-! /"]),
    plain("a leading dot needs no dot", &["-f", "- *hid"]),
    plain("long names", &["-f", "include a.c", "-f", "exclude,! */"]),
    plain("hide", &["-f", "H foo"]),
    plain("hide, long, directory", &["-f", "hide foo/"]),
    plain("protect", &["-f", "P *.o"]),
    plain("protect what is stale", &["-f", "P *s"]),
    plain("show before an exclude", &["-f", "S a.o", "-f", "- *.o"]),
    plain("risk before an exclude", &["-f", "R as.o", "-f", "- *.o"]),
    plain(
        "risk before a protect",
        &["-f", "risk /foo/**", "-f", "protect *s"],
    ),
    plain("sender modifier", &["-f", "-s *.o"]),
    plain("receiver modifier", &["-f", "-r *.o"]),
    plain("both modifiers", &["-f", "-sr *.o"]),
    plain("perishable", &["-f", "-p *.o"]),
    plain("rules for names of attributes", &["-f", "-x foo"]),
    plain("clear", &["-f", "- foo", "-f", "!", "-f", "- bar"]),
    plain("clear, long", &["-f", "- foo", "-f", "clear", "-f", "- core"]),
    plain("absolute, anchored", &["-f", "-/ @/foo/bar"]),
    plain("absolute, not anchored", &["-f", "-/ foo/bar"]),
    plain("absolute but anchored elsewhere", &["-f", "-/ /foo"]),
    plain("absolute name", &["-f", "-/ core"]),
    plain("old exclude", &["--exclude", "*.o"]),
    plain(
        "old include before exclude",
        &["--include", "a.o", "--exclude", "*.o"],
    ),
    plain(
        "old exclude that includes",
        &["--exclude", "+ a.o", "--exclude", "*.o"],
    ),
    plain("old include that excludes", &["--include", "- *.o"]),
    plain("old clear", &["--exclude", "*.o", "--exclude", "!"]),
    plain("old bang is a name", &["--exclude", "!bang"]),
    plain("old dash is a name", &["--exclude", "-dash"]),
    plain("old empty pattern", &["--exclude", ""]),
    plain("delete excluded", &["--delete-excluded", "-f", "- *.o"]),
    plain(
        "delete excluded but protected",
        &["--delete-excluded", "-f", "- foo", "-f", "P as.o"],
    ),
    plain(
        "delete excluded on the receiver too",
        &["--delete-excluded", "-f", "-r *.o", "-f", "- *.c"],
    ),
    plain("cvs list", &["-f", "-C"]),
    plain("cvs list behind an include", &["-f", "+ core", "-f", "-C"]),
    files("a per-directory file", &["-f", ": .f"], &[("foo/.f", "- *.o\n")]),
    files(
        "a per-directory file at the top",
        &["-f", "dir-merge .f"],
        &[(".f", "- *.o\n")],
    ),
    files(
        "anchored in its directory",
        &["-f", ": .f"],
        &[("foo/.f", "- /bar\n- /a.o\n")],
    ),
    files("anchored at the top", &["-f", ": .f"], &[(".f", "- /foo/bar\n")]),
    files(
        "anchored with two stars",
        &["-f", ": .f"],
        &[("foo/.f", "- /**/x\n")],
    ),
    files(
        "two stars first in a file",
        &["-f", ": .f"],
        &[("foo/.f", "- **/x\n")],
    ),
    files(
        "a tail that begins above the file",
        &["-f", ": .f"],
        &[("foo/.f", "- foo/bar\n- foo/x\n")],
    ),
    files(
        "inner before outer",
        &["-f", ": .f"],
        &[(".f", "- *.o\n"), ("foo/.f", "+ a.o\n")],
    ),
    files(
        "inherited",
        &["-f", ": .f"],
        &[(".f", "- x\n"), ("foo/bar/.f", "- a.o\n")],
    ),
    files(
        "not inherited",
        &["-f", ":n .f"],
        &[(".f", "- a.o\n"), ("foo/.f", "- x\n")],
    ),
    files(
        "not inherited, long",
        &["-f", "dir-merge,n- .f"],
        &[("foo/.f", "a.*\n")],
    ),
    files(
        "excludes its own file",
        &["-f", ":e .f"],
        &[("foo/.f", "- x\n"), (".f", "- core\n")],
    ),
    files(
        "clear in a file",
        &["-f", "- core", "-f", ": .f"],
        &[(".f", "- *.o\n"), ("foo/.f", "!\n- x\n")],
    ),
    files(
        "rules before a dir-merge win",
        &["-f", "+ *.o", "-f", ": .f"],
        &[("foo/.f", "- *.o\n- x\n")],
    ),
    files(
        "rules behind a dir-merge lose",
        &["-f", ": .f", "-f", "- *.o"],
        &[("foo/.f", "+ *.o\n")],
    ),
    files(
        "only excludes",
        &["-f", ":- .f"],
        &[("foo/.f", "a.o\nbar/deep\n")],
    ),
    files(
        "only includes",
        &["-f", ":+ .f", "-f", "- *.o"],
        &[("foo/.f", "a.o\n")],
    ),
    files("words", &["-f", ":w .f"], &[("foo/.f", "-_x -_a.o\t+_y\n")]),
    files(
        "cvs ignore",
        &["-f", ":C"],
        &[("foo/.cvsignore", "a.o x\n"), ("sub/.cvsignore", "! dir\n")],
    ),
    files(
        "comments and blank lines",
        &["-f", ": .f"],
        &[(".f", "# - a.o\n; - a.c\n\n- core\r\n- #hash\n")],
    ),
    files(
        "no line end at the end",
        &["-f", ": .f"],
        &[(".f", "- core\n- *.o")],
    ),
    files("sender side only", &["-f", ":s .f"], &[(".f", "- *.o\n")]),
    files("receiver side only", &["-f", ":r .f"], &[(".f", "- *.o\n- *s\n")]),
    files(
        "sides in a file",
        &["-f", ": .f"],
        &[(".f", "H a.o\nP *s\n"), ("foo/.f", "R *s\n")],
    ),
    files(
        "attributes are not handed on",
        &["-f", ":x .f"],
        &[(".f", "- *.o\n")],
    ),
    files(
        "a file names another",
        &["-f", ": .f"],
        &[(".f", ": .g\n"), (".g", "- *.o\n"), ("foo/.g", "+ a.o\n")],
    ),
    files(
        "an inner file names another",
        &["-f", ": .f"],
        &[("foo/.f", ": .g\n- a.c\n"), ("foo/bar/.g", "- deep\n")],
    ),
    files(
        "a file names itself",
        &["-f", ": .f"],
        &[(".f", ": .f\n- core\n"), ("foo/.f", "- x\n")],
    ),
    files(
        "two per-directory files",
        &["-f", ": .f", "-f", ": .g"],
        &[(".f", "- *.o\n"), ("foo/.g", "+ *.o\n- x\n")],
    ),
    files(
        "delete excluded and a file",
        &["--delete-excluded", "-f", ": .f"],
        &[("foo/.f", "- *.o\nP *s\n")],
    ),
    files(
        "delete excluded and its own file",
        &["--delete-excluded", "-f", ":e .f"],
        &[("foo/.f", "- x\n")],
    ),
    files(
        "a leading slash of the name",
        &["-f", ": /.f"],
        &[("foo/.f", "- x\n")],
    ),
    files("cvs list in a file", &["-f", ": .f"], &[("foo/.f", "-C\n")]),
    files(
        "a merged file",
        &["-f", "+ a.o", "-f", ". @/f", "-f", "- core"],
        &[("f", "- *.o\n+ core\n")],
    ),
    files(
        "a merged file with sides",
        &["-f", ".s @/f"],
        &[("f", "- *.o\n- core\n")],
    ),
    files(
        "a merged file of excludes",
        &["-f", ".- @/f"],
        &[("f", "*.o\n# no rule\n+ core\n")],
    ),
    files(
        "a merged file that excludes itself",
        &["-f", "merge,e @/f"],
        &[("f", "- /bar/foo\n")],
    ),
    files(
        "a merged file clears",
        &["-f", "- core", "-f", ". @/f", "-f", "- x"],
        &[("f", "- *.c\n!\n- *.o\n")],
    ),
    files(
        "a merged file has a per-directory file",
        &["-f", ". @/f"],
        &[("f", ": .g\n- x\n"), ("foo/.g", "+ x\n")],
    ),
    files(
        "exclude from",
        &["--exclude-from", "@/f"],
        &[("f", "+ a.o\n*.o\n# c\n; c\n!bang\n\n/foo/x\n")],
    ),
    files(
        "include from",
        &["--include-from", "@/f", "--exclude", "*"],
        &[("f", "*/\n- core\n*.c\n")],
    ),
    files(
        "exclude from clears",
        &["--exclude", "core", "--exclude-from", "@/f"],
        &[("f", "*.o\n!\n*.c\n")],
    ),
];
