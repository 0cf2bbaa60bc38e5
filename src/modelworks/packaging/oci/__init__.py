"""Container images without a container engine: layouts, layers and archives by the OCI's formats.

Written by opencontainers/image-spec 1.1. Everything is reproducible: the same inputs make the same
bytes, whoever makes them and when.
"""

from modelworks.packaging.oci.archive import archive
from modelworks.packaging.oci.descriptor import Descriptor, Platform
from modelworks.packaging.oci.image import Change, Image, extend, read_image, verify
from modelworks.packaging.oci.layer import Entry, Layer, write_layer
from modelworks.packaging.oci.layout import Layout
from modelworks.packaging.oci.reference import Reference, parse
from modelworks.packaging.oci.registry import Registry

__all__ = [
    "Change",
    "Descriptor",
    "Entry",
    "Image",
    "Layer",
    "Layout",
    "Platform",
    "Reference",
    "Registry",
    "archive",
    "extend",
    "parse",
    "read_image",
    "verify",
    "write_layer",
]
