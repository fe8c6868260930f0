"""The examples in the docstrings of the public names do what they say."""

from __future__ import annotations

import doctest

import pytest

import napari_omezarr
import napari_omezarr.objects

OBJECTS = ("objects.label_objects", "objects.measure_objects")


@pytest.mark.parametrize("name", [*napari_omezarr.__all__, *OBJECTS])
def test_the_example_of_each_public_name_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    if name in OBJECTS:
        pytest.importorskip("scipy")
        names = vars(napari_omezarr.objects)
        name = name.removeprefix("objects.")
    text = (names.get(name) or getattr(napari_omezarr, name)).__doc__
    example = doctest.DocTestParser().get_doctest(text, dict(names), name, None, None)
    assert example.examples
    assert "+SKIP" not in text
    told: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(example, out=told.append)
    assert not told, "".join(told)
