"""``joulemill show device|model|site NAME``: what the catalogue holds, every fact with its source."""

from __future__ import annotations

import argparse
import sys

from joulemill.streams import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("kind", choices=("device", "model", "site"), help="what to show")
    parser.add_argument("name", nargs="?", help="a name, a Hub id, or a file; nothing lists the names")
    parser.add_argument(
        "--approximate", action="store_true", help="show a model file that is not understood, read as a plain decoder"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the facts of one thing, or the names of all."""
    from joulemill.reports import show

    if not args.name:
        names = _names(args.kind)
        if args.json:
            print_json({"kind": args.kind, "names": names})
        else:
            print_text("\n".join(names))
        return 0
    document = _document(args)
    if args.json:
        print_json(document)
    else:
        sys.stdout.write(show.as_text(document) + "\n")
    return 0


def _document(args: argparse.Namespace) -> dict[str, object]:
    from joulemill.reports import show

    if args.kind == "device":
        return show.device_document(args.name)
    if args.kind == "site":
        return show.site_document(args.name)
    from joulemill.catalog.models import find_model

    entry = find_model(args.name, approximate=args.approximate)
    return show.model_document(entry)


def _names(kind: str) -> list[str]:
    from joulemill.errors import InputError

    if kind == "device":
        from joulemill.catalog.devices import device_names

        return list(device_names())
    if kind == "model":
        from joulemill.catalog.models import model_names

        return list(model_names())
    raise InputError("a site is a file: give the path of a TOML file (examples/site.toml shows one)")
