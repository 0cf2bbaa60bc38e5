"""What says that a file was replaced."""

import os

import pytest

from modelworks.core.files import mark_of, replace_text

pytestmark = pytest.mark.unit


def test_a_replaced_file_has_another_mark(tmp_path):
    path = tmp_path / "a"
    assert mark_of(path) is None
    replace_text(path, "one")
    first = mark_of(path)
    assert first == mark_of(path)
    replace_text(path, "two")
    assert mark_of(path) != first


def test_a_file_of_the_same_size_and_time_has_another_mark(tmp_path):
    path = tmp_path / "a"
    replace_text(path, "one")
    first = mark_of(path)
    kept = tmp_path / "kept"  # keeps the inode taken
    os.link(path, kept)
    replace_text(path, "two")
    os.utime(path, ns=(0, first[1]))
    assert mark_of(path)[1:] == first[1:]
    assert mark_of(path) != first


def test_a_link_that_is_turned_round_is_a_change(tmp_path):
    (tmp_path / "1").write_text("x")
    (tmp_path / "2").write_text("x")
    link = tmp_path / "now"
    link.symlink_to("1")
    first = mark_of(link)
    link.unlink()
    link.symlink_to("2")
    assert mark_of(link) != first
