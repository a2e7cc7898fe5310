"""The same weights in a smaller quantization, made with llama.cpp's own Python package ``gguf`` where it is installed.

Q4_0 is what that package can write and llama.cpp reads everywhere: 4.5 bits a weight. Tensors that are larger are
unpacked and packed anew, as ``llama-quantize --allow-requantize`` does; vectors stay as they are.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from joulemill.errors import MachineError

_PACKAGE = "gguf"


def installed() -> bool:
    """Whether the package is there."""
    try:
        import_module(_PACKAGE)
    except ImportError:
        return False
    return True


def requantize(source: Path, target: Path) -> int:
    """Write ``source`` as Q4_0 to ``target``; how many tensors were packed anew. Raises MachineError.

    ``target`` appears only when it is whole.
    """
    gguf: Any = import_module(_PACKAGE)
    part = target.with_suffix(".part")
    try:
        reader = gguf.GGUFReader(str(source))
        writer = gguf.GGUFWriter(str(part), _architecture(reader))
        _copy_fields(gguf, reader, writer)
        changed = sum(_add(gguf, writer, tensor) for tensor in reader.tensors)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(target)
    except (OSError, ValueError, KeyError, NotImplementedError) as fault:
        raise MachineError(f"{source.name} cannot be written as Q4_0 ({fault}); give `small_gguf`") from fault
    return changed


def _architecture(reader: Any) -> str:
    return bytes(reader.fields["general.architecture"].parts[-1]).decode()


def _copy_fields(gguf: Any, reader: Any, writer: Any) -> None:
    kinds = gguf.GGUFValueType
    for field in reader.fields.values():
        # What the writer puts there itself.
        if field.name == "general.architecture" or field.name.startswith("GGUF."):
            continue
        inner = field.types[-1] if field.types[0] == kinds.ARRAY else None
        value = field.contents()
        if field.name == "general.file_type":
            value = int(gguf.LlamaFileType.MOSTLY_Q4_0)
        writer.add_key_value(field.name, value, field.types[0], sub_type=inner)


def _add(gguf: Any, writer: Any, tensor: Any) -> bool:
    kinds = gguf.GGMLQuantizationType
    smaller = tensor.tensor_type not in (kinds.F32, kinds.Q4_0)
    block, size_byte = gguf.GGML_QUANT_SIZES[tensor.tensor_type]
    larger = size_byte / block > 18 / 32  # Q4_0: 18 bytes for 32 weights
    if not (smaller and larger and len(tensor.shape) > 1 and tensor.shape[0] % 32 == 0):
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        return False
    weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    packed = gguf.quants.quantize(weights, kinds.Q4_0)
    writer.add_tensor(tensor.name, packed, raw_dtype=kinds.Q4_0)
    return True
