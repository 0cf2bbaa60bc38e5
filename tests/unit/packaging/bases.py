"""Small base images for tests: a Python that nobody starts, and a package database."""

import sys
import tarfile
from io import BytesIO

from modelworks.packaging.oci import Change, Entry, Layout, extend

MINOR = sys.version_info.minor
STATUS = b"""\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.134

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""
DEBIAN = (
    Entry("/usr/lib/os-release", data=b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n'),
    Entry("/etc/os-release", link="../usr/lib/os-release"),
    Entry("/var/lib/dpkg/status", data=STATUS),
)


def python(minor=MINOR, folder="/usr/bin"):
    """A Python as distributions have it."""
    return (
        Entry(f"{folder}/python3", link=f"python3.{minor}"),
        Entry(f"{folder}/python3.{minor}", data=b"\x7fELF", mode=0o755),
    )


def base(folder, *layers, name="base"):
    """An OCI layout with one image of these layers, each a tuple of entries."""
    layout = Layout.create(folder)
    made = [layout.add_layer(entries) for entries in layers or ((*python(), *DEBIAN),)]
    image = extend(layout, None, made, Change(environment={"PATH": "/usr/bin"}))
    layout.name(image.descriptor, name, image.platform)
    return layout, image


def write_tar(path, members):
    """A tar of name -> bytes, or a string: where a link points."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, BytesIO(content))
    return path
