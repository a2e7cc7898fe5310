"""Pages of a server's counters, as a run keeps them."""

from __future__ import annotations

from joulemill.ledger.record import ServerSample


def counters(**rates: float) -> tuple[ServerSample, ...]:
    """A look at the server's page every second; each counter grows by so much a second."""
    return tuple(ServerSample(float(t), float(t), {n: r * t for n, r in rates.items()}) for t in range(-200, 201))


#: A server that drafts a token a step, of which three in four hold: 105 tokens a second in 60 steps of sequences.
DRAFTING = counters(spec_draft_tok_total=60.0, spec_accepted_tok_total=45.0, output_tok_total=105.0)
