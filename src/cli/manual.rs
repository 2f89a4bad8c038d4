//! `completions` and `man`: the command line, described for shells and readers.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::{Cli, Completions};
use super::error::CliError;
use crate::config::reference;
use crate::node::App;

fn command(app: &App) -> clap::Command {
    Cli::command().name(app.product).bin_name(app.product).version(app.version)
}

pub(super) fn completions(app: &App, args: &Completions) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(app), app.product, &mut script);
    write(&script)
}

/// One page: the verbs with their options, the exit codes, and every setting.
pub(super) fn page(app: &App) -> Result<ExitCode, CliError> {
    let mut command = command(app);
    command.build();
    let mut page = Vec::new();
    let render = |page: &mut Vec<u8>| -> io::Result<()> {
        let man = clap_mangen::Man::new(command.clone());
        man.render_title(page)?;
        man.render_name_section(page)?;
        man.render_synopsis_section(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        let mut verbs = Roff::new();
        verbs.control("SH", ["COMMANDS"]);
        verbs.to_writer(page)?;
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            describe(verb, "", page)?;
        }
        man.render_extra_section(page)?;
        let mut settings = Roff::new();
        settings.control("SH", ["SETTINGS"]);
        settings.text([roman("In a configuration file, in the environment, or with --set:")]);
        for paragraph in reference(&app.product().map_err(io::Error::other)?).lines() {
            match paragraph.strip_prefix("    ") {
                None => settings.control("TP", []).text([bold(paragraph)]),
                Some(text) => settings.text([roman(text)]).control("br", []),
            };
        }
        settings.to_writer(page)
    };
    render(&mut page).map_err(CliError::Output)?;
    write(&page)
}

/// A verb, and those below it, each with its usage and its options.
fn describe(verb: &clap::Command, above: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let name = format!("{above}{}", verb.get_name());
    let mut roff = Roff::new();
    roff.control("SS", [name.as_str()]);
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    roff.text([roman(about)]);
    for argument in verb.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_global_set()) {
        if argument.get_id() == "help" {
            continue;
        }
        let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        let value = value.filter(|_| argument.get_action().takes_values());
        let label = match (argument.get_long(), value) {
            (Some(long), Some(value)) => format!("--{long} {value}"),
            (Some(long), None) => format!("--{long}"),
            (None, value) => value.unwrap_or_else(|| argument.get_id().to_string()),
        };
        roff.control("TP", []).text([bold(label)]);
        roff.text([roman(argument.get_help().map(ToString::to_string).unwrap_or_default())]);
    }
    roff.to_writer(page)?;
    for below in verb.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        describe(below, &format!("{name} "), page)?;
    }
    Ok(())
}

/// A reader that has seen enough (`| head`) is no error.
fn write(bytes: &[u8]) -> Result<ExitCode, CliError> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}
