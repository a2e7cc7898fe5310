"""Which replica a request goes to. Pure; ties go to the lowest index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from joulemill.errors import InputError
from joulemill.simulation.replica import Replica
from joulemill.suggestions import meant

#: Takes the replicas that serve and a request; says which of them.
Router = Callable[[Sequence[Replica], int], Replica]
#: A replica with this much more to do than the idlest is not chosen for a prefix it holds [req] (assumed).
PREFIX_SLACK_REQ = 8
#: Share of an engine's slots, and of its KV cache, up to which a replica is filled before the next (assumed).
PACK_RATIO = 0.85


def round_robin() -> Router:
    """Each in turn."""
    turn = 0

    def choose(replicas: Sequence[Replica], _: int) -> Replica:
        nonlocal turn
        turn += 1
        return replicas[(turn - 1) % len(replicas)]

    return choose


def least_load() -> Router:
    """The one with the fewest requests, running and waiting."""
    return lambda replicas, _: min(replicas, key=lambda r: (r.load_req, r.index))


def prefix_aware() -> Router:
    """The one whose cache holds most of the prompt, among those with little more to do than the idlest."""

    def choose(replicas: Sequence[Replica], i: int) -> Replica:
        least = min(r.load_req for r in replicas)
        near = [r for r in replicas if r.load_req <= least + PREFIX_SLACK_REQ]
        hashes = near[0].table.hashes
        if hashes is None:
            return min(near, key=lambda r: (r.load_req, r.index))
        return max(near, key=lambda r: (r.blocks.matched(hashes[i]), -r.load_req, -r.index))

    return choose


def power_aware() -> Router:
    """The fullest that has room, so that the others can rest; the idlest where none has."""

    def has_room(r: Replica) -> bool:
        return r.load_req < PACK_RATIO * r.max_running_req and r.kv_ratio < PACK_RATIO

    def choose(replicas: Sequence[Replica], _: int) -> Replica:
        roomy = [r for r in replicas if has_room(r)]
        if roomy:
            return max(roomy, key=lambda r: (r.load_req, -r.index))
        return min(replicas, key=lambda r: (r.load_req, r.index))

    return choose


ROUTERS: dict[str, Callable[[], Router]] = {
    "round-robin": round_robin,
    "least-load": least_load,
    "prefix-aware": prefix_aware,
    "power-aware": power_aware,
}


def router_named(name: str) -> Router:
    """The router of that name. InputError names those that there are."""
    if name not in ROUTERS:
        raise InputError(f"`router` {name!r} is not known; {meant(name, ROUTERS)}")
    return ROUTERS[name]()
