"""From a location to pyramids: which documents to ask for, in which round."""

from .nodes import (
    Answers,
    ArrayNode,
    GroupNode,
    Node,
    Opening,
    Questions,
    Reading,
    ReadOptions,
    array_key,
    ask,
    group_keys,
    join_path,
    kind_of,
    parse_node,
    raise_failures,
    run_questions_async,
)
from .reader import listed_images, read, read_current

__all__ = [
    "Answers",
    "ArrayNode",
    "GroupNode",
    "Node",
    "Opening",
    "Questions",
    "ReadOptions",
    "Reading",
    "array_key",
    "ask",
    "group_keys",
    "join_path",
    "kind_of",
    "listed_images",
    "parse_node",
    "raise_failures",
    "read",
    "read_current",
    "run_questions_async",
]
