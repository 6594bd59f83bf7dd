//! Which paths are synchronised, and why a path is not.
