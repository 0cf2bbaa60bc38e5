"""The registry and its files as one file, and back: `backup`, `restore`, `head`, `look`."""

from modelworks.control.backup.manifest import Manifest
from modelworks.control.backup.read import head, look, restore
from modelworks.control.backup.write import backup

__all__ = ["Manifest", "backup", "head", "look", "restore"]
