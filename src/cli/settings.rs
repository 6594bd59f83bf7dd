//! Where this node's config and state are: flag, else environment, else default. The only reader of the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::failure::{Failure, Number};
use crate::disk::user::effective_uid;

/// The places of this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The config file; it need not exist.
    pub config: PathBuf,
    /// Whether flag or environment named the config, so that it must exist.
    pub config_named: bool,
    /// The state directory; it need not exist.
    pub state_dir: PathBuf,
    /// The control socket of this node's daemon.
    pub control: PathBuf,
    /// The socket of the service manager.
    pub manager: Option<OsString>,
    /// What the service manager says of journald's stream.
    pub journal_stream: Option<String>,
    /// The effective user id.
    pub uid: u32,
}

/// Looks a variable up; empty counts as unset.
type Environment<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

impl Settings {
    /// Returns the places by the flags `--config` and `--state-dir` and the environment of this process.
    ///
    /// # Errors
    /// Neither flag nor environment says where a user's files are.
    pub fn find(config: Option<PathBuf>, state_dir: Option<PathBuf>) -> Result<Self, Failure> {
        Self::of(config, state_dir, effective_uid(), &|name| {
            #[expect(clippy::disallowed_methods, reason = "this is the one door to the environment")]
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        })
    }

    fn of(
        config: Option<PathBuf>,
        state_dir: Option<PathBuf>,
        uid: u32,
        environment: Environment<'_>,
    ) -> Result<Self, Failure> {
        let named = config.or_else(|| environment("CSYNC_CONFIG"));
        let config_named = named.is_some();
        let config = match named {
            Some(config) => config,
            None if uid == 0 => PathBuf::from("/etc/csync/csync.toml"),
            None => user_dir(environment, "XDG_CONFIG_HOME", ".config", "--config")?.join("csync/csync.toml"),
        };
        let given = state_dir.or_else(|| environment("CSYNC_STATE_DIR"));
        let runtime_dir = match &given {
            Some(_) => None,
            None if uid == 0 => Some(PathBuf::from("/run")),
            None => environment("XDG_RUNTIME_DIR").filter(|path| path.is_absolute()),
        };
        let state_dir = match given {
            Some(state_dir) => state_dir,
            None if uid == 0 => PathBuf::from("/var/lib/csync"),
            None => user_dir(environment, "XDG_STATE_HOME", ".local/state", "--state-dir")?.join("csync"),
        };
        let control_dir = runtime_dir.map_or_else(|| state_dir.clone(), |runtime| runtime.join("csync"));
        Ok(Self {
            config,
            config_named,
            control: control_dir.join("control.sock"),
            manager: environment("NOTIFY_SOCKET").map(PathBuf::into_os_string),
            journal_stream: environment("JOURNAL_STREAM")
                .and_then(|stream| stream.to_str().map(str::to_owned)),
            state_dir,
            uid,
        })
    }
}

/// A directory of the XDG base directories; relative ones are ignored, as their specification says.
fn user_dir(
    environment: Environment<'_>,
    variable: &str,
    below_home: &str,
    flag: &str,
) -> Result<PathBuf, Failure> {
    let absolute = |path: &PathBuf| path.is_absolute();
    environment(variable)
        .filter(absolute)
        .or_else(|| environment("HOME").filter(absolute).map(|home| home.join(Path::new(below_home))))
        .ok_or_else(|| {
            Failure::usage(
                Number::Settings,
                format!("neither {variable} nor HOME is set to an absolute path"),
            )
            .fix(format!("set HOME, or give {flag}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_environment_and_that_beats_the_default() {
        let full = |name: &str| match name {
            "CSYNC_CONFIG" => Some(PathBuf::from("/env.toml")),
            "CSYNC_STATE_DIR" => Some(PathBuf::from("/env")),
            "HOME" => Some(PathBuf::from("/home/a")),
            _ => None,
        };
        let home = |name: &str| full(name).filter(|_| name == "HOME");
        let xdg = |name: &str| {
            if name == "HOME" { full(name) } else { name.starts_with("XDG").then(|| "/xdg".into()) }
        };
        let none = |_: &str| None;
        let flag = Some(PathBuf::from("flag"));
        let user = "/home/a/.local/state/csync";
        for (case, flag, uid, environment, config, state, control) in [
            ("flag", flag, 0, &full as Environment<'_>, "flag", "flag", "flag"),
            ("environment", None, 0, &full, "/env.toml", "/env", "/env"),
            ("root", None, 0, &home, "/etc/csync/csync.toml", "/var/lib/csync", "/run/csync"),
            ("root without a home", None, 0, &none, "/etc/csync/csync.toml", "/var/lib/csync", "/run/csync"),
            ("user", None, 7, &home, "/home/a/.config/csync/csync.toml", user, user),
            ("XDG", None, 7, &xdg, "/xdg/csync/csync.toml", "/xdg/csync", "/xdg/csync"),
        ] {
            let settings = Settings::of(flag.clone(), flag, uid, environment).unwrap();
            assert_eq!((settings.config, settings.state_dir), (config.into(), state.into()), "{case}");
            assert_eq!(settings.control, Path::new(control).join("control.sock"), "{case}");
        }
        assert!(Settings::of(None, None, 7, &none).is_err());
    }
}
