"""Certificates for tests, made by openssl."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Pair:
    """Certificate and key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates in a folder of its own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.which("openssl") is None:
            say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            say("needs openssl: apt-get install openssl")
        self.folder = folder
        self.certificate = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        request = ["req", "-x509", *_CURVE, "-days", "3650", "-subj", f"/CN={name}"]
        self._openssl(*request, "-keyout", self.key, "-out", self.certificate)

    def pair(self, name: str, days: int = 365) -> Pair:
        """A certificate for this machine, and for a client."""
        asked, key = self.folder / f"{name}.csr", self.folder / f"{name}.key"
        made, names = self.folder / f"{name}.pem", self.folder / "names"
        names.write_text(_NAMES)
        self._openssl("req", *_CURVE, "-subj", f"/CN={name}", "-keyout", key, "-out", asked)
        by = ("-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial")
        how = ("-days", str(days), "-extfile", names)
        self._openssl("x509", "-req", "-in", asked, *by, *how, "-out", made)
        return Pair(made, key)

    def _openssl(self, *arguments: object) -> None:
        command = ["openssl", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
