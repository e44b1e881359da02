"""The command line's root: which commands there are, and what a person sees when one of them fails.

Decides how an exception becomes one clear line and an exit code. Knows commands by name only and imports the one that
was asked for.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import click

from proxy.cli.frame import PROGRAM, Exit, Failure, Frame, choose_language
from proxy.cli.help import language_option, option_rows, page, page_width, two_columns

# In the order a newcomer needs them; each module has `command(frame) -> click.Command`.
COMMANDS = (
    "serve",
    "run",
    "status",
    "ledger",
    "forecast",
    "recommend",
    "plan",
    "emergency",
    "audit",
    "alerts",
    "services",
    "charge",
    "check",
    "price",
    "schema",
    "ca",
    "discover",
    "init",
    "breaker",
    "doctor",
    "demo",
    "completion",
)


class Root(click.Group):
    """`spendgate` itself: imports a command's module only when the command is used."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(
            PROGRAM,
            params=[
                click.Option(
                    ["-V", "--version"],
                    is_flag=True,
                    expose_value=False,
                    is_eager=True,
                    callback=_print_version,
                    help=frame.say("opt.version"),
                ),
                language_option(frame),
            ],
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96, "obj": frame},
            no_args_is_help=False,
            invoke_without_command=True,
            callback=_welcome,
        )
        self.frame = frame

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        made: click.Command = importlib.import_module(f"proxy.cli.{cmd_name}").command(self.frame)
        return made

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        say, width = self.frame.say, page_width(ctx)
        usage = f"{ctx.command_path} {say('help.options_placeholder')} {say('help.command_placeholder')}"
        sections = [
            (say("help.commands"), two_columns([(name, say(f"{name}.summary")) for name in COMMANDS], width)),
            (say("help.options"), option_rows(self.frame, ctx, self.get_params(ctx), width)),
        ]
        formatter.write(page(self.frame, "root", usage, sections, width) + "\n")


def _welcome() -> None:
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from proxy.started import version

    click.echo(f"{PROGRAM} {version()}")
    ctx.exit()


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs one command and returns its exit code. Prints no stack trace unless SPENDGATE_DEBUG is set."""
    frame = Frame(choose_language(arguments, environ), environ)
    try:
        result: Any = Root(frame).main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
        return int(result) if isinstance(result, int) else Exit.OK
    except click.exceptions.Abort:
        return Exit.INTERRUPTED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except click.ClickException as error:
        _complain(frame, _usage_sentence(frame, error), _usage_hint(frame, error))
        return Exit.USAGE
    except Failure as failure:
        _complain(frame, failure.message, failure.hint)
        return failure.code
    except BrokenPipeError:
        # The reader (head, less) has enough. Point stdout away so that the interpreter's last flush stays silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:  # a mistake of ours: a sentence and an exit code, not a stack trace
        if environ.get("SPENDGATE_DEBUG"):
            traceback.print_exc()
        kind = type(error).__name__
        detail = " ".join(str(error).split())
        _complain(frame, frame.say("error.internal", what=f"{kind}: {detail}" if detail else kind))
        if not environ.get("SPENDGATE_DEBUG"):
            click.echo(frame.say("error.internal_hint"), err=True)
        return Exit.INTERNAL


def _complain(frame: Frame, message: str, hint: str | None = None) -> None:
    coloured = frame.colours(sys.stderr)
    label = click.style(f"{PROGRAM}:", fg="red", bold=True) if coloured else f"{PROGRAM}:"
    click.echo(f"{label} {message}", err=True, color=coloured)
    if hint:
        click.echo(hint, err=True, color=coloured)


def _usage_sentence(frame: Frame, error: click.ClickException) -> str:
    """Click's own complaints, said in the language of the frame."""
    match error:
        case click.NoSuchOption():
            guess = _guess(frame, error.possibilities)
            return frame.say("error.no_such_option", name=error.option_name) + guess
        case click.exceptions.NoSuchCommand():
            guess = _guess(frame, error.possibilities)
            return frame.say("error.no_such_command", name=error.command_name) + guess
        case click.MissingParameter():
            return frame.say("error.missing", name=_parameter_name(error))
        case click.BadParameter():
            return frame.say("error.bad_value", name=_parameter_name(error), why=error.message)
        case _:
            return error.format_message()


def _parameter_name(error: click.BadParameter) -> str:
    if error.param is None:
        return str(error.param_hint or "?")
    if isinstance(error.param, click.Argument):
        return error.param.make_metavar(error.ctx) if error.ctx else str(error.param.name).upper()
    return max(error.param.opts, key=len)


def _guess(frame: Frame, possibilities: Sequence[str] | None) -> str:
    return " " + frame.say("error.did_you_mean", name=possibilities[0]) if possibilities else ""


def _usage_hint(frame: Frame, error: click.ClickException) -> str | None:
    ctx = getattr(error, "ctx", None)
    return frame.say("error.usage_hint", command=ctx.command_path if ctx else PROGRAM)
