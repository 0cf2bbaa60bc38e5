"""Tiny wheels for tests."""

import base64
import hashlib
import zipfile


def line(name, data):
    """A line of a wheel's record."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def write_wheel(path, files, info, record=None):
    """A wheel with these files; `info`: its folder *.dist-info; `record`: its own, "" = none."""
    name = f"{info}/RECORD"
    if record is None:
        record = "".join(line(*item) for item in files.items()) + f"{name},,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in files.items():
            entry = zipfile.ZipInfo(member)
            entry.external_attr = (0o755 if member.endswith(".so") else 0o644) << 16
            archive.writestr(entry, data)
        if record:
            archive.writestr(name, record)
    return path


def simple(folder, name, version="1.0", files=None):
    """A wheel of one package."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n".encode()
    every = {**(files or {f"{name}/__init__.py": b""}), f"{info}/METADATA": metadata}
    return write_wheel(folder / f"{name}-{version}-py3-none-any.whl", every, info)
