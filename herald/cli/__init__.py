"""The ``herald`` command: verbs are loaded when used, and every mistake ends in one line.

Exit codes:

====  ==================================================
0     done
1     failed: a run, a check or an operation
2     not found, or the command was called wrongly
4     the configuration or a plugin is wrong, or the account is another process's
130   interrupted by Ctrl-C; partial results are kept
====  ==================================================
"""

from __future__ import annotations

try:
    import difflib
    import importlib
    import os
    import sys
    import traceback
    from collections.abc import Sequence
    from typing import TextIO, cast

    import click

    from herald.errors import ConfigError, HeraldError, LeaseError, NotFound, PluginError
    from herald.host.discovery import Catalog, discover_commands
    from herald.utils.redaction import RedactingStream
except KeyboardInterrupt:  # before there is anything to say; a traceback of an import helps nobody
    raise SystemExit(130) from None

__all__ = ["check_verb", "exit_code", "herald", "main"]

_LOG = "<level>{level: <8}</level> {message}"

FAILED, NOT_FOUND, MISCONFIGURED, INTERRUPTED = 1, 2, 4, 130

_VERBS = {
    "alerts": ("herald.cli.alerts:alerts", "Try whether alerts reach somebody."),
    "audit": ("herald.cli.audit:audit", "Check, show or export an audit log."),
    "backtest": ("herald.cli.backtest:backtest", "Run a strategy over history."),
    "backup": ("herald.cli.journal:backup", "Copy a journal while it is in use, and verify the copy."),
    "cancel": ("herald.cli.remote:cancel", "Withdraw an order of a run under way."),
    "chaos": ("herald.cli.chaos:chaos", "Rehearse a bad day on paper, and look for what was lost."),
    "check": ("herald.cli.plan:check", "List every mistake in a config file."),
    "close": ("herald.cli.remote:close", "Close a position of a run under way."),
    "config": ("herald.cli.config:config", "Show a config, or its JSON Schema."),
    "control": ("herald.cli.remote:control", "Keys of a control server, and its dashboard."),
    "data": ("herald.cli.data:data", "Look into data files."),
    "demo": ("herald.cli.backtest:demo", "Backtest the bundled nine years of GBPUSD hours."),
    "flatten": ("herald.cli.control:flatten", "Stop trading and close every position."),
    "halt": ("herald.cli.control:halt", "Stop trading: the account, a strategy or a symbol."),
    "journal": ("herald.cli.journal:journal", "Show, export or verify a journal."),
    "kill": ("herald.cli.control:kill", "Stop trading and withdraw every order."),
    "live": ("herald.cli.live:live", "Run with the money of an account."),
    "logs": ("herald.cli.logs:logs", "Show and follow the log of a run, from its files."),
    "mt5": ("herald.cli.mt5:mt5", "Work with MetaTrader 5: diagnosis, symbols, presets, a server."),
    "new": ("herald.cli.new:new", "Write the skeleton of a plugin."),
    "orders": ("herald.cli.remote:orders", "List the orders of a run under way."),
    "paper": ("herald.cli.live:paper", "Run on live prices with simulated money."),
    "pause": ("herald.cli.control:pause", "Let a strategy, a symbol or the account only reduce."),
    "plan": ("herald.cli.plan:plan", "Show what a config file would run."),
    "plugins": ("herald.cli.plugins:plugins", "List, show, check and lock plugins."),
    "positions": ("herald.cli.remote:positions", "List the positions of a run under way."),
    "rearm": ("herald.cli.control:rearm", "Let the account trade again after a stop."),
    "reconcile": ("herald.cli.live:reconcile", "Compare an account with its journal, now."),
    "report": ("herald.cli.report:report", "Write the report of a run."),
    "restore": ("herald.cli.journal:restore", "Put a copy of a journal in its place."),
    "resume": ("herald.cli.control:resume", "Let trading go on, with a reason."),
    "runs": ("herald.cli.runs:runs", "List, show and compare runs."),
    "secrets": ("herald.cli.secrets:secrets", "Keep passwords and keys in an encrypted file."),
    "state": ("herald.cli.control:state", "Show what may be traded, and who said so."),
    "status": ("herald.cli.remote:status", "Show how a run under way stands."),
    "supervise": ("herald.cli.control:supervise", "Watch a run: restart it, and stop it when it hangs."),
    "trade": ("herald.cli.remote:trade", "Place an order by hand in a run under way."),
}


class _Verbs(click.Group):
    """A group whose verbs are imported when they are used; plugins add verbs through ``herald.v1.commands``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every verb, Herald's and the plugins'."""
        return sorted({*_VERBS, *discover_commands().names()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb; Herald's own cannot be replaced.

        Raises:
            PluginError: The verb of a plugin cannot be loaded, or two plugins claim it.
        """
        if cmd_name in _VERBS:
            return _load(_VERBS[cmd_name][0])
        added = discover_commands()
        return check_verb(added, cmd_name) if cmd_name in added else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, and name the nearest right one where there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if not near or "did you mean" in error.message.lower():
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}; did you mean {near[0]}?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing any."""
        rows = {found.name: f"Added by {found.distribution}." for found in discover_commands()}
        rows |= {name: summary for name, (_, summary) in _VERBS.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows.items()))


def check_verb(added: Catalog, verb: str) -> click.Command:
    """Import and return the verb of a plugin.

    Raises:
        PluginError: It cannot be imported, is no click command, or somebody else has the name.
    """
    found = added.find(verb)
    if verb in _VERBS:
        raise PluginError(f"verb {verb!r} of {found.origin} is Herald's own and stays so; the plugin must choose another name")
    try:
        return _load(found.value)
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(f"verb {verb!r} of {found.distribution} cannot be loaded: {text}") from error


def _load(value: str) -> click.Command:
    module, _, attribute = value.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    if not isinstance(command, click.Command):
        raise PluginError(f"{value} is a {type(command).__name__}, not a click command")
    return command


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"herald {version('herald-trading')}")
        ctx.exit()


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 not found or called wrongly, 4 configuration or plugin wrong, 130 interrupted.",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
@click.option("--traceback", "show", is_flag=True, help="Show where an error came from.")
@click.pass_context
def herald(ctx: click.Context, show: bool) -> None:
    """Trade by plugins: one strategy, one config file, backtest, paper and live."""
    ctx.obj = show


def exit_code(error: BaseException) -> int:
    """Return the exit code that stands for *error*."""
    if isinstance(error, NotFound):
        return NOT_FOUND
    if isinstance(error, ConfigError | PluginError | LeaseError):
        return MISCONFIGURED  # trying again changes nothing: a watchdog must not take it for a crash
    return FAILED


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        code = _main(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _main(arguments: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    show = "--traceback" in arguments or bool(os.environ.get("HERALD_TRACEBACK"))
    os.environ.setdefault("LOGURU_FORMAT", _LOG)  # read where a plugin imports loguru; its own names a line of Herald's source
    # A plugin that logs by itself gets the defaults of its library, which write out the values of local variables.
    os.environ["LOGURU_DIAGNOSE"] = os.environ["LOGURU_BACKTRACE"] = "NO"
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal without UTF-8 shows ? where it would end in a traceback
    # For good, not for the time of the command: what threads and the interpreter write at the end passes here as well.
    sys.stdout, sys.stderr = (
        stream if isinstance(stream, RedactingStream) else cast("TextIO", RedactingStream(stream))
        for stream in (sys.stdout, sys.stderr)
    )
    try:
        code = herald.main(arguments, prog_name="herald", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = NOT_FOUND
    except (KeyboardInterrupt, click.Abort):
        click.echo("herald: interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe left; Python would complain again while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except HeraldError as error:
        code = _report(error, str(error), show)
    except OSError as error:
        name = f"{str(error.filename)!r}: " if error.filename is not None else ""
        code = _report(error, f"{name}{error.strerror or error}; check the path, its permissions and the space left", show)
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
        code = _report(error, f"{text}; run `herald --traceback ...` and report what it shows", show)
    return code if isinstance(code, int) else 0


def _report(error: Exception, text: str, show: bool) -> int:
    if show:
        traceback.print_exception(error)
    click.echo(f"herald: {text}", err=True)
    return exit_code(error)
