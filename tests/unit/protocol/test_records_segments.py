"""Segments: what is written is read; what was damaged or torn is never read as something else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelworks.core.errors import UnavailableError
from modelworks.core.records import Record
from modelworks.protocol.records import OPEN, SegmentWriter, read_segment, sealed_segments
from modelworks.protocol.records.frames import MAGIC, encode_frame, whole_frames
from modelworks.protocol.records.segments import recover


def _record(number: int) -> Record:
    at_ns = 1_700_000_000_000_000_000 + number
    return Record(f"r{number}", at_ns, "m", "1.0.0", inputs={"age": [number]})


def _written(folder: Path, *batches: list[Record]) -> Path:
    writer = SegmentWriter(folder)
    for batch in batches:
        writer.write(batch)
    writer.close()
    (path,) = sealed_segments(folder)
    return path


def test_everything_that_a_record_holds_comes_back(tmp_path: Path) -> None:
    full = Record(
        *("id", 5, "m", "1.0.0", "fraud/3", "int8", "team", "key", "b", 503, "why", 2, 9, 1, 2, 3),
        trace="ab" * 16,
        key="k",
        subject="s",
        headers={"x-a": "1"},
        inputs={"a": [1.5, None], "t": ["é", ""]},
        outputs={"y": [[1], [2]]},
        left_out=("outputs",),
    )
    path = _written(tmp_path, [full, _record(1)], [_record(2)])
    assert list(read_segment(path)) == [full, _record(1), _record(2)]


def test_arrays_are_read_back_as_lists_and_what_json_lacks_as_null(tmp_path: Path) -> None:
    inputs: dict[str, Any] = {
        "x": np.array([1.5, np.nan, np.inf], np.float32),
        "n": np.array([1, 2**62, 3]),
    }
    path = _written(tmp_path, [Record("a", 1, "m", "1", inputs=inputs)])
    (found,) = read_segment(path)
    assert found.inputs == {"x": [1.5, None, None], "n": [1, 2**62, 3]}


def test_a_flipped_byte_hides_its_frame_and_those_behind_and_nothing_else(tmp_path: Path) -> None:
    whole = _written(tmp_path, *[[_record(n)] for n in range(3)]).read_bytes()
    frames = list(whole_frames(whole))
    for place in range(len(whole)):
        for flip in (0x01, 0x80):
            data = bytearray(whole)
            data[place] ^= flip
            kept = [] if place < len(MAGIC) else [frame for frame in frames if frame[0] <= place]
            assert list(whole_frames(bytes(data))) == kept


def test_a_cut_anywhere_leaves_what_was_whole_before(tmp_path: Path) -> None:
    whole = _written(tmp_path, *[[_record(n)] for n in range(3)]).read_bytes()
    frames = list(whole_frames(whole))
    for size in range(len(whole)):
        kept = [frame for frame in frames if frame[0] <= size]
        assert list(whole_frames(whole[:size])) == kept


def test_a_reader_says_how_much_it_could_not_read(tmp_path: Path) -> None:
    path = _written(tmp_path, [_record(1)], [_record(2)])
    path.write_bytes(path.read_bytes()[:-1])
    lost: list[int] = []
    assert list(read_segment(path, lost.append)) == [_record(1)]
    assert lost[0] > len(MAGIC)


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(0, 3))
def test_rubbish_behind_is_never_read(rubbish: bytes, frames: int) -> None:
    data = MAGIC + b"".join(encode_frame([_record(n)]) for n in range(frames))
    assert len(list(whole_frames(data + rubbish))) == frames


def test_what_a_dead_writer_left_is_cut_and_closed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    torn = tmp_path / f"000{OPEN}"
    torn.write_bytes(MAGIC + encode_frame([_record(1)]) + encode_frame([_record(2)])[:-1])
    (tmp_path / f"001{OPEN}").write_bytes(MAGIC[:3])
    writer = SegmentWriter(tmp_path)
    writer.write([_record(3)])
    (found,) = recover(tmp_path)
    lost: list[int] = []
    assert list(read_segment(found, lost.append)) == [_record(1)]
    assert not lost
    assert len(list(tmp_path.glob(f"*{OPEN}"))) == 1, "the writer's own"
    writer.close()
    assert [list(read_segment(path)) for path in sealed_segments(tmp_path)] == [
        [_record(1)],
        [_record(3)],
    ]


def test_a_killed_process_leaves_what_it_wrote(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from modelworks.core.records import Record\n"
        "from modelworks.protocol.records import SegmentWriter\n"
        "SegmentWriter(Path(sys.argv[1])).write([Record('a', 1, 'm', '1')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    (found,) = recover(tmp_path)
    assert [record.id for record in read_segment(found)] == ["a"]


def test_segments_are_closed_by_size_and_by_age(tmp_path: Path) -> None:
    by_size = SegmentWriter(tmp_path / "size", segment_bytes=300)
    for number in range(3):
        by_size.write([_record(10 * number + n) for n in range(20)])
    assert len(sealed_segments(tmp_path / "size")) == 3
    by_age = SegmentWriter(tmp_path / "age", segment_s=0.0)
    by_age.write([_record(1)])
    assert len(sealed_segments(tmp_path / "age")) == 1
    by_age.close()


def test_a_full_folder_takes_nothing_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelworks.protocol.records.segments._LOOK_S", 0.0)
    writer = SegmentWriter(tmp_path, segment_s=0.0, folder_bytes=10)
    writer.write([_record(1)])
    with pytest.raises(UnavailableError, match="modelworks up"):
        writer.write([_record(2)])
    sealed_segments(tmp_path)[0].unlink()
    writer.write([_record(3)])
    assert [list(read_segment(path)) for path in sealed_segments(tmp_path)] == [[_record(3)]]


def test_a_disk_that_takes_half_a_frame_is_left_with_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SegmentWriter(tmp_path)
    writer.write([_record(1)])
    write = os.write

    def half(file: int, data: memoryview) -> int:
        if len(data) < 40:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(UnavailableError, match="No space left"):
            writer.write([_record(2)])
    writer.write([_record(3)])
    writer.close()
    lost: list[int] = []
    assert list(read_segment(sealed_segments(tmp_path)[0], lost.append)) == [_record(1), _record(3)]
    assert not lost


def test_segments_are_their_owners_alone(tmp_path: Path) -> None:
    path = _written(tmp_path / "segments", [_record(1)])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
