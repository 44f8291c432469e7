"""The author's source: one file, or a zip of pure Python, as modules in memory."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import io
import linecache
import sys
import tomllib
import zipfile
import zlib
from pathlib import PurePosixPath

import library

#: Bytes of all files of a zip together, and how many there may be.
LARGEST = 16 << 20
MOST_FILES = 2_000
#: Packages that a plugin's own modules must not hide.
RESERVED = {"trainyard", "wit_world", "engine", "library", "source", "raised", "checks", "bindings"}


class SourceError(Exception):
    """A file that is no plugin, with what to do about it."""


class Source:
    """Files by path, and modules by name."""

    def __init__(self, content: bytes, name: str) -> None:
        #: What pyproject.toml says under `[project]` and `[tool.trainyard]`.
        self.project: dict = {}
        self.tool: dict = {}
        #: Text of each Python file, by the path that messages show.
        self.files: dict[str, str] = {}
        #: Path of each module, by its name, and which of them are packages.
        self.modules: dict[str, str] = {}
        self.packages: set[str] = set()
        if content.startswith(b"PK\x03\x04"):
            self._unpack(content)
        else:
            path = name if name.endswith(".py") else "plugin.py"
            stem = path.rpartition("/")[2].removesuffix(".py")
            self._add(path, "".join(c if c.isalnum() else "_" for c in stem) or "plugin", content)

    def _add(self, path: str, module: str, content: bytes) -> None:
        self.files[path] = decoded(content, path)
        self.modules[module] = path

    def _unpack(self, content: bytes) -> None:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entries = self._entries(archive)
                read = {path: self._read(archive, entry, path) for path, entry in entries.items()}
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
            raise SourceError(f"the zip is damaged, encrypted or of a kind that is not known: {error}") from None
        root = self._root(read)
        for path, data in read.items():
            if path == f"{root}pyproject.toml":
                self._read_project(data, path)
        # A project keeps its modules beside pyproject.toml, or in src.
        sources = f"{root}src/" if any(path.startswith(f"{root}src/") for path in read) else root
        for path, data in read.items():
            if not path.endswith(".py") or not path.startswith(sources):
                continue
            parts = path[len(sources) :].removesuffix(".py").split("/")
            if parts[-1] == "__init__":
                parts.pop()
                if not parts:
                    raise SourceError(f"{path}: a package needs a folder with its name")
                self.packages.add(".".join(parts))
            if not all(part.isidentifier() for part in parts):
                continue
            self._add(path, ".".join(parts), data)
        for module in list(self.modules):
            # Folders without __init__.py are packages, too.
            for end in range(1, module.count(".") + 1):
                self.packages.add(".".join(module.split(".")[:end]))
        if not self.modules:
            raise SourceError("the zip holds no Python modules: put .py files into it, or a package's folder")
        self._check_names()

    def _entries(self, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
        entries, total = {}, 0
        infos = archive.infolist()
        if len(infos) > MOST_FILES:
            raise SourceError(f"the zip holds {len(infos)} files, more than {MOST_FILES}")
        for entry in infos:
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in entry.filename or "\0" in entry.filename:
                raise SourceError(f"the zip holds {entry.filename!r}, a path that leads out of it; pack the folder again")
            if entry.is_dir() or "__pycache__" in path.parts or any(part.startswith(".") for part in path.parts):
                continue
            if path.suffix in {".so", ".pyd", ".dll", ".dylib"}:
                raise SourceError(f"{path}: native code cannot run in the sandbox; a plugin is pure Python")
            if (entry.external_attr >> 16) & 0o170000 == 0o120000:
                raise SourceError(f"{path}: a link; put the file itself into the zip")
            if path.suffix != ".py" and path.name != "pyproject.toml":
                continue
            total += entry.file_size
            if total > LARGEST:
                raise SourceError(f"the zip unpacks to more than {LARGEST >> 20} MiB of Python, too much for a plugin")
            if str(path) in entries:
                raise SourceError(f"the zip holds {path} twice; pack the folder again")
            entries[str(path)] = entry
        return entries

    @staticmethod
    def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str) -> bytes:
        with archive.open(entry) as file:
            data = file.read(entry.file_size + 1)
        if len(data) != entry.file_size:
            raise SourceError(f"{path}: the zip says that it has {entry.file_size} bytes, and it has others; pack it again")
        return data

    @staticmethod
    def _root(paths) -> str:
        """The folder that everything lies in, where a zip was made of one folder without being a package itself."""
        tops = {path.partition("/")[0] for path in paths}
        if len(tops) != 1:
            return ""
        top = tops.pop()
        inside = [path for path in paths if path.startswith(f"{top}/")]
        if len(inside) != len(list(paths)) or f"{top}/__init__.py" in paths:
            return ""
        return f"{top}/"

    def _read_project(self, data: bytes, path: str) -> None:
        try:
            document = tomllib.loads(decoded(data, path))
        except tomllib.TOMLDecodeError as error:
            raise SourceError(f"{path}: {error}") from None
        project, tool = document.get("project", {}), document.get("tool", {})
        self.project = project if isinstance(project, dict) else {}
        tool = tool.get("trainyard", {}) if isinstance(tool, dict) else {}
        self.tool = tool if isinstance(tool, dict) else {}

    def _check_names(self) -> None:
        for module, path in self.modules.items():
            top = module.partition(".")[0]
            if top in RESERVED:
                raise SourceError(f"{path}: the name {top} is Trainyard's own; rename the module")
            if top in sys.builtin_module_names or top in sys.stdlib_module_names:
                raise SourceError(f"{path}: it hides Python's own module {top}; rename the module")

    def install(self) -> None:
        """Lets the modules be imported, and nothing else that is not there already."""
        for path, text in self.files.items():
            linecache.cache[path] = (len(text), None, text.splitlines(True), path)
        sys.meta_path[:] = [Finder(self)]
        sys.path_hooks.clear()
        sys.path.clear()

    def entries(self) -> list[str]:
        """The modules that are imported to find the algorithm."""
        wanted = self.tool.get("module")
        if wanted is not None:
            if wanted not in self.modules and wanted not in self.packages:
                raise SourceError(f"pyproject.toml: [tool.trainyard] module = {wanted!r} is not in the zip")
            return [wanted]
        return sorted(name for name in self.modules if not name.rpartition(".")[2].startswith(("test_", "setup")))


def decoded(content: bytes, path: str) -> str:
    """Text of a file, as UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: it is not UTF-8 (byte {error.start}); save it as UTF-8") from None


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports from memory, and says what to do without what is not there."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def find_spec(self, fullname, path=None, target=None):
        """The author's own module of that name; an error for any other."""
        source = self._source
        if fullname in source.modules or fullname in source.packages:
            package = fullname in source.packages
            origin = source.modules.get(fullname)
            spec = importlib.machinery.ModuleSpec(fullname, self, origin=origin, is_package=package)
            spec.has_location = origin is not None
            return spec
        if fullname in sys.builtin_module_names and fullname not in library.REMEDIES:
            return importlib.machinery.BuiltinImporter.find_spec(fullname)
        parent = fullname.rpartition(".")[0]
        if parent in source.packages:
            return None
        raise ModuleNotFoundError(f"No module named {fullname!r} in the sandbox; {library.remedy(fullname)}", name=fullname)

    def create_module(self, spec):
        """The usual one."""
        return None

    def get_source(self, fullname):
        """The text of a module."""
        path = self._source.modules.get(fullname)
        return self._source.files[path] if path else ""

    def get_code(self, fullname):
        """The code of a module, with the path that messages show."""
        path = self._source.modules.get(fullname)
        return compile(self.get_source(fullname), path or f"<{fullname}>", "exec", dont_inherit=True)

    def is_package(self, fullname):
        """Whether modules may lie under it."""
        return fullname in self._source.packages
