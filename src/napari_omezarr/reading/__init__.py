"""From a location to pyramids: which documents to ask for, in which round."""

from .nodes import (
    ArrayNode,
    GroupNode,
    Node,
    Opening,
    Reading,
    ReadOptions,
    array_key,
    group_keys,
    join_path,
    kind_of,
    parse_node,
    raise_failures,
)
from .reader import listed_images, read, read_current
from .rounds import Answers, Questions, ask, run_questions_async

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
