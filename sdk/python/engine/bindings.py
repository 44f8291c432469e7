"""Makes the generated bindings raise the SDK's exceptions. Runs while the engine is built, never later.

componentize-py writes `raise result` where a function of the host gives an error; that is an `Err` around a value of the
contract, which no author expects. The code of those functions is compiled again with another expression in its place, so that a
call that succeeds costs nothing more.
"""

from types import FunctionType, ModuleType

_RAISED = "raise result"


def translate(module: ModuleType, from_host) -> int:
    """Puts `from_host(value)` in the place of `Err(value)` in all functions of a module; how many there were."""
    with open(module.__file__, encoding="utf-8") as file:
        source = file.read()
    namespace = {"__name__": module.__name__, "__package__": module.__package__, "__file__": module.__file__}
    changed = source.replace(_RAISED, "raise _from_host(result.value)")
    exec(compile(changed, module.__file__, "exec"), namespace)
    module._from_host = from_host
    count = source.count(_RAISED)
    for name, value in list(vars(module).items()):
        _take(value, namespace.get(name), module.__name__)
    return count


def _take(old, new, module: str) -> None:
    """Gives a function the code of its twin, and so on for all functions of a class."""
    if isinstance(old, (classmethod, staticmethod)):
        old, new = old.__func__, new.__func__
    if isinstance(old, FunctionType) and isinstance(new, FunctionType):
        old.__code__ = new.__code__
    elif isinstance(old, type) and isinstance(new, type) and old.__module__ == module:
        for name, value in list(vars(old).items()):
            _take(value, vars(new).get(name), module)
