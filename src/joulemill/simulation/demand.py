"""Traffic that is made, not recorded: arrivals at a rate that moves, lengths, shared prefixes, sessions. Pure.

Everything is drawn from one passed generator, in a fixed order: the same seed gives the same traffic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.simulation.assembly import LooseRequests, numbered_blocks, parts_of
from joulemill.simulation.columns import Whole
from joulemill.simulation.traffic import NS_IN_S, Traffic
from joulemill.statistics.arrivals import RateProfile, arrivals_of_profile
from joulemill.statistics.lengths import Lengths

#: Tokens of a block whose hash is the same where the prefix is: vLLM's block.
BLOCK_TOK = 16
#: More requests than a simulation on one machine takes (assumed).
MOST_REQUESTS = 20_000_000
#: More blocks than the prompts of all turns together may have: 400 MB of hashes (assumed).
MOST_BLOCKS = 50_000_000


@dataclass(frozen=True, slots=True)
class Sessions:
    """LooseRequests that are turns of conversations: each sends all that was said before, and what the turn adds.

    turns        turns of a session;  added   tokens that a turn after the first adds: a user's text, a tool's output
    wait_s       mean wait from the end of a turn to the next, exponential: a user reads, a tool runs
    """

    turns: Lengths
    added: Lengths
    wait_s: float


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Prompts begin with ``length_tok`` tokens, e.g. a system prompt, that are the same within each of
    ``groups_count`` groups. They are part of the prompts' lengths; a prompt has at least one token more."""

    length_tok: int
    groups_count: int = 1


@dataclass(frozen=True, slots=True)
class TrafficDemand:
    """What is asked over time; ``profile`` counts sessions where there are ``sessions``, else requests."""

    profile: RateProfile
    input_lengths: Lengths
    output_lengths: Lengths
    burstiness_ratio: float = 1.0
    sessions: Sessions | None = None
    prefix: SharedPrefix | None = None


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """``users_count`` users, each of whom asks again as soon as it is answered; ``requests_count`` in all."""

    users_count: int
    requests_count: int | None
    input_lengths: Lengths
    output_lengths: Lengths


def closed_traffic(loop: ClosedLoop, rng: np.random.Generator, requests: int) -> Traffic:
    """Traffic of a closed loop of ``requests`` requests: each waits for the end of the one so many before it."""
    if not 1 <= requests <= MOST_REQUESTS:
        raise InputError(f"{requests:,} requests are asked for; there must be 1 to {MOST_REQUESTS:,}")
    previous = np.maximum(np.arange(requests) - loop.users_count, -1)
    return Traffic(
        arrival_ns=np.zeros(requests, dtype=np.int64),
        input_tok=loop.input_lengths.draw(rng, requests),
        output_tok=loop.output_lengths.draw(rng, requests),
        previous=previous,
        think_ns=np.zeros(requests, dtype=np.int64),
    )


def traffic_of(demand: TrafficDemand, rng: np.random.Generator, *, requests: int | None = None) -> Traffic:
    """Traffic of ``demand``; with ``requests`` no more than its first so many.

    Raises InputError where nothing arrives, or more than a machine takes.
    """
    expected = demand.profile.mean_req_s * demand.profile.duration_s
    if expected > MOST_REQUESTS:
        raise InputError(f"{expected:,.0f} requests are more than {MOST_REQUESTS:,}; lower the rate or the duration")
    at_s = arrivals_of_profile(rng, demand.profile, burstiness=demand.burstiness_ratio)[:requests]
    if not len(at_s):
        raise InputError("no request arrives in this time; raise the rate or the duration")
    at_ns = np.rint(at_s * NS_IN_S).astype(np.int64)
    traffic = _single(demand, at_ns, rng) if demand.sessions is None else _turns(demand, demand.sessions, at_ns, rng)
    if requests is None or traffic.requests_count <= requests:
        return traffic
    return parts_of(traffic).picked(np.arange(requests)).in_order()


def _single(demand: TrafficDemand, at_ns: Whole, rng: np.random.Generator) -> Traffic:
    prompts, answers = (d.draw(rng, len(at_ns)) for d in (demand.input_lengths, demand.output_lengths))
    if demand.prefix is None:
        return Traffic(arrival_ns=at_ns, input_tok=prompts, output_tok=answers)
    group = rng.integers(0, demand.prefix.groups_count, len(at_ns))
    count = np.full(len(at_ns), demand.prefix.length_tok // BLOCK_TOK)
    return Traffic(
        arrival_ns=at_ns,
        input_tok=np.maximum(prompts, demand.prefix.length_tok + 1),
        output_tok=answers,
        block_hash=numbered_blocks(group, count),
        block_offset=np.concatenate([[0], np.cumsum(count)]),
        block_tok=BLOCK_TOK,
    )


def _turns(demand: TrafficDemand, sessions: Sessions, at_ns: Whole, rng: np.random.Generator) -> Traffic:
    turns = sessions.turns.draw(rng, len(at_ns))
    session = np.repeat(np.arange(len(at_ns)), turns)
    first = np.cumsum(turns) - turns
    added = sessions.added.draw(rng, len(session))
    added[first] = demand.input_lengths.draw(rng, len(at_ns))
    answers = demand.output_lengths.draw(rng, len(session))
    wait_s = rng.exponential(sessions.wait_s, len(session))
    return turns_traffic(at_ns[session], session, added, answers, wait_s)


def turns_traffic(at_ns: Whole, session: Whole, added_tok: Whole, output_tok: Whole, wait_s: Array) -> Traffic:
    """Traffic of turns: each prompt is all that was said in its session before, and what the turn adds.

    ``session`` is −1 for a request of none. Turns follow each other by their time, then as they stand here. The whole
    blocks of a conversation are the same in all of its turns. Raises InputError where they are too many to hold.
    """
    order = np.lexsort((np.arange(len(session)), at_ns, session))
    session, added, answers = session[order], added_tok[order], output_tok[order]
    begins = (session < 0) | np.concatenate([[True], session[1:] != session[:-1]])
    before = np.cumsum(added + answers) - added - answers
    prompts = before - np.maximum.accumulate(np.where(begins, before, 0)) + added
    count = np.where(session < 0, 0, prompts // BLOCK_TOK)
    if count.sum() > MOST_BLOCKS:
        raise InputError(
            f"the prompts of the sessions' turns add up to {prompts.sum():.3g} tokens, more than "
            f"{MOST_BLOCKS * BLOCK_TOK:.3g}; give fewer or shorter sessions"
        )
    return LooseRequests(
        at_ns=at_ns[order],
        input_tok=prompts,
        output_tok=answers,
        block_tok=BLOCK_TOK,
        session=session,
        block_hash=numbered_blocks(session, count),
        block_count=count,
        previous=np.where(begins, -1, np.arange(len(session)) - 1),
        think_ns=np.where(begins, 0, np.rint(wait_s[order] * NS_IN_S)).astype(np.int64),
    ).in_order()
