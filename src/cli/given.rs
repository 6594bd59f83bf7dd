//! What verbs are given: operands, and the flags that many of them have.

use std::ffi::OsString;

use clap::parser::ArgMatches;

use crate::cli::failure::{Failure, Number};

/// Returns the operands.
#[must_use]
pub fn given(matches: &ArgMatches) -> Vec<OsString> {
    matches.get_many::<OsString>("operands").into_iter().flatten().cloned().collect()
}

/// Returns the only operand.
///
/// # Errors
/// There is none, or another one.
pub fn one(matches: &ArgMatches, verb: &str, wanted: &str) -> Result<OsString, Failure> {
    let [operand] =
        <[OsString; 1]>::try_from(given(matches)).map_err(|_given| count_failure(verb, wanted))?;
    Ok(operand)
}

/// Returns the failure of a wrong number of operands.
#[must_use]
pub fn count_failure(verb: &str, wanted: &str) -> Failure {
    Failure::usage(Number::Usage, format!("csync {verb} wants {wanted}"))
        .fix(format!("csync {verb} --help shows how"))
}

/// Refuses flags of later versions.
///
/// # Errors
/// One of `flags` is given.
pub fn not_yet(matches: &ArgMatches, flags: &[&str]) -> Result<(), Failure> {
    let given = |flag: &&&str| {
        matches.value_source(flag).is_some_and(|source| source == clap::parser::ValueSource::CommandLine)
    };
    match flags.iter().find(given) {
        Some(flag) => Err(Failure::usage(Number::Later, format!("--{flag} comes in a later version"))
            .fix(format!("leave out --{flag}"))),
        None => Ok(()),
    }
}
