"""``joulemill show device|model|site NAME``: what the catalog holds, every fact with its source."""

from __future__ import annotations

import argparse

from joulemill.streams import print_json, print_text, results_console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = (
        "Prints what Joulemill knows of a device, a model or a site: every fact with unit, basis and source. Without a "
        "name it lists the devices (with memory and TDP) or the models of the catalog."
    )
    parser.epilog = "examples: show device · show device h100 · show model Qwen/Qwen3-8B · show site site.toml"
    parser.add_argument("kind", choices=("device", "model", "site"), help="what to show")
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="any name of a device or model, a Hub id, a file (.toml, config.json, .gguf), or a site file",
    )
    parser.add_argument(
        "--approximate", action="store_true", help="show a model file that is not understood, read as a plain decoder"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the facts of one thing, or the names of all."""
    from joulemill.reports.text import catalog as view

    if args.name is None:
        return _list(args)
    document = _document(args)
    if args.json:
        print_json(document)
    else:
        view.show(document, results_console())
    return 0


def _list(args: argparse.Namespace) -> int:
    """All names; of devices with their memory and power limit."""
    from joulemill.reports.text import catalog as view

    names = _names(args.kind)
    rows = view.device_rows() if args.kind == "device" else None
    if args.json:
        print_json({"kind": args.kind, "names": names} | ({"devices": rows} if rows else {}))
    elif rows:
        view.show_devices(rows, results_console())
    else:
        print_text("\n".join(names))
    return 0


def _document(args: argparse.Namespace) -> dict[str, object]:
    from joulemill.reports.text import catalog as view

    if args.kind == "device":
        return view.device_document(args.name)
    if args.kind == "site":
        return view.site_document(args.name)
    from joulemill.api.catalog import model

    return view.model_document(model(args.name, approximate=args.approximate))


def _names(kind: str) -> list[str]:
    from joulemill.api.catalog import devices, models
    from joulemill.errors import InputError

    if kind == "site":
        raise InputError("a site is a file: give the path of a TOML file (examples/site.toml shows one)")
    return list(devices() if kind == "device" else models())
