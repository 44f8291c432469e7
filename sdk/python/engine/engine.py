"""The Python engine: the exports of the contract, for an algorithm that arrives as text.

Everything at the top of the files runs while the engine is built and is frozen into its image. Later an instance gets one source,
does one thing, and ends.
"""

from __future__ import annotations

import builtins
import importlib
import io
import logging
import os
import random
import sys

import bindings
import checks
import library  # noqa: F401  (imports what plugins may import)
import trainyard
import wit_world.exports
from componentize_py_types import Err
from raised import raised
from source import Source, SourceError
from trainyard import _exports, errors
from wit_world.exports import algorithm
from wit_world.exports.loader import Finding
from wit_world.imports import autograd, dataset, linalg, nn, optim, run, tensor, types

for _module in (autograd, dataset, linalg, nn, optim, run, tensor):
    if bindings.translate(_module, errors.from_host) == 0 and _module is not autograd:
        raise RuntimeError(f"{_module.__name__} raises nothing: the generator writes something else now")


class _State:
    """What this instance has been given."""

    source: Source | None = None
    algorithm: type | None = None
    description: dict | None = None
    last: object = None


def _files() -> dict:
    return _State.source.files if _State.source else {}


def _refuse(what: str):
    def refused(*_, **__):
        raise PermissionError(what)

    return refused


def _shut() -> None:
    """Clear words for what the sandbox would refuse with a number."""
    files = _refuse("a plugin has no files: what train returns is stored, and the data comes from the host")
    programs = _refuse("a plugin cannot start programs")
    builtins.open = io.open = io.FileIO = files
    builtins.input = _refuse("nobody sits at a plugin: make it a parameter")
    for name in ("system", "popen", "fork", "execv", "execve", "spawnv", "posix_spawn", "kill"):
        setattr(os, name, programs)
    for name in ("listdir", "scandir", "mkdir", "makedirs", "remove", "unlink", "rename", "rmdir", "walk"):
        setattr(os, name, files)


def _begin() -> None:
    """What can only be done with a host."""
    random.seed(run.seed())
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")


def _load(content: bytes, name: str) -> None:
    _begin()
    source = Source(content, name)
    _State.source = source
    source.install()
    modules = [importlib.import_module(module) for module in source.entries()]
    cls = _find(source, modules)
    if source.project:
        for key, attribute in (("name", "name"), ("version", "version"), ("description", "summary")):
            value = source.project.get(key)
            if isinstance(value, str) and attribute not in vars(cls):
                setattr(cls, attribute, value)
    _State.algorithm, _State.description = cls, _exports.describe(cls)


def _find(source: Source, modules) -> type:
    """The one algorithm in the author's modules."""
    named = source.tool.get("algorithm")
    found: dict[type, None] = {}
    for module in modules:
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ in source.modules
            if own and issubclass(value, trainyard.Algorithm) and not value.__name__.startswith("_"):
                found[value] = None
    if named is not None:
        found = {cls: None for cls in found if cls.__name__ == named}
    # What others derive from is a base, not the algorithm.
    leaves = [cls for cls in found if not any(other is not cls and issubclass(other, cls) for other in found)]
    if len(leaves) == 1:
        return leaves[0]
    where = ", ".join(source.files)
    if not leaves:
        raise SourceError(
            f"{where}: there is no algorithm; write a class that derives from trainyard.Algorithm (or trainyard.Estimator)"
        )
    names = ", ".join(cls.__name__ for cls in leaves)
    raise SourceError(
        f"{where}: there are several algorithms ({names}); keep one in the file, or begin the names of the others with _"
    )


class Loader(wit_world.exports.Loader):
    """What the host asks beside the contract."""

    def load(self, content, name):
        """Takes the source."""
        try:
            _load(content, name)
        except BaseException as error:
            raise Err(raised(error, _files())) from None
        finally:
            _flush()

    def check(self, content, name):
        """Looks for everything that will not work."""
        try:
            source = Source(content, name)
        except SourceError as error:
            return [Finding(name, 0, str(error), "mend the file")]
        found = checks.static(source)
        if not found:
            try:
                _load(content, name)
            except BaseException as error:
                told = raised(error, _files())
                kind = "" if told.kind == "SourceError" else f"{told.kind}: "
                remedy = "mend the line" if told.line else "see the README of the Python SDK"
                found.append(Finding(told.file or name, told.line or 0, kind + told.message, remedy))
            finally:
                _flush()
        return found

    def last_raised(self):
        """The last exception."""
        return _State.last


class Algorithm(wit_world.exports.Algorithm):
    """The contract's own exports."""

    def describe(self):
        """What the source says about itself; it was asked when it was loaded."""
        said = dict(_State.description)
        said["metrics"] = [algorithm.MetricDescription(*metric) for metric in said["metrics"]]
        return algorithm.Description(**said)

    def train(self, parameters):
        """Trains."""
        tensors, note = _guarded(lambda: _exports.train(_State.algorithm, parameters))
        return algorithm.Model(tensors, note)

    def evaluate(self, parameters, model):
        """Judges."""
        metrics = _guarded(lambda: _exports.evaluate(_State.algorithm, parameters, model.tensors, model.note))
        return [run.Metric(name, value) for name, value in metrics]

    def predict(self, parameters, model):
        """Predicts."""
        return _guarded(lambda: _exports.predict(_State.algorithm, parameters, model.tensors, model.note))


def _guarded(work):
    """An exception becomes an error of the contract; anything else that leaves an export ends the instance."""
    try:
        return work()
    except BaseException as error:
        _State.last = raised(error, _files())
        value = errors.to_host(error)
    finally:
        _flush()
    raise Err(value)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
_shut()
