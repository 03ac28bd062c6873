"""From text to nodes: YAML 1.2, of which JSON is a part, within bounds that no document can exceed."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml  # type: ignore[import-untyped] # PyYAML has no types
from orchestrion.shared_types._errors import ConfigInvalid, Problem
from yaml import events
from yaml._yaml import CParser  # type: ignore[import-untyped] # the same

from ._nodes import Mapping, Node, Scalar, Sequence, resolve

MAX_BYTES: Final = 1024 * 1024
"""The largest document that is read by default."""

MAX_DEPTH: Final = 64
"""The deepest nesting that is read; a manifest needs 11."""

MAX_NODES: Final = 500_000
"""The most values of a document after its aliases are replaced; 1 MiB without aliases can't hold more by much."""

MAX_TEXT: Final = 4 * MAX_BYTES
"""The most characters of a document's texts after its aliases are replaced: one long text may stand at many aliases."""

_PREFIX = "tag:yaml.org,2002:"
_MERGE = "<<"
_MERGE_KEY = Scalar(_MERGE, _MERGE, 0, 0)
# What YAML allows, without U+0085, U+2028 and U+2029: they are line breaks to the parser but not in YAML 1.2, and a
# text that has one would be changed without a word.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)


def compose(source: bytes | str, *, file: str = "", max_bytes: int = MAX_BYTES) -> list[Node]:
    """Return the documents of a text; empty ones are left out.

    Raises:
        ConfigInvalid: It is larger than `max_bytes`, is not UTF-8, is not YAML, or exceeds a bound.
    """
    text = _decoded(source, file, max_bytes)
    try:
        return _Composer(text, file).documents()
    except yaml.MarkedYAMLError as err:
        raise _not_yaml(err, text, file) from err
    except yaml.YAMLError as err:
        raise _invalid(f"this is not YAML: {err}", file) from err


def _decoded(source: bytes | str, file: str, max_bytes: int) -> str:
    if len(source) > max_bytes:
        raise too_large(file, max_bytes)
    if isinstance(source, str):
        text = source.removeprefix("\ufeff")
    else:
        if source.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _invalid("this is UTF-16; save it as UTF-8", file, 1, 1)
        try:
            text = source.decode("utf-8-sig")
        except UnicodeDecodeError as err:
            start = source.rfind(b"\n", 0, err.start) + 1
            line = source.count(b"\n", 0, start) + 1
            column = len(source[start : err.start].decode("utf-8", "replace")) + 1
            msg = f"the byte 0x{source[err.start]:02x} is not UTF-8; save the file as UTF-8 text"
            raise _invalid(msg, file, line, column) from err
    found = _FORBIDDEN.search(text)
    if found is not None:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        code = f"\\U{ord(found[0]):08x}" if ord(found[0]) > 0xFFFF else f"\\u{ord(found[0]):04x}"
        msg = f"the character {code} can't stand in a manifest; take it out, or write it as {code} in double quotes"
        raise _invalid(msg, file, line, column)
    if "\\u" in text and text.lstrip()[:1] in ("{", "["):
        # JSON writes characters beyond U+FFFF as two escapes, for which YAML has one.
        text = _SURROGATES.sub(_joined, text)
    return text


def _joined(found: re.Match[str]) -> str:
    high, low = int(found[2], 16), int(found[3], 16)
    return f"{found[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


class _Composer:
    """Makes nodes of the parser's events, without recursion, so that no nesting can exhaust the stack."""

    def __init__(self, text: str, file: str) -> None:
        self._parser = CParser(text)
        self._file = file
        self._anchors: dict[str, Node | None] = {}

    def documents(self) -> list[Node]:
        found: list[Node] = []
        while True:
            match self._parser.get_event():
                case events.StreamEndEvent():
                    return found
                case events.DocumentStartEvent():
                    self._anchors.clear()
                    root = self._document()
                    if not (isinstance(root, Scalar) and root.value is None):
                        found.append(root)

    def _document(self) -> Node:
        stack: list[Sequence | Mapping] = []
        keys: list[Scalar | None] = []
        names: list[str | None] = []
        get_event = self._parser.get_event
        while True:
            event = get_event()
            kind = type(event)
            if kind is events.ScalarEvent:
                node: Node = self._scalar(event)
                if event.anchor is not None:
                    self._anchors[event.anchor] = node
            elif kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
                if len(stack) >= MAX_DEPTH:
                    raise self._error(event, f"this is nested more than {MAX_DEPTH} deep")
                if kind is events.MappingStartEvent:
                    self._check_tag(event, "map")
                    stack.append(Mapping(event.start_mark.line + 1, event.start_mark.column + 1))
                else:
                    self._check_tag(event, "seq")
                    stack.append(Sequence(event.start_mark.line + 1, event.start_mark.column + 1))
                keys.append(None)
                names.append(event.anchor)
                if event.anchor is not None:
                    self._anchors[event.anchor] = None
                continue
            elif kind is events.AliasEvent:
                node = self._alias(event)
            else:
                node = stack.pop()
                keys.pop()
                if isinstance(node, Mapping) and node.merged:
                    _merge(node)
                anchor = names.pop()
                if anchor is not None:
                    self._anchors[anchor] = node
            if not stack:
                # The end of the document.
                get_event()
                return node
            parent = stack[-1]
            parent.size += node.size
            parent.length += node.length
            if parent.length > MAX_TEXT:
                raise self._error(event, f"this has more than {MAX_TEXT} characters when its aliases are replaced")
            if parent.size > MAX_NODES:
                raise self._error(event, f"this has more than {MAX_NODES} values when its aliases are replaced")
            if isinstance(parent, Sequence):
                parent.items.append(node)
                continue
            key = keys[-1]
            if key is None:
                keys[-1] = self._key(parent, node, event)
            else:
                self._add(parent, key, node)
                keys[-1] = None

    def _key(self, parent: Mapping, node: Node, event: Any) -> Scalar:
        if not isinstance(node, Scalar):
            raise self._error(event, f"a key is a text, not {node.words}", node)
        if node.text in parent.entries:
            first = parent.entries[node.text][0]
            raise self._error(event, f"the key {node.text!r:.80} stands here twice; first in line {first.line}", node)
        # In quotes it is a text like any other.
        merges = node.text == _MERGE and isinstance(event, events.ScalarEvent) and event.implicit[0]
        return _MERGE_KEY if merges else node

    def _add(self, parent: Mapping, key: Scalar, node: Node) -> None:
        if key is not _MERGE_KEY:
            parent.entries[key.text] = (key, node)
            return
        for source in node.items if isinstance(node, Sequence) else [node]:
            if not isinstance(source, Mapping):
                raise self._error(None, f"<< merges mappings, not {source.words}", source)
            parent.merged.append(source)

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            raise self._error(event, f"nothing is anchored as {event.anchor!r:.80} above")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._error(event, f"{event.anchor!r:.80} contains itself")
        return node

    def _scalar(self, event: Any) -> Scalar:
        text = event.value
        mark = event.start_mark
        tag = event.tag
        if tag is None or tag == "!":
            value = resolve(text) if event.implicit[0] else text
            return Scalar(text, value, mark.line + 1, mark.column + 1)
        value = text
        if tag != f"{_PREFIX}str":
            value = resolve(text)
            name = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}[type(value)]
            if name == "int" and tag == f"{_PREFIX}float":
                value = float(str(value))
            elif tag != f"{_PREFIX}{name}":
                raise self._error(event, f"the tag {tag.replace(_PREFIX, '!!')!r:.80} does not go with {text!r:.80}")
        return Scalar(text, value, mark.line + 1, mark.column + 1)

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", f"{_PREFIX}{kind}"):
            raise self._error(event, f"the tag {event.tag.replace(_PREFIX, '!!')!r:.80} is not known; leave it out")

    def _error(self, event: Any, message: str, node: Node | None = None) -> ConfigInvalid:
        if node is not None:
            return _invalid(message, self._file, node.line, node.column)
        mark = event.start_mark
        return _invalid(message, self._file, mark.line + 1, mark.column + 1)


def _merge(node: Mapping) -> None:
    for source in node.merged:
        for key, entry in source.entries.items():
            node.entries.setdefault(key, entry)


def too_large(file: str, max_bytes: int) -> ConfigInvalid:
    """Return the error for a document that exceeds the bound."""
    return _invalid(
        f"this is larger than {max_bytes} bytes, which no manifest should be; split it, or check the name", file
    )


def _not_yaml(err: yaml.MarkedYAMLError, text: str, file: str) -> ConfigInvalid:
    mark = err.problem_mark or err.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    lines = text.split("\n", line)
    at = lines[line - 1][column - 1 : column] if 0 < line <= len(lines) else ""
    if at == "\t":
        return _invalid("a tab can't indent YAML; use spaces", file, line, column)
    because = f"{err.problem or 'unreadable'}{f' {err.context}' if err.context else ''}"
    hint = ""
    if at in ("%", "@", "`", "*", "&", "!"):
        hint = f"; put a text that begins with {at} in quotes"
    elif "mapping values" in because:
        hint = "; put a text that has ': ' in quotes, or check the indentation"
    elif "surrogate" in because or "Unicode character escape" in because:
        hint = "; half of a surrogate pair is no character"
    return _invalid(f"this is not YAML: {because}{hint}", file, line, column)


def _invalid(message: str, file: str, line: int = 0, column: int = 0) -> ConfigInvalid:
    return ConfigInvalid((Problem(message, file=file, line=line, column=column),))
