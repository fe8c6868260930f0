"""The examples in the docstrings of the public names do what they say."""

from __future__ import annotations

import doctest

import pytest

import napari_omezarr


@pytest.mark.parametrize("name", napari_omezarr.__all__)
def test_the_example_of_each_public_name_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = getattr(napari_omezarr, name).__doc__
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert example.examples
    assert "+SKIP" not in text
    told: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(example, out=told.append)
    assert not told, "".join(told)
