"""Questions of reflection that come by the thousand: a file is described once."""

import pytest

from modelworks.protocol.oip_grpc.descriptors import file_descriptor
from modelworks.serving.grpc import reflection

pytestmark = pytest.mark.unit


def test_a_file_is_described_once(monkeypatch):
    described = []

    def counted(file):
        described.append(file.name)
        return file_descriptor(file)

    monkeypatch.setattr(reflection, "file_descriptor", counted)
    for _ in range(3):
        for file in reflection.FILES:
            told = reflection.answer({"file_by_filename": file.name})
            (found,) = told["file_descriptor_response"]["file_descriptor_proto"]
            assert found == file_descriptor(file)
    assert len(described) <= len(reflection.FILES)
