"""Commands as a person types them, and what they leave."""

from __future__ import annotations

import json

import numpy as np
from click.testing import CliRunner

from napari_omezarr import read_layers
from napari_omezarr.cli import main


def run(*words: object, code: int = 0) -> str:
    """Run a command and give what it prints; it must end with `code`."""
    outcome = CliRunner().invoke(main, [str(word) for word in words])
    assert outcome.exit_code == code, outcome.output
    assert "Traceback" not in outcome.output
    return outcome.output


def run_json(*words: object, code: int = 0):
    return json.loads(run(*words, "--json", code=code))


def assert_equal_pixels(place: object, original: str) -> None:
    for found, expected in zip(read_layers(place), read_layers(original), strict=True):
        np.testing.assert_array_equal(finest(found), finest(expected))


def finest(layer):
    data, options, _ = layer
    return data[0] if options.get("multiscale") else data
