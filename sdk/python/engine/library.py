"""What of Python's library a plugin can import. A module that is not imported while the engine is built does not exist later."""

# ruff: noqa
import abc, argparse, array, ast, base64, binascii, bisect, calendar, cmath, codecs, collections, collections.abc, configparser
import contextlib, contextvars, copy, csv, dataclasses, datetime, decimal, difflib, enum, errno, fnmatch, fractions, functools
import gc, graphlib, hashlib, heapq, hmac, html, importlib, importlib.abc, importlib.machinery, importlib.resources, importlib.util
import inspect, io, itertools, json, keyword, linecache, locale, logging, math, numbers, operator, os, os.path, pathlib, pickle
import platform, pprint, queue, random, re, reprlib, secrets, shlex, statistics, string, struct, sys, tempfile, textwrap, threading
import time, timeit, tokenize, tomllib, traceback, types, typing, unicodedata, unittest, uuid, warnings, weakref, zipfile, zlib
import _pydatetime, _strptime
import encodings.ascii, encodings.cp437, encodings.cp1252, encodings.idna, encodings.latin_1, encodings.utf_8, encodings.utf_8_sig, encodings.utf_16

#: Modules that a plugin cannot have, and what to do without them.
REMEDIES = {
    "numpy": "use trainyard's tensors: `import trainyard as torch` has most of what numpy has",
    "pandas": "the host reads, cleans and splits the data; `data.train.column(name)` gives a column",
    "scipy": "use trainyard.linalg and tensors",
    "sklearn": "derive from trainyard.Estimator, and compute with trainyard's tensors",
    "torch": "write `import trainyard as torch`, `from trainyard import nn, optim`",
    "tensorflow": "use trainyard.nn and trainyard.optim",
    "jax": "use trainyard's tensors",
    "keras": "use trainyard.nn",
    "tqdm": "call update_progress: the host shows progress",
    "matplotlib": "report metrics: the host draws them",
    "socket": "a plugin has no network: the host brings the data",
    "ssl": "a plugin has no network: the host brings the data",
    "http": "a plugin has no network: the host brings the data",
    "urllib": "a plugin has no network: the host brings the data",
    "requests": "a plugin has no network: the host brings the data",
    "httpx": "a plugin has no network: the host brings the data",
    "ctypes": "a plugin has no native code: compute with trainyard's tensors",
    "cffi": "a plugin has no native code: compute with trainyard's tensors",
    "subprocess": "a plugin cannot start programs",
    "multiprocessing": "a plugin is one process with one thread; the host computes on several",
    "concurrent": "a plugin is one process with one thread; the host computes on several",
    "asyncio": "a plugin is one thread, and waits for nothing",
    "_thread": "a plugin is one thread",
    "sqlite3": "a plugin has no files: what train returns is stored",
    "dbm": "a plugin has no files: what train returns is stored",
    "shutil": "a plugin has no files: what train returns is stored",
    "glob": "a plugin has no files: what train returns is stored",
}

#: For every other module.
REMEDY = "a plugin can import trainyard, most of Python's library, and the modules in its own zip"


def remedy(module: str) -> str:
    """What to do without a module."""
    return REMEDIES.get(module.partition(".")[0], REMEDY)
