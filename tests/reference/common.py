"""What the reference scripts share: deterministic numbers and a JSON layout that diffs well.

Nothing here is random: every value follows from a formula, so that a new release of a library changes a reference
file only where that library's answers changed.
"""

import json
import pathlib

import torch

HERE = pathlib.Path(__file__).resolve().parent


def values(shape, seed=0, low=-1.0, high=1.0):
    """A float64 tensor of distinct three-decimal numbers spread over low..high (up to 1009 of them)."""
    count = 1
    for size in shape:
        count *= size
    assert count < 1009, "7919 * i mod 1009 repeats after 1009 values"
    data = [round(low + (high - low) * ((7919 * (i + 1) + 104729 * seed) % 1009) / 1009, 3) for i in range(count)]
    return torch.tensor(data, dtype=torch.float64).reshape(shape)


def plain(tensor):
    """A tensor as {"shape", "data"[, "dtype"]}; floats carry all their digits, "dtype" is written for the rest."""
    tensor = tensor.detach()
    entry = {"shape": list(tensor.shape)}
    if tensor.dtype == torch.bool:
        entry["dtype"] = "u8"
        tensor = tensor.to(torch.uint8)
    elif not tensor.dtype.is_floating_point:
        entry["dtype"] = "i64"
    entry["data"] = [number(value) for value in tensor.flatten().tolist()]
    return entry


def number(value):
    """JSON has no infinities: they are written as strings."""
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return value


def write(name, header, **lists):
    """Writes `name` beside the scripts: the header's entries, then each list with one entry a line."""
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in header.items()]
    for key, entries in lists.items():
        lines = ",\n".join(json.dumps(entry, allow_nan=False, separators=(",", ":")) for entry in entries)
        parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
    path = HERE / name
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB, " + ", ".join(f"{len(v)} {k}" for k, v in lists.items()))
