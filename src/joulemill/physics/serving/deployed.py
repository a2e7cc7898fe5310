"""From a deployment to what its steps are computed with: a device's shard, and what the engine is switched to. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from joulemill.errors import InputError
from joulemill.physics.serving.deployment import Deployment, Parallelism
from joulemill.physics.serving.pipeline import staged
from joulemill.physics.serving.shard import Shard, ShardTable, drafting_model, shard, shard_table, whole_model
from joulemill.physics.serving.wide_experts import spread_wide

#: Columns of a shard that are of its device alone: those of a draft model and of a prefill pool are the verifier's.
OF_THE_DEVICE = ("bandwidth_byte_s", "pass_byte_s", "link_byte_s", "scale_out_byte_s")
#: Those that are of its device in the formats of one model.
OF_THE_MODEL_ON_IT = ("peak_0_flop_s", "peak_1_flop_s", "expert_peak_flop_s", "memory_byte")


def shard_of(deployment: Deployment, parallelism: Parallelism | None = None) -> Shard:
    """The share of one device of a deployment, or of the same one under other ``parallelism``. InputError where the
    layers cannot be split so."""
    d, parallelism = deployment, parallelism or deployment.parallelism
    whole = shard(d.architecture, d.precision, d.device, parallelism)
    traffic = d.traffic if parallelism.expert > 1 else None
    wide = spread_wide(whole, d.architecture, d.precision, traffic)
    return staged(wide, d.architecture, d.precision, parallelism.pipeline)


def draft_shard_of(deployment: Deployment) -> Shard | None:
    """The share of one device of the draft model, split as its verifier; None without one. It has no stages: it runs
    whole on the devices of one."""
    d, how = deployment, deployment.speculation
    if how is None or how.draft_count == 0 or how.architecture is None:
        return None
    parallelism = d.parallelism
    tensor = max(
        n for n in range(1, parallelism.tensor + 1) if parallelism.tensor % n == 0 and how.architecture.divides_over(n)
    )
    experts = parallelism.expert if how.architecture.is_moe else 1
    narrow = replace(parallelism, tensor=tensor, expert=min(experts, tensor * parallelism.data), pipeline=1)
    return shard(how.architecture, how.precision or d.precision, d.device, narrow)


def prefill_table(deployment: Deployment, table: ShardTable) -> ShardTable:
    """Rows of the shard of a device that computes prompts, a row a row of ``table``, on the same devices."""
    prompts = shard_table([shard_of(deployment, deployment.prefill)])
    prompts = prompts.rows(np.zeros(table.bandwidth_byte_s.size, dtype=np.intp))
    prompts.columns.update({name: table.columns[name] for name in (*OF_THE_DEVICE, *OF_THE_MODEL_ON_IT)})
    return prompts


def engine_terms(deployment: Deployment, table: ShardTable | None = None) -> dict[str, Any]:
    """What the engine's switches ask, by the fields of ``Demand``; {} where all are as usual.

    ``table``: rows of the deployment's shard whose links or memory may differ; the draft model's are the same.
    """
    d, how = deployment, deployment.speculation
    terms: dict[str, Any] = {}
    if not d.chunked_prefill:
        terms["chunked_prefill"] = 0.0
    if d.eager:
        terms["eager"] = 1.0
    if how is None or how.draft_count == 0:
        return terms
    terms |= {"draft_count": float(how.draft_count), "acceptance_ratio": how.accepting_ratio}
    if how.ngram:
        return terms | {"draft_layers_count": 0.0}
    small = draft_shard_of(d)
    if small is None:
        if not d.architecture.mtp:
            raise InputError(
                f"{d.architecture.name} has no layers that draft tokens; name a `draft_model`, or ngram for drafts "
                "that are looked up in the prompt"
            )
        return terms
    drafts = shard_table([small])
    if table is not None:
        drafts = drafts.rows(np.zeros(table.bandwidth_byte_s.size, dtype=np.intp))
        drafts.columns.update({name: table.columns[name] for name in OF_THE_DEVICE})
    return terms | {"draft": drafts}


def drafting_table(deployment: Deployment) -> ShardTable | None:
    """What a drafted token passes, of no device and not sharded; None where nothing drafts, or n-grams do."""
    d, how = deployment, deployment.speculation
    if how is None or how.draft_count == 0 or how.ngram:
        return None
    if how.architecture is None:
        return shard_table([drafting_model(d.architecture, d.precision, d.parallelism.data)])
    return shard_table([whole_model(how.architecture, how.precision or d.precision, d.parallelism.data)])
