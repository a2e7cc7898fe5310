"""An answer of the server as the record that a run keeps of its request."""

from __future__ import annotations

from joulemill.ledger.record import RequestRecord
from joulemill.servers.client import Answer


def record_of_answer(record_id: str, phase: str, answer: Answer) -> RequestRecord:
    """What ``answer`` says, scheduled when it was dispatched; schedule, asked lengths, retries are the caller's."""
    return RequestRecord(
        id=record_id,
        phase=phase,
        scheduled_mono_s=answer.dispatched_mono_s,
        dispatched_mono_s=answer.dispatched_mono_s or None,
        first_byte_mono_s=answer.first_byte_mono_s,
        first_token_mono_s=answer.first_token_mono_s,
        last_token_mono_s=answer.last_token_mono_s,
        end_mono_s=answer.end_mono_s,
        outcome=answer.outcome,
        prompt_tok=answer.prompt_tok,
        cached_tok=answer.cached_tok,
        output_tok=answer.output_tok,
        reasoning_tok=answer.reasoning_tok,
        chunk_mono_s=answer.chunk_mono_s,
        finish_reason=answer.finish_reason,
        http_status=answer.http_status,
        error=answer.error,
    )
