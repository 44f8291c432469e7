"""Writes what follows from something else: the client's models from the service's OpenAPI document, and its methods that block from
those that are awaited.

    python generate.py http://127.0.0.1:8080/openapi.json [--check]      # needs datamodel-code-generator; `cargo xtask client` does all of it
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

CLIENT = pathlib.Path(__file__).resolve().parent / "src/trainyard/client"

#: Words of the client that is awaited, and of the one that blocks.
WORDS = [
    (r"with methods to be awaited\. `_sync\.py` is made of this file by `sdk/python/generate\.py`\.",
     "with methods that block. Made of `_async.py` by `sdk/python/generate.py`: change it there."),
    (r"import asyncio\n", ""),
    (r"asyncio\.sleep", "time.sleep"),
    (r"\bawait ", ""),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"httpx\.AsyncClient", "httpx.Client"),
    (r"\bAsync(Client|Run|Sweep)\b", r"\1"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\ba(close|read|iter_lines)\b", r"\1"),
]  # fmt: skip


def blocking() -> str:
    text = (CLIENT / "_async.py").read_text()
    for awaited, blocks in WORDS:
        text = re.sub(awaited, blocks, text)
    # `Iterator` stands where `AsyncIterator` did.
    typing = re.search(r"from typing import (.*)\n", text)
    names = ", ".join(sorted(typing.group(1).split(", ")))
    return text.replace(typing.group(0), f"from typing import {names}\n")


#: What a server checks anyway, and only makes types harder to read.
CONSTRAINTS = {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "propertyNames", "example", "examples"}


def bare(schema: object) -> object:
    """A schema without constraints."""
    if isinstance(schema, list):
        return [bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    named = {"properties", "schemas"}
    return {
        key: {name: bare(inner) for name, inner in value.items()} if key in named else bare(value)
        for key, value in schema.items()
        if key not in CONSTRAINTS
    }


def models(openapi: str) -> str:
    with urllib.request.urlopen(openapi) as answer:
        document = json.load(answer)
    schemas = document["components"]["schemas"]
    # Envelopes are opened before anyone sees them, and have their content once more.
    document["components"]["schemas"] = {name: bare(schema) for name, schema in schemas.items() if not name.startswith("Envelope_")}
    document["paths"] = {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "openapi.json", pathlib.Path(folder) / "models.py"
        source.write_text(json.dumps(document))
        header = '"""What the service takes and gives. Made of its OpenAPI document by `sdk/python/generate.py`: do not change it."""'
        command = [
            sys.executable, "-m", "datamodel_code_generator", "--input", str(source), "--input-file-type", "openapi",
            "--output", str(target), "--output-model-type", "pydantic_v2.BaseModel", "--target-python-version", "3.10",
            "--use-standard-collections", "--use-union-operator", "--use-schema-description", "--use-field-description",
            "--collapse-root-models", "--strict-nullable", "--use-subclass-enum", "--disable-warnings", "--disable-timestamp", "--extra-fields", "allow",
            "--custom-file-header", header, "--formatters", "builtin",
        ]  # fmt: skip
        subprocess.run(command, check=True)
        return target.read_text()


def main() -> None:
    openapi, *rest = sys.argv[1:]
    drifted = []
    for path, text in [(CLIENT / "models.py", models(openapi)), (CLIENT / "_sync.py", blocking())]:
        if rest == ["--check"]:
            if not path.is_file() or path.read_text() != text:
                drifted.append(path.name)
        else:
            path.write_text(text)
    if drifted:
        sys.exit(f"{' and '.join(drifted)} of the client are not what they should be made of: run `cargo xtask client`")


if __name__ == "__main__":
    main()
