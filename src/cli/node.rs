//! `init`, `id`, `config check`, `config show`: this node's key and config.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::cli::failure::{Exit, Failure, Number};
use crate::cli::render::Screen;
use crate::cli::settings::Settings;
use crate::config::check::{Here, Seen, check};
use crate::config::file::{self, FileError};
use crate::config::problem::Problem;
use crate::config::settings::Config;
use crate::config::values;
use crate::model::path::escape;
use crate::transport::identity::{Identity, IdentityError, KEY_FILE};

/// Makes this node's key and a commented config where there are none, and says what there is.
///
/// # Errors
/// A file cannot be made, or a key that is there is not safe.
pub fn init(settings: &Settings, name: Option<&str>, screen: &mut Screen) -> Result<Exit, Failure> {
    if let Some(name) = name {
        values::name(name).map_err(|why| {
            Failure::usage(Number::Value, format!("--name {}: {why}", escape(name.as_bytes())))
                .fix("csync init --name NAME")
        })?;
    }
    let state = settings.state_dir.display().to_string();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&settings.state_dir)
        .map_err(|error| io_failure("make the state directory", &state, &error))?;
    let (identity, made) = match Identity::load(&settings.state_dir, settings.uid) {
        Ok(identity) => (identity, false),
        Err(IdentityError::Missing(_)) => {
            (Identity::create(&settings.state_dir).map_err(|error| key_failure(&error))?, true)
        }
        Err(error) => return Err(key_failure(&error)),
    };
    let key = identity.public().map_err(|error| key_failure(&error))?;
    let done = if made { "made" } else { "kept" };
    tell(screen, &format!("{done} the key {state}/{KEY_FILE}: {key}"))?;
    let name = name.map(str::to_owned).unwrap_or_else(host_name);
    let config = settings.config.display();
    match create(&settings.config, &template(&name)) {
        Ok(()) => tell(screen, &format!("made the config {config}; this node is {name}"))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            tell(screen, &format!("kept the config {config}"))?;
        }
        Err(error) => return Err(io_failure("make the config", &config.to_string(), &error)),
    }
    Ok(Exit::Done)
}

/// Prints this node's key as one word, or as the two lines for the configs of others.
///
/// # Errors
/// There is no key, or it is not safe.
pub fn id(settings: &Settings, toml: bool, screen: &mut Screen) -> Result<Exit, Failure> {
    let identity = identity(settings)?;
    let key = identity.public().map_err(|error| key_failure(&error))?;
    if toml {
        let configured = read(settings).ok().and_then(|text| values_of(settings, &text, file::look).0.node);
        let name = configured.unwrap_or_else(host_name);
        tell(
            screen,
            &format!("[peer.{}]\nkey = \"{key}\"", if name.contains('.') { quoted(&name) } else { name }),
        )?;
    } else {
        tell(screen, &key.to_string())?;
    }
    Ok(Exit::Done)
}

/// Lists every problem of the config on standard error.
///
/// # Errors
/// The config cannot be read, or has errors.
pub fn config_check(settings: &Settings, screen: &mut Screen) -> Result<Exit, Failure> {
    let errors = config_errors(settings, screen)?;
    if errors > 0 {
        return Err(Failure::usage(
            Number::Config,
            format!("{} has {errors} error(s)", settings.config.display()),
        )
        .fix("mend the places listed above, then csync config check"));
    }
    tell(screen, &format!("{}: no errors", settings.config.display()))?;
    Ok(Exit::Done)
}

/// Prints the config, and where it and the state are.
///
/// # Errors
/// The config cannot be read, or has errors.
pub fn config_show(settings: &Settings, screen: &mut Screen) -> Result<Exit, Failure> {
    let text = read(settings)?;
    let (config, problems) = values_of(settings, &text, file::look);
    list(settings, &problems, screen);
    if problems.iter().any(|problem| !problem.warning) {
        return Err(Failure::usage(Number::Config, format!("{} has errors", settings.config.display()))
            .fix("csync config check lists them"));
    }
    let node = config.node.unwrap_or_else(|| "found by its key".to_owned());
    let places = format!(
        "# config: {}\n# state: {}\n# node: {}",
        settings.config.display(),
        settings.state_dir.display(),
        escape(node.as_bytes())
    );
    tell(screen, &places)?;
    screen.out(text.as_bytes()).map_err(|error| io_failure("write", "standard output", &error))?;
    Ok(Exit::Done)
}

/// Returns the config for a run that calls another node; roots of folders are not looked at.
///
/// # Errors
/// The config is missing, cannot be read, or has errors.
pub fn config(settings: &Settings) -> Result<Config, Failure> {
    let text = read(settings)?;
    let (config, problems) = values_of(settings, &text, |_root| Seen::Dir);
    match problems.iter().find(|problem| !problem.warning) {
        None => Ok(config),
        Some(first) => {
            let message = format!("{}:{first}", settings.config.display());
            Err(Failure::usage(Number::Config, message).fix("csync config check lists all that is wrong"))
        }
    }
}

/// Returns this node's key pair.
///
/// # Errors
/// There is none, or it is not safe.
pub fn identity(settings: &Settings) -> Result<Identity, Failure> {
    Identity::load(&settings.state_dir, settings.uid).map_err(|error| key_failure(&error))
}

/// Lists the problems of the config for a daemon, which looks at roots when it opens them; returns the config and how
/// many of the problems are errors.
///
/// # Errors
/// The config cannot be read.
pub fn config_for_daemon(settings: &Settings, screen: &mut Screen) -> Result<(Config, usize), Failure> {
    let (config, problems) = values_of(settings, &read(settings)?, |_root| Seen::Dir);
    list(settings, &problems, screen);
    Ok((config, problems.iter().filter(|problem| !problem.warning).count()))
}

/// Lists the problems of the config and returns how many are errors.
///
/// # Errors
/// The config cannot be read.
pub fn config_errors(settings: &Settings, screen: &mut Screen) -> Result<usize, Failure> {
    let text = read(settings)?;
    let (_, problems) = values_of(settings, &text, file::look);
    list(settings, &problems, screen);
    Ok(problems.iter().filter(|problem| !problem.warning).count())
}

fn list(settings: &Settings, problems: &[Problem], screen: &mut Screen) {
    for problem in problems {
        screen.message(&format!("{}:{problem}", settings.config.display()));
    }
}

fn values_of(settings: &Settings, text: &str, look: impl Fn(&Path) -> Seen) -> (Config, Vec<Problem>) {
    let key =
        Identity::load(&settings.state_dir, settings.uid).ok().and_then(|identity| identity.public().ok());
    check(text, Here { key, state_dir: &settings.state_dir }, look)
}

/// Returns the text of the config.
fn read(settings: &Settings) -> Result<String, Failure> {
    file::read(&settings.config, settings.uid).map_err(|error| config_failure(&error))
}

/// Returns the failure for a config that cannot be read.
#[must_use]
pub fn config_failure(error: &FileError) -> Failure {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let (exit, number, fix) = match error {
        FileError::Missing(_) => {
            let fix = "csync init makes one; --config FILE or CSYNC_CONFIG names another".to_owned();
            (Exit::Usage, Number::ConfigMissing, fix)
        }
        FileError::Io { .. } => (
            Exit::LocalIo,
            Number::Settings,
            "check its rights and the disk, or name another place".to_owned(),
        ),
        FileError::Writable { what, .. } => (
            Exit::Usage,
            Number::Settings,
            format!("chmod go-w {}, and look at what the config says", what.display()),
        ),
        FileError::Foreign { what, me, .. } => {
            (Exit::Usage, Number::Settings, format!("chown {me} {}, or name another config", what.display()))
        }
        FileError::NotText { .. } => (Exit::Usage, Number::Config, "save it as UTF-8".to_owned()),
    };
    Failure::new(exit, number, format!("{error}{cause}")).fix(fix)
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn template(name: &str) -> String {
    format!(
        "# The config of csync: one file, the same on every node. `csync config check` lists what is wrong with it.\n\
         # A node finds itself by its key, or by this line:\n\
         node = {}\n\
         \n\
         # [peer.web2]\n\
         # key  = \"csk1:…\"                  # what `csync id` prints on web2\n\
         # addr = [\"web2.example.org:8730\"]\n\
         \n\
         # [folder.uploads]\n\
         # members = [\"web1\", \"web2\"]\n\
         # path    = \"/srv/uploads\"\n",
        quoted(name)
    )
}

/// A TOML text in quotes.
fn quoted(name: &str) -> String {
    toml::Value::String(name.to_owned()).to_string()
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().split('.').next().unwrap_or_default();
    if values::name(name).is_ok() { name.to_owned() } else { "node".to_owned() }
}

fn tell(screen: &mut Screen, line: &str) -> Result<(), Failure> {
    screen.out(format!("{line}\n").as_bytes()).map_err(|error| io_failure("write", "standard output", &error))
}

/// Returns the failure for an operation of the system on a file of this node.
fn io_failure(action: &str, object: &str, error: &io::Error) -> Failure {
    Failure::new(
        Exit::LocalIo,
        Number::Settings,
        format!("cannot {action} {}: {error}", escape(object.as_bytes())),
    )
    .fix("check its rights and the disk, or name another place")
}

/// Returns the failure for a key that cannot be used.
#[must_use]
pub fn key_failure(error: &IdentityError) -> Failure {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let (exit, fix) = match error {
        IdentityError::Missing(_) => (Exit::Usage, "csync init makes one".to_owned()),
        IdentityError::Io { .. } | IdentityError::Random => {
            (Exit::LocalIo, "check the rights and the disk".to_owned())
        }
        IdentityError::Readable { path, .. } => {
            (Exit::Usage, format!("chmod 0600 {}; if others did read it, make a new one", path.display()))
        }
        IdentityError::Foreign { path, owner, .. } => {
            (Exit::Usage, format!("run csync as uid {owner}, or chown {}", path.display()))
        }
        IdentityError::NoKey { path } => {
            (Exit::Usage, format!("restore {} from a backup, or move it away and csync init", path.display()))
        }
    };
    Failure::new(exit, Number::Key, format!("{error}{cause}")).fix(fix)
}
