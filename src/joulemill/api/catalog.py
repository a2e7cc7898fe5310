"""``joulemill.catalog``: devices, models and engines that predictions know by name, every fact with its source."""

from __future__ import annotations

from pathlib import Path

from joulemill.catalog.devices import Fact, device_facts, device_names, find_device
from joulemill.catalog.model_entry import ModelEntry
from joulemill.catalog.models import find_model, model_names
from joulemill.catalog.nodes import find_node, node_names
from joulemill.catalog.serving import engines as engine_profiles
from joulemill.catalog.sites import load_site
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node
from joulemill.physics.hardware.site import Site

__all__ = ["device", "devices", "engines", "facts", "model", "models", "node", "nodes", "site"]


def devices() -> tuple[str, ...]:
    """Names of all devices."""
    return device_names()


def device(name: str) -> Device:
    """A device: by name, alias, a driver's string, or the path of a TOML file. InputError with the nearest names."""
    return find_device(name)


def facts(device_name: str) -> tuple[Fact, ...]:
    """Every fact of a device, with unit, basis and source."""
    return device_facts(device_name)


def models() -> tuple[str, ...]:
    """Names of all models."""
    return model_names()


def model(name: str | Path, *, approximate: bool = False) -> ModelEntry:
    """A model: by name, or the path of a ``config.json`` or GGUF file. InputError with the nearest names."""
    return find_model(name, approximate=approximate)


def nodes() -> tuple[str, ...]:
    """Names of all servers that hold devices."""
    return node_names()


def node(name: str) -> Node:
    """A server by name. InputError with the nearest names."""
    return find_node(name)


def engines() -> tuple[str, ...]:
    """Serving engines whose coefficients are fitted."""
    return engine_profiles()


def site(path: str | Path) -> Site:
    """A site file (TOML). InputError where it is none."""
    return load_site(path)
