"""Text files in the encodings and with the dividers that people's programs write, wherever one is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from joulemill.bench.load.arrivals import read_trace
from joulemill.bench.server_options import read_architecture
from joulemill.catalog.question_sets import load_questions
from joulemill.errors import InputError
from joulemill.fleet.inventory import listed_inventory
from joulemill.importers.traffic_files import read_traffic
from joulemill.validation.scores import validate_table

TRACE = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,100,20\n0.5,101,20\n"
TABLE = (
    "model_id,gpu_model,num_gpus,tensor_parallel,avg_batch_size,max_num_seqs,avg_output_len,"
    "output_throughput_tokens_per_sec,energy_per_token_joules,median_itl_ms,weight_precision\n"
    "Qwen/Qwen3-8B,H100,1,1,16,16,512,1500,0.3,10,bfloat16\n"
)
QUESTIONS = '{"prompt": "2+2?", "answer": "4"}\n'
INVENTORY = "pool,model,deployment,count\na,Qwen/Qwen3-8B,b,2\n"
CONFIG = json.dumps(
    {
        **{"model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1},
        **{"num_attention_heads": 1, "vocab_size": 9},
    }
)
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "trace.csv": (TRACE, lambda p: read_trace(p)),
    "traffic.csv": (TRACE, lambda p: read_traffic(p)),
    "table.csv": (TABLE, lambda p: validate_table(p)),
    "questions.jsonl": (QUESTIONS, lambda p: load_questions(str(p))),
    "inventory.csv": (INVENTORY, lambda p: listed_inventory(p)),
    "config.json": (CONFIG, lambda p: read_architecture(p)),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_an_encoding_changes_nothing(name: str, encoding: str, tmp_path: Path) -> None:
    text, read = READERS[name]
    plain, coded = tmp_path / name, tmp_path / "coded" / name
    coded.parent.mkdir()
    plain.write_text(text, encoding="utf-8")
    coded.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    np.testing.assert_equal(repr(read(coded)).replace(str(coded.parent), str(tmp_path)), repr(read(plain)))


@pytest.mark.parametrize("name", [n for n in READERS if not n.endswith(".json")])
def test_what_is_no_text_is_refused(name: str, tmp_path: Path) -> None:
    text, read = READERS[name]
    (tmp_path / name).write_bytes(text.encode() + "Köln".encode("latin-1"))
    with pytest.raises(InputError, match=r"UTF-8 or UTF-16: byte \d+ cannot be read; save it as UTF-8"):
        read(tmp_path / name)


@pytest.mark.parametrize("divider", [";", "\t"])
def test_a_table_of_a_spreadsheet(divider: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE.replace(",", divider))
    assert validate_table(tmp_path / "t.csv").rows == 1
