"""``joulemill explore``: every number that a prediction can give, live, on one local page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.commands.flags import page_token
from joulemill.errors import InputError
from joulemill.streams import tell

if TYPE_CHECKING:
    from joulemill.explorer.app import PageSetting
    from joulemill.explorer.asking import Read

DEFAULT_ADDRESS = "127.0.0.1:9478"
#: What an atlas holds where nothing is named.
MODELS = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.3-70B-Instruct",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B",
    "openai/gpt-oss-120b",
    "deepseek-ai/DeepSeek-V3",
)
DEVICES = ("h100", "h200", "b200", "a100", "l40s", "mi300x")
PRECISIONS = ("released", "fp8")
LENGTHS = ("512x512", "8192x256")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    about = f"where the page is (default: {DEFAULT_ADDRESS})"
    parser.add_argument("--listen", metavar="HOST:PORT", default=DEFAULT_ADDRESS, help=about)
    about = "environment variable that holds the page's access token; needed to listen beyond this machine"
    parser.add_argument("--token-env", metavar="NAME", help=about)
    parser.add_argument("--site", metavar="FILE", type=Path, help="site file (TOML): PUE, limits, carbon, price")
    about = "tables of measured runs (CSV), run folders or reports (JSON) to show beside the curves"
    parser.add_argument("--measured", metavar="PATH", type=Path, nargs="+", default=[], help=about)
    parser.set_defaults(parser_class=type(parser))
    atlas = parser.add_argument_group("atlas: a page that needs no server")
    about = "write DIR/index.html instead of serving: every model × device × precision × lengths"
    atlas.add_argument("--export", metavar="DIR", type=Path, help=about)
    atlas.add_argument("--model", metavar="NAME", nargs="+", help="models of the atlas")
    atlas.add_argument("--device", metavar="NAME", nargs="+", help="devices of the atlas")
    about = "formats of the weights; 'released' is as released (default: released fp8)"
    atlas.add_argument("--precision", metavar="FORMAT", nargs="+", help=about)
    about = "input and output tokens, e.g. 512x512 8192x256 (the default)"
    atlas.add_argument("--lengths", metavar="INxOUT", nargs="+", help=about)


def run(args: argparse.Namespace) -> int:
    """Serve the page until told to end, or write an atlas."""
    stray = next((name for name in ("model", "device", "precision", "lengths") if getattr(args, name)), None)
    if stray is not None and not args.export:
        raise InputError(f"--{stray} is of the atlas; give --export DIR too")
    return export(args) if args.export else serve(args)


def export(args: argparse.Namespace) -> int:
    """Write the atlas, with a bar that shows how far it is."""
    from rich.progress import Progress

    from joulemill.explorer.atlas import Selection
    from joulemill.explorer.atlas import export as write
    from joulemill.streams import progress_console

    precisions = [None if p == "released" else p for p in args.precision or PRECISIONS]
    lengths = [_lengths(text) for text in args.lengths or LENGTHS]
    selection = Selection(args.model or list(MODELS), args.device or list(DEVICES), precisions, lengths)
    with Progress(console=progress_console(), transient=True) as bar:
        task = bar.add_task("predicting", total=selection.count)
        counts = write(args.export, selection, lambda done: bar.update(task, completed=done))
    left_out = f"; {counts['left_out']} cannot be predicted, each with its reason" if counts["left_out"] else ""
    sys.stdout.write(f"{args.export / 'index.html'}: {counts['deployments']} deployments{left_out}\n")
    return 0


def _lengths(text: str) -> tuple[int, int]:
    first, _, second = text.lower().partition("x")
    plain = text.isascii() and len(text) <= 20 and first.isdigit() and second.isdigit()
    if not (plain and int(first) and int(second)):
        raise InputError(f"--lengths {text}: write input and output tokens as 512x512")
    return int(first), int(second)


def serve(args: argparse.Namespace) -> int:
    """Serve the page until told to end."""
    from joulemill.explorer.serving import serve as serve_page

    token = page_token(args.token_env)
    setting = setting_of(args.site, args.measured, reader(args.parser_class))
    serve_page(setting, args.listen, token, lambda url: tell(f"open {url} (Ctrl-C ends)"))
    return 0


def setting_of(site: Path | None, measured: list[Path], read: Read) -> PageSetting:
    """What the page begins with. Raises InputError for a file that cannot be read."""
    from joulemill.api.catalog import site as load_site
    from joulemill.explorer.app import PageSetting
    from joulemill.explorer.measured import points_of_file

    place = None if site is None else load_site(site)
    return PageSetting(read=read, site=place, measured=tuple(points_of_file(path) for path in measured))


def reader(parser_class: type[argparse.ArgumentParser]) -> Read:
    """Reads texts by the names of ``predict``'s flags as the command does: arguments of ``joulemill.predict``.

    What it returns raises InputError, which names the flag.
    """
    from joulemill.commands.predict import add_arguments as predict_arguments
    from joulemill.commands.predict import arguments_of

    parser = parser_class(prog="joulemill predict", add_help=False)
    predict_arguments(parser)
    return lambda flags: arguments_of(parser.parse_args([f"--{name}={text}" for name, text in flags.items()]))
