"""A run's account as reports make it: with what the manifest and the catalog say of the node around its meters."""

from __future__ import annotations

from joulemill.catalog.stated_device import count_in, device_in, node_in
from joulemill.errors import InputError
from joulemill.ledger.account import Account, account
from joulemill.ledger.record import RunRecord
from joulemill.ledger.unmetered import DeviceNodeModel, NodeModel, PackageNodeModel


def account_of(record: RunRecord) -> Account:
    """``ledger.account``, the unmetered rest of the node modelled where the catalog knows what holds the devices."""
    return account(record, holder_of(record), board_limit_w(record))


def board_limit_w(record: RunRecord) -> float | None:
    """Power limit (TDP) of one of the run's devices by its data sheet [W]; None where the manifest does not tell."""
    stated = record.manifest.device
    try:
        device = device_in(stated) if stated is not None and stated.name else None
    except InputError:
        return None
    return None if device is None or device.kind == "cpu" else device.tdp_w


def holder_of(record: RunRecord) -> NodeModel | None:
    """What holds the machine's devices, or its CPU packages; None where the manifest does not tell."""
    stated = record.manifest.device
    if stated is None or not stated.name:
        return PackageNodeModel() if record.manifest.embedded else None
    try:
        if device_in(stated).kind == "cpu":
            return PackageNodeModel()
        return DeviceNodeModel(node_in(stated), count_in(stated))
    except InputError:  # a device of the user's own: nothing is known of its server
        return None
