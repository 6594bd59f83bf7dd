//! The grammar of the command line: every verb with its operands and flags.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, Command, value_parser};
use clap_complete::Shell;

use crate::cli::draft::timeout;
use crate::cli::flags;
use crate::cli::refused;

/// The verb without a word: `csync nas::` is understood as this, followed by `nas::`.
pub const FOLDERS: &str = "HOST::";

/// Returns the grammar of the command line; `completions` is made of it.
#[must_use]
pub fn command() -> Command {
    let root = Command::new("csync")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keeps directories the same, in both directions, and loses nothing")
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .arg(help())
        .arg(path_flag("config", "FILE", "The config to use"))
        .arg(path_flag("state-dir", "DIR", "Where this node keeps its key and databases"));
    let root = transfer_verbs(root);
    let root = version_verbs(root);
    refused::declare_verbs(node_verbs(root))
}

fn transfer_verbs(root: Command) -> Command {
    let taking = |name: &'static str, about: &'static str, what: &'static str| {
        verb(name, about).args_override_self(true).arg(operands("PATH", what))
    };
    let transfer = |name, about| taking(name, about, "SRC… DEST: paths, or HOST::FOLDER[/SUB] on one side");
    let pair = |name, about| taking(name, about, "A B: two directories, or one and HOST::FOLDER[/SUB]");
    let flagged = |command| refused::declare_flags(flags::declare(command));
    root.subcommand(flagged(transfer("push", "Make DEST what SRC is; deletes only with --delete")))
        .subcommand(flagged(transfer("pull", "Make DEST what SRC is; deletes only with --delete")))
        .subcommand(flagged(pair("sync", "Carry changes both ways between two roots A and B")))
        .subcommand(
            flagged(pair("diff", "List what differs between A and B; exit 0 or 40"))
                .arg(flag("deep", "Compare contents, as -c")),
        )
}

fn version_verbs(root: Command) -> Command {
    let resolve = listing(verb("resolve", "Settle conflicts; what loses is kept as a version"))
        .arg(operands("ID|PATH", "Ids of conflicts, or paths"))
        .arg(flag("local", "Our side stays; in a pair that is 1"))
        .arg(
            Arg::new("take")
                .long("take")
                .value_name("PEER")
                .help("This side stays: a node; in a pair 1 or 2"),
        )
        .arg(flag("newest", "The later content stays"))
        .arg(flag("both", "Both stay, one under a name of its own"))
        .arg(flag("diff", "Show how the sides differ, settle nothing"))
        .arg(flag("merge", "").hide(true));
    let restore = listing(verb("restore", "Bring back an old version"))
        .arg(operands("PATH[@ID]", "What to bring back; without an id the latest version"))
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Put it into DIR"),
        )
        .arg(Arg::new("at").long("at").value_name("TIME").hide(true));
    root.subcommand(
        listing(verb("verify", "Compare a root with what csync recorded of it; exit 0 or 40"))
            .arg(operands("ROOT", "A root that csync keeps"))
            .arg(flag("deep", "Read every content again"))
            .arg(Arg::new("peer").long("peer").value_name("PEER").hide(true)),
    )
    .subcommand(
        listing(verb("conflicts", "List open conflicts"))
            .arg(operands("FOLDER|PATH", "Only of this folder, or at this path")),
    )
    .subcommand(resolve)
    .subcommand(
        listing(verb("versions", "List old versions"))
            .arg(operands("PATH", "A path inside a root"))
            .arg(flag("deleted", "").hide(true)),
    )
    .subcommand(restore)
    .subcommand(
        verb("cat", "Write an old version to standard output").arg(operands("PATH@ID", "Which version")),
    )
}

fn node_verbs(root: Command) -> Command {
    let name =
        Arg::new("name").long("name").value_name("NAME").value_parser(NonEmptyStringValueParser::new());
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell));
    let status = listing(verb("status", "Show how the folders of this node's csyncd stand"))
        .arg(operands("FOLDER", "Only this one"))
        .arg(flag("check", "One line for a monitor; exit 0, 1, 2 or 3"))
        .arg(flag("watch", "Look again every other second"));
    let held = listing(verb("held", "List what the delete guard holds; let it through, or undo it"))
        .override_usage("csync held [FOLDER] [--json]\n       csync held approve|reject ID…")
        .arg(operands("FOLDER", "Only of this folder"));
    let wait = listing(verb("wait", "Wait until members hold all that this node has; exit 0 or 30"))
        .arg(operands("FOLDER", "A folder of this node's csyncd"))
        .arg(
            Arg::new("for").long("for").value_name("PEER").action(ArgAction::Append).help("Only this member"),
        )
        .arg(flag("all", "All members that take from here, as without --for"))
        .arg(Arg::new("timeout").long("timeout").value_name("DUR").help("Wait no longer, such as 30s"));
    root.subcommand(status)
        .subcommand(held)
        .subcommand(wait)
        .subcommand(
            listing(verb(FOLDERS, "List the folders of a csyncd that this node may see"))
                .override_usage("csync HOST:: [--json] [--timeout SECONDS|DUR]")
                .arg(
                    Arg::new("timeout")
                        .long("timeout")
                        .value_name("SECONDS|DUR")
                        .help("Give up when the peer gets nowhere for so long (60); 0: only when it is gone")
                        .value_parser(|text: &str| timeout(OsStr::new(text))),
                )
                .arg(operands("HOST::", "A peer of the config, or an address of one").hide(true)),
        )
        .subcommand(
            verb("init", "Make this node's key and config where there are none")
                .arg(name.help("This node's name")),
        )
        .subcommand(
            verb("id", "Print this node's key").arg(flag("toml", "As lines for the config of other nodes")),
        )
        .subcommand(
            verb("config", "Look at the config")
                .subcommand_required(true)
                .subcommand(verb("check", "List every problem of the config"))
                .subcommand(verb("show", "Print the config, and where it and the state are")),
        )
        .subcommand(verb("completions", "Print a completion script").arg(shell))
}

fn verb(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).disable_help_flag(true).arg(help())
}

fn help() -> Arg {
    Arg::new("help").long("help").action(ArgAction::Help).help("Print help")
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn path_flag(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf)).global(true).help(help)
}

/// Operands are counted by [`parse`], whose messages can say what is missing.
fn operands(name: &'static str, help: &'static str) -> Arg {
    Arg::new("operands")
        .value_name(name)
        .help(help)
        .num_args(0..)
        .action(ArgAction::Append)
        .value_parser(value_parser!(OsString))
}

fn listing(command: Command) -> Command {
    command
        .arg(flag("json", "One JSON object on standard output"))
        .arg(flag("raw-names", "File names as they are, unescaped"))
}
