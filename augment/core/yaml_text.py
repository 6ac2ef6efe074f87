"""Strict reading of YAML that people write by hand; errors name the line, without a traceback."""

from __future__ import annotations

import math
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from augment.core.errors import InputError, Problem

LARGEST = 1_000_000  # characters: parameters are some kilobytes
DEEPEST = 50  # levels
MOST_VALUES = 100_000  # with every alias (`*name`) expanded
LONGEST_NUMBER = 100  # characters; Python's own limit of some thousand digits does not cover every notation
MERGE_TAG = "tag:yaml.org,2002:merge"


def parse_yaml(text: str, where: str) -> Any:
    """Parses one YAML document.

    Dates stay text, because no setting is a date.

    Args:
        text: The document.
        where: The document's name in errors.

    Raises:
        InputError: The text is not YAML, contains a key twice or an invalid value (a number that is not finite or has
            thousands of digits), or is too long, too deep or too large once its aliases are expanded.
    """
    if len(text) > LARGEST:
        raise InputError(
            Problem(where, f"has {len(text):,} characters, more than {LARGEST:,}", "is it the right file?")
        )
    loader: _Loader | None = None
    try:
        loader = _Loader(text)  # refuses control characters
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_bombs(root)
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise InputError(_problem_of(error, where)) from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which itself lets Python's errors through and keeps the last of duplicate keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Composes a node; refuses one that is nested too deep."""
        if self.depth == DEEPEST:
            raise ConstructorError(
                None,
                None,
                f"is nested more than {DEEPEST} levels deep",
                self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Constructs a value; any error names its line."""
        kind = node.tag.rpartition(":")[2]
        shown = node.value if isinstance(node, ScalarNode) else ""
        if len(shown) > LONGEST_NUMBER:
            if kind in ("int", "float"):
                why = f"{shown[:10]}... is a number of {len(shown):,} characters"
                raise ConstructorError(None, None, why, node.start_mark)
            shown = f"{shown[:20]}..."
        try:
            value = super().construct_object(node, deep=deep)
        except yaml.YAMLError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ConstructorError(None, None, f"{shown!r} can't be read as {kind}", node.start_mark) from error
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ConstructorError(
                    None, None, f"{value!a} contains half of a surrogate pair", node.start_mark
                ) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise ConstructorError(None, None, f"{value} is not a finite number", node.start_mark)
        return value

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Constructs a mapping without duplicate keys; keys of a merge (`<<`) may be overridden."""
        if isinstance(node, MappingNode):
            seen: dict[Any, int] = {}
            for key_node, _ in node.value:
                if key_node.tag == MERGE_TAG or not isinstance(key_node, ScalarNode):
                    continue
                key = self.construct_object(key_node, deep=True)
                line = key_node.start_mark.line + 1
                if key in seen:
                    why = f"the key {key!r} occurs twice, here and in line {seen[key]}: keep one"
                    raise ConstructorError(None, None, why, key_node.start_mark)
                seen[key] = line
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _refuse_bombs(root: Node) -> None:
    """Refuses aliases that contain themselves or expand to too many values."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size_of(node: Node) -> int:
        if id(node) in open_nodes:
            raise ConstructorError(None, None, "an alias contains itself", node.start_mark)
        if id(node) not in sizes:
            open_nodes.add(id(node))
            inner: list[Node] = []
            if isinstance(node, SequenceNode):
                inner = node.value
            elif isinstance(node, MappingNode):
                inner = [part for pair in node.value for part in pair]
            sizes[id(node)] = 1 + sum(size_of(part) for part in inner)
            open_nodes.remove(id(node))
        if sizes[id(node)] > MOST_VALUES:
            why = f"contains more than {MOST_VALUES:,} values once its aliases are expanded"
            raise ConstructorError(None, None, why, node.start_mark)
        return sizes[id(node)]

    size_of(root)


def _problem_of(error: yaml.YAMLError, where: str) -> Problem:
    """PyYAML's error in one line, with its position."""
    mark = getattr(error, "problem_mark", None)
    why = getattr(error, "problem", None) or " ".join(str(error).split())
    if isinstance(error, ConstructorError) and error.context is None:
        return Problem(f"{where} line {mark.line + 1}" if mark else where, why)
    context = getattr(error, "context", None)
    text = f"is not YAML: {why}" + (f" ({context})" if context else "")
    return Problem(f"{where} line {mark.line + 1}" if mark else where, text)
