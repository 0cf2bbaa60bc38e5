"""Runs ensembles of trees by a kernel of our own, compiled for the processor as one is loaded."""

from pathlib import Path
from typing import ClassVar

from modelworks.core.seams import EngineOptions
from modelworks.ext.engines.agreement import agree, refuse_unknown, trim
from modelworks.ext.engines.trees.session import TreesSession
from modelworks.ext.formats import trees, trees_file


class TreesEngine:
    """The engine `trees`. It has no settings of its own; many rows are shared among the threads."""

    name: ClassVar[str] = "trees"
    formats: ClassVar[tuple[str, ...]] = (trees.FORMAT,)
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> TreesSession:
        """Load `path`, or `trees.npz` in it; see `core.seams.Engine.load`."""
        refuse_unknown("trees", options, ())
        forest = trees_file.read(path / trees_file.FILE if path.is_dir() else path)
        own = forest.about.signature
        if options.signature is not None:
            agree(options.signature, own)
        session = TreesSession(forest, options.signature or own, options.threads)
        del forest
        trim()
        return session
