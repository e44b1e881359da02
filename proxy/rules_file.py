"""Read rules.yaml, say everything that is wrong with it, and notice when it changes. The only importer of yaml.

YAML is read by its events, within bounds, into nothing but text, whole numbers, true, false, null, lists and mappings:
aliases, anchors, tags, merge keys, duplicate keys and a second document are refused, and numbers with a fraction stay
text so that they become exact decimals. Nothing in a file can make reading it slow, large or dangerous.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import inspect
import re
import ssl
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import yaml

from proxy.core.model import RuleSet
from proxy.core.rules_checks import Path, path_text
from proxy.rules_mistakes import Marks, Mistake, from_problem, from_schema, make, translate, without, worth_telling

__all__ = ["Loaded", "Mistake", "check_report", "load_file", "load_text", "watch"]

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_MISTAKES = 200  # more of them help nobody
CLEAN, MISTAKEN, UNREADABLE = 0, 1, 2

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a rules file gave. rules is None as soon as there is a mistake; warnings never prevent rules.

    readable is False when there was no text to judge: no such file, a directory, too large, not UTF-8.
    """

    rules: RuleSet | None
    mistakes: tuple[Mistake, ...] = ()
    warnings: tuple[Mistake, ...] = ()
    readable: bool = True


def load_file(path: str | FilePath, env: Mapping[str, str]) -> Loaded:
    """Read and check a rules file. Never raises for what is in the file, or for a file that cannot be read."""
    file = FilePath(path)
    source = str(path)
    try:
        found = file.stat()  # before opening: a pipe would wait for a writer, a huge file need not be read
        if stat.S_ISDIR(found.st_mode):
            return _unreadable(source, "directory")
        if not stat.S_ISREG(found.st_mode):
            return _unreadable(source, "no_file")
        if found.st_size > MAX_BYTES:
            return _unreadable(source, "too_large", most=f"{MAX_BYTES:,}")
        with file.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return _unreadable(source, "missing_file")
    except (OSError, ValueError) as error:
        return _unreadable(source, "unreadable", why=getattr(error, "strerror", None) or "not a path")
    return load_text(text, source, env)


def load_text(text: bytes | str, source: str = "rules.yaml", env: Mapping[str, str] | None = None) -> Loaded:
    """Check the text of a rules file and make its rule set. Never raises for what is in the text.

    source: the file's name for messages. env: variables for `${NAME}` and `key_env`.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        return _unreadable(source, "too_large", most=f"{MAX_BYTES:,}")
    try:
        readable = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _unreadable(source, "not_utf8", at=_place(raw, error.start))
    if (nul := readable.find("\0")) >= 0:
        return _unreadable(source, "nul", at=_place(readable, nul))
    reader = _Reader(readable, source)
    data = reader.read()
    if reader.mistakes and (reader.fatal or not isinstance(data, dict)):
        return Loaded(None, _in_order(reader.mistakes))
    if not isinstance(data, dict):
        key = "empty_file" if data is None else "root_not_mapping"
        return Loaded(None, (make(source, reader.marks.value(()), "", key, "start_with_version"),))
    digest = hashlib.sha256(raw).hexdigest()[:12]
    return _check(data, reader.marks, list(reader.mistakes), source, env or {}, digest)


def check_report(path: str | FilePath, env: Mapping[str, str], language: str = "en") -> tuple[int, tuple[Mistake, ...]]:
    """(exit status, mistakes and warnings in order) of a file: 0 clean, 1 with mistakes, 2 unreadable."""
    loaded = load_file(path, env)
    found = tuple(mistake.in_language(language) for mistake in _in_order([*loaded.mistakes, *loaded.warnings]))
    status = UNREADABLE if not loaded.readable else MISTAKEN if loaded.mistakes else CLEAN
    return status, found


def _unreadable(source: str, key: str, at: tuple[int, int] = (1, 1), **values: str) -> Loaded:
    hint = {"missing_file": "init", "not_utf8": "utf8", "nul": "utf8"}.get(key)
    return Loaded(None, (make(source, at, "", key, hint, values),), readable=False)


def _place(text: bytes | str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    if isinstance(before, bytes):
        before = before.decode("utf-8", "replace")
    lines = before.split("\n")
    return len(lines), len(lines[-1]) + 1


def _in_order(mistakes: list[Mistake]) -> tuple[Mistake, ...]:
    unique = {(m.line, m.column, m.path, m.message): m for m in mistakes}
    return tuple(sorted(unique.values(), key=lambda m: (m.line, m.column, m.path)))[:MAX_MISTAKES]


# --- grammar and meaning --------------------------------------------------------------------------------------------


def _check(
    data: dict[str, Any], marks: Marks, mistakes: list[Mistake], source: str, env: Mapping[str, str], digest: str
) -> Loaded:
    # the grammar's library takes a tenth of a second to import: only now
    from pydantic import ValidationError

    from proxy.core.rules import compile_rules
    from proxy.rules_schema import RulesFile, plain
    from proxy.rules_values import show

    broken: set[Path] = set()
    rest: Any = data
    origin: dict[Path, Path] | None = None
    for attempt in range(8):
        try:
            document = plain(RulesFile.model_validate(rest))
            break
        except ValidationError as error:
            # only the first round is told; the later ones find what taking broken parts away has broken
            errors = error.errors(include_url=False)
            for found in errors[:MAX_MISTAKES]:
                at = tuple(part for part in found["loc"] if part != "[key]")
                if attempt == 0:
                    mistakes.append(from_schema(found, marks, source, show))
                whole = at[:-1] if found["type"] == "missing" else at
                broken.add(marks.clean(translate(whole, origin or {})))
            if () in broken or len(errors) > MAX_MISTAKES:
                return Loaded(None, _in_order(mistakes))
            rest, origin = without(data, frozenset(broken))
    else:
        return Loaded(None, _in_order(mistakes))

    def in_file(at: Path) -> Path:
        return at if origin is None else translate(at, origin)

    compiled = compile_rules(
        document, env, source, digest, lambda at: marks.value(marks.clean(in_file(at)))[0], _certificates_beside(source)
    )
    warnings: list[Mistake] = []
    for problem in compiled.problems:
        at = in_file(problem.at)
        if broken and not worth_telling(problem, at, broken):
            continue
        moved = from_problem(dataclasses.replace(problem, at=at), marks, source)
        (warnings if problem.warning else mistakes).append(moved)
    rules = None if mistakes else compiled.rules
    return Loaded(rules, _in_order(mistakes), _in_order(warnings))


def _certificates_beside(source: str) -> Callable[[str], tuple[str | None, str]]:
    """Reads the certificates that a rules file names, relative to it: (text, "") or (None, why not)."""

    def read(name: str) -> tuple[str | None, str]:
        path = FilePath(source).parent / FilePath(name).expanduser()
        try:
            if path.stat().st_size > MAX_BYTES:
                return None, f"it is larger than {MAX_BYTES:,} bytes"
            text = path.read_text("ascii", "replace")
            ssl.create_default_context(cadata=text)
        except OSError as error:
            return None, "it holds no PEM certificates" if isinstance(error, ssl.SSLError) else error.strerror or "?"
        except ValueError:
            return None, "it holds no PEM certificates"
        return text, ""

    return read


# --- YAML -----------------------------------------------------------------------------------------------------------

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]{0,39})", re.ASCII)


class _Refused(Exception):
    """Reading cannot go on; the mistake is noted already."""


class _Reader:
    """Builds plain values from YAML events. Afterwards: `mistakes`, `marks`, and `fatal` if the values are no use."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.marks = Marks()
        self.mistakes: list[Mistake] = []
        self.fatal = False
        self.nodes = 0
        self.events: Iterator[Any] = iter(())

    def read(self) -> Any:
        """The document's value, None for an empty file."""
        data: Any = None
        documents = 0
        try:
            self.events = yaml.parse(self.text, Loader=_Loader)
            for event in self.events:
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self.refuse(event, (), "two_documents")
                    data = self.build(next(self.events), ())
        except _Refused:
            pass
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            began = error.context_mark.line + 1 if error.context_mark is not None else 0
            self.syntax(place, str(error.problem or error.context or "not YAML"), began)
        except yaml.reader.ReaderError as error:
            self.syntax(self.reader_place(error), "a character that YAML does not allow")
        except (yaml.YAMLError, RecursionError, StopIteration, UnicodeError) as error:
            self.syntax((1, 1), type(error).__name__)
        return data

    def reader_place(self, error: Any) -> tuple[int, int]:
        # the C reader counts bytes, the Python one characters
        raw = self.text.encode("utf-8", "surrogatepass")
        if _Loader is yaml.SafeLoader:
            return _place(self.text, int(error.position))
        return _place(raw, int(error.position))

    def syntax(self, place: tuple[int, int], problem: str, began: int = 0) -> None:
        self.fatal = True
        told = re.sub(r"[^\x20-\x7e]", "?", problem)[:160]
        lines = self.text.split("\n")
        line = lines[place[0] - 1] if place[0] <= len(lines) else ""
        hint = "no_tabs" if "\t" in line[: place[1]] else "began_in" if 0 < began < place[0] else None
        self.mistakes.append(make(self.source, place, "", "syntax", hint, {"problem": told, "line": str(began)}))

    def note(self, event: Any, path: Path, key: str, hint: str | None = None, **values: str) -> None:
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        self.mistakes.append(make(self.source, place, path_text(path), key, hint, values))

    def refuse(self, event: Any, path: Path, key: str, **values: str) -> None:
        self.fatal = True
        self.note(event, path, key, f"{key}_hint", **values)
        raise _Refused

    def build(self, event: Any, path: Path) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.refuse(event, (), "too_many", most=f"{MAX_NODES:,}")
        if len(path) > MAX_DEPTH:
            self.refuse(event, (), "too_deep", most=str(MAX_DEPTH))
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self.refuse(event, path, "alias")
        if getattr(event, "tag", None):
            self.refuse(event, path, "tag")
        self.marks.values[path] = (event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
                items.append(self.build(inner, (*path, len(items))))
            return items
        return self.mapping(path)

    def mapping(self, path: Path) -> dict[str, Any]:
        out: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self.refuse(event, path, "alias" if isinstance(event, yaml.AliasEvent) else "key_not_text")
            if event.anchor or event.tag:
                self.refuse(event, path, "alias" if event.anchor else "tag")
            self.nodes += 1
            name = event.value
            if name == "<<" and event.implicit[0]:
                self.refuse(event, path, "merge")
            inner = (*path, name)
            if name in out:
                first = self.marks.keys[inner]
                self.note(event, inner, "twice_key", "remove_one", got=name[:60], first=str(first[0]))
                self.build(next(self.events), (*path, _SECOND))
                continue
            self.marks.keys[inner] = (event.start_mark.line + 1, event.start_mark.column + 1)
            out[name] = self.build(next(self.events), inner)
        return out


_SECOND = "\0second"  # the value of a key that was there before is read past, under a path that nobody asks for


def _scalar(event: Any) -> Any:
    """YAML's plain scalars, without its surprises: only null, true/false and whole numbers become something else."""
    value: str = event.value
    if not event.implicit[0]:
        return value  # quoted
    if value in _NULL:
        return None
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    if _INTEGER.fullmatch(value):
        return int(value.replace("_", ""))
    return value


# --- watching -------------------------------------------------------------------------------------------------------


async def watch(
    path: str | FilePath,
    on_change: Callable[[], Awaitable[None] | None],
    stop: asyncio.Event | None = None,
    known: str | None = None,
) -> None:
    """Call `on_change` whenever the file's content has changed, until cancelled (or `stop` is set).

    known: the digest of the rules that are in force (`RuleSet.digest`): a file that has changed since they were read
    is told of at once. None: only what changes from now on.

    Watches the directory, so that saving in place, replacing by rename and Kubernetes' swapped symlinks are all seen;
    where the file system tells nothing (some network mounts), a look once a second sees the change. A file that is
    away or empty for a moment, as while it is being saved, is no change.
    """
    from watchfiles import awatch

    directories, signature, before = await asyncio.to_thread(_watched, FilePath(path))
    if known is not None and before is not None and not before.startswith(known):
        await _told(on_change)
    changes = awatch(
        *directories,
        watch_filter=None,
        debounce=100,  # ms; together with step well below a second
        step=30,
        rust_timeout=1000,
        yield_on_timeout=True,
        recursive=False,
        stop_event=stop,
        ignore_permission_denied=True,
    )
    async for told in changes:
        signature, now = await asyncio.to_thread(_look, FilePath(path), None if told else signature)
        if now is None or now == before:
            continue
        before = now
        await _told(on_change)


async def _told(on_change: Callable[[], Awaitable[None] | None]) -> None:
    result = on_change()
    if inspect.isawaitable(result):
        await result


_Signature = tuple[int, int, int]


def _watched(path: FilePath) -> tuple[list[str], _Signature | None, str | None]:
    """The directories to watch (the file's own, and that of what it links to), and the file as it is now."""
    directories = {path.absolute().parent, path.resolve().parent}
    return sorted(str(directory) for directory in directories if directory.is_dir()), *_look(path, None)


def _look(path: FilePath, before: _Signature | None) -> tuple[_Signature | None, str | None]:
    """(what tells a change cheaply, digest of the content); no digest if nothing changed or there is no file now."""
    try:
        found = path.stat()
        signature = (found.st_mtime_ns, found.st_size, found.st_ino)
        if signature == before or not stat.S_ISREG(found.st_mode) or not found.st_size:
            return signature, None
        with path.open("rb") as stream:
            return signature, hashlib.sha256(stream.read(MAX_BYTES + 1)).hexdigest()
    except OSError:
        return before, None
