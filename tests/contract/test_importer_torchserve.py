"""TorchServe's importer against the contract of all importers, on archives of its archiver."""

import io
import json
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import environments
from modelworks.core.errors import CrashedError, InvalidError, RefusedError
from modelworks.core.imports import ImportOptions, Runtime
from modelworks.core.native import read_native
from modelworks.core.tensor import Datatype, Role, TensorSpec
from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = [
    pytest.mark.contract,
    pytest.mark.real,
    pytest.mark.timeout(600),
    # of torch itself, about TorchScript and its older exporter
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
pytest.importorskip("torch")

ARCHIVER, OLD = "torch-model-archiver==0.12.0", "torch-model-archiver==0.8.2"
INPUT = (TensorSpec("x", Datatype.FP32, (None, 4)),)
PLAIN = ImportOptions(inputs=INPUT)
TRUST = ImportOptions(inputs=INPUT, trust=True)
NATIVE = ImportOptions(trust=True, runtime=Runtime.NATIVE)


def made(version: str = ARCHIVER) -> Path:
    return environments.made(version, (version,), "torchserve_archives.py", beside=True)


def rewritten(source: Path, target: Path, **members: bytes) -> Path:
    """A copy of an archive with other contents under `a_b` for `a.b`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            key = name.rpartition("/")[2].replace(".", "_")
            new.writestr(name, members.pop(key, old.read(name)))
        for name, data in members.items():
            new.writestr(name.replace("_", ".", 1), data)
    return target


def manifest(**model: object) -> bytes:
    return json.dumps({"runtime": "python", "model": {"handler": "base_handler"} | model}).encode()


class TestTorchserve(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.torchserve import TorchserveImporter

        return TorchserveImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls):
        rows = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
        pixels = np.random.default_rng(0).standard_normal((8, 3, 224, 224)).astype(np.float32)
        return [
            Good(made() / "script.mar", "torchserve-mar", {"x": rows}, PLAIN),
            Good(made() / "packed.tar.gz", "torchserve-tgz", {"x": rows}, PLAIN),
            Good(made() / "plain", "torchserve-folder", {"x": rows}, PLAIN),
            Good(made() / "eager.mar", "torchserve-mar", {"x": rows}, TRUST),
            Good(made() / "image.mar", "torchserve-mar", {"x": pixels}),
            Good(made(OLD) / "script.mar", "torchserve-mar", {"x": rows}, PLAIN),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bad")
        canary = folder / "canary"
        script = made() / "script.mar"
        runs = f"open({str(canary)!r}, 'w')\n".encode()
        with zipfile.ZipFile(folder / "climbs.mar", "w") as file:
            file.writestr("../escaped.py", b"")
            file.writestr("MAR-INF/MANIFEST.json", manifest())
        with zipfile.ZipFile(folder / "link.mar", "w") as file:
            link = zipfile.ZipInfo("model.pt")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(link, "/etc/passwd")
            file.writestr("MAR-INF/MANIFEST.json", manifest())
        with zipfile.ZipFile(folder / "bomb.mar", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("model.pt", bytes(80 << 20))
            file.writestr("MAR-INF/MANIFEST.json", manifest())
        _tar(folder / "climbs.tar.gz", "m/../../escaped.py")
        _tar(folder / "link.tar.gz", "m/model.pt", tarfile.SYMTYPE)
        return [
            Bad(script, "--input x:FP32"),
            Bad(made() / "eager.mar", "Python code in the archive", None, PLAIN),
            Bad(made() / "rows.mar", "--trust --runtime native"),
            Bad(made() / "turn.mar", "--trust --runtime native", None, TRUST),
            Bad(rewritten(made() / "eager.mar", folder / "a.mar", archived_net_py=runs),
                "Python code", canary, PLAIN),
            Bad(rewritten(made() / "rows.mar", folder / "b.mar", rows_handler_py=runs),
                "around the model", canary),
            Bad(folder / "climbs.mar", "climbs out"),
            Bad(folder / "link.mar", "a link or special file"),
            Bad(folder / "bomb.mar", "decompression bomb"),
            Bad(folder / "climbs.tar.gz", "climbs out"),
            Bad(folder / "link.tar.gz", "a link or special file"),
            Bad(rewritten(script, folder / "c.mar", MANIFEST_json=b"[]"), "an object is wanted"),
            Bad(rewritten(script, folder / "d.mar", MANIFEST_json=manifest(handler=3)), "handler"),
            Bad(rewritten(script, folder / "e.mar", MANIFEST_json=manifest(serializedFile="../x")),
                "a file of the archive is wanted"),
            Bad(rewritten(script, folder / "f.mar", MANIFEST_json=manifest(serializedFile="x.pt")),
                "no such file in the archive"),
            Bad(rewritten(script, folder / "g.mar", MANIFEST_json=manifest()), "no model file"),
            Bad(rewritten(script, folder / "h.mar", MANIFEST_json=b'{"runtime": "LSP", "model": '
                          b'{"handler": "x"}}'), "compiled for the runtime LSP"),
            Bad(rewritten(made() / "image.mar", folder / "i.mar", settings_yaml=b"<<: {a: 1}"),
                "no YAML"),
            Bad(rewritten(made() / "image.mar", folder / "j.mar", index_to_name_json=b'{"0": 3}'),
                "has no name"),
        ]  # fmt: skip

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        shutil.copy(made() / "source" / "script.pt", folder / "script.pt")
        with zipfile.ZipFile(folder / "model.keras", "w") as file:
            file.writestr("config.json", "{}")
        with tarfile.open(folder / "sources.tar.gz", "w:gz") as file:
            file.addfile(tarfile.TarInfo("package/setup.py"))
        return sorted(folder.iterdir())

    def test_what_the_archive_says_is_kept_or_named(self, reads):
        by_name = {read.good.path.name: read.imported for read in reads}
        assert by_name["script.mar"].origin["model"] == "script"
        assert by_name["script.mar"].origin["version"] == "1.2"
        image = by_name["image.mar"]
        assert image.signature.output(Role.PROBABILITIES) is not None
        assert image.signature.classes == ("cat", "dog (1)", "dog (2)")
        assert image.steps[0].decode_image.resize.shortest == 256
        notes = " ".join(image.notes)
        assert "batchSize 2, maxBatchDelay 50" in notes
        assert "configuration responseTimeout" in notes

    def test_a_handlers_class_answers_as_in_torchserve(self, importer, tmp_path):
        answer = kept(importer, "rows.mar", tmp_path)
        bodies = np.array([b'{"row": [1, 2, 3, 4]}'] * 5, dtype=object)
        found = [json.loads(each) for each in answer({"body": bodies})["response"]]
        assert [each["together"] for each in found] == [2, 2, 2, 2, 1]  # batchSize
        import torch

        weights = torch.load(made() / "source" / "weights.pth")
        wanted = weights["layer.weight"] @ torch.tensor([1.0, 2, 3, 4]) + weights["layer.bias"]
        np.testing.assert_allclose(found[0]["scores"], wanted, rtol=1e-5)
        with pytest.raises(InvalidError, match="415: JSON is wanted"):
            answer({"body": np.array([b"\xff\xd8"], dtype=object)})
        with pytest.raises(CrashedError, match="KeyError"):
            answer({"body": np.array([b'{"other": 1}'], dtype=object)})

    def test_a_handlers_function_answers_as_in_torchserve(self, importer, tmp_path):
        answer = kept(importer, "turn.mar", tmp_path)
        found = answer({"body": np.array([b"abc", b"xyz"], dtype=object)})
        assert found["response"].tolist() == [b"cba", b"zyx"]

    def test_a_default_handler_answers_images_with_names(self, importer, tmp_path):
        image = pytest.importorskip("PIL.Image")
        answer = kept(importer, "image.mar", tmp_path)
        file = io.BytesIO()
        image.new("RGB", (300, 400), (10, 200, 30)).save(file, "PNG")
        (found,) = answer({"body": np.array([file.getvalue()], dtype=object)})["response"]
        assert set(json.loads(found)) <= {"cat", "dog"}

    def test_a_kept_handler_takes_no_tensors_and_needs_the_owners_word(self, importer, tmp_path):
        with pytest.raises(InvalidError, match="takes the bytes of a request"):
            importer.read(
                made() / "rows.mar",
                tmp_path,
                ImportOptions(inputs=INPUT, trust=True, runtime=Runtime.NATIVE),
            )
        with pytest.raises(RefusedError, match="needs --trust"):
            importer.read(made() / "rows.mar", tmp_path, ImportOptions(runtime=Runtime.NATIVE))
        with pytest.raises(RefusedError, match="base_handler is not run here"):
            importer.read(made() / "script.mar", tmp_path, NATIVE)

    def test_requirements_of_an_archive_are_pinned_or_refused(self, importer, tmp_path):
        document = manifest(handler="h.py", requirementsFile="needs.txt")
        pinned = rewritten(
            made() / "turn.mar",
            tmp_path / "p.mar",
            MANIFEST_json=document,
            needs_txt=b"pillow==12.0.0",
        )
        assert importer.requirements(pinned, NATIVE) == ("pillow==12.0.0", "torch==2.13.0")
        assert importer.requirements(pinned, PLAIN) == ()
        open_ended = rewritten(
            made() / "turn.mar", tmp_path / "o.mar", MANIFEST_json=document, needs_txt=b"pillow"
        )
        with pytest.raises(InvalidError, match="leaves the version open"):
            importer.requirements(open_ended, NATIVE)


def kept(importer, name: str, folder: Path):
    """The handler of an archive, started as the server starts it."""
    from modelworks.plugins.load import load

    imported = importer.read(made() / name, folder, NATIVE)
    assert imported.format == "native"
    model = read_native(folder)
    return load("loaders", model.loader)().load(folder, model)


def _tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
        file.addfile(member)
        document = tarfile.TarInfo("m/MAR-INF/MANIFEST.json")
        document.size = len(manifest())
        file.addfile(document, io.BytesIO(manifest()))
