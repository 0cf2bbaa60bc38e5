"""The saved document: a section a model, each of one interleaved run, put together part by part.

A run may be cut or fail: every section is written as soon as it is there, whole or not at all, and
the sections of other models stay as they were, with their own dates, machines and commands.
"""

import json
from pathlib import Path

from benchmarks.peers import plot, report
from benchmarks.peers.models import TITLES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "peers.md"
FILE, PLOT, TABLES = "peers.json", "peers.svg", "peers.md"


def load(folder):
    """The document in `folder`; one without sections where there is none."""
    path = folder / FILE
    return json.loads(path.read_text()) if path.exists() else {"models": {}}


def merged(document, key, section):
    """The document with this section in place of its model's older one, in the models' order."""
    sections = {**document["models"], key: section}
    return {"models": {name: sections[name] for name in TITLES if name in sections}}


def dropped(document, key, names):
    """Servers of the saved section that a run of `names` alone would lose."""
    section = document["models"].get(key, {})
    return sorted({*section.get("servers", ()), *section.get("failed", ())} - set(names))


def keep(folder, key, section):
    """Merge a section into what is saved now, and write document, plot and tables."""
    folder.mkdir(parents=True, exist_ok=True)
    document = merged(load(folder), key, section)
    replace(folder / FILE, json.dumps(document, indent=1) + "\n")
    publish(folder, document)


def publish(folder, document):
    """The plot and the tables; those of the repository's own results go into its page."""
    replace(folder / PLOT, plot.svg(document))
    if folder == RESULTS:
        replace(PAGE, report.filled(PAGE.read_text(), document))
    else:
        replace(folder / TABLES, report.markdown(document) + "\n")


def replace(path, text):
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)
