"""A place for deployments on this machine, for tests of the target `local`."""

import json
from pathlib import Path

from certificates import Authority
from modelworks.core.deployment import Revision
from modelworks.core.local_folder import MARK, Layout
from modelworks.core.processes import marked
from modelworks.ext.targets.local import LocalTarget
from modelworks.testing.target_life import TargetCase
from store_servers import free_port


def place(folder: Path, certificates: Path) -> TargetCase:
    """One of its own, on ports that are free."""
    pair = Authority(certificates).pair("server")

    def leftovers(name):
        layout = Layout(folder / name)
        paths = [layout.folder, layout.applying, layout.sockets]
        whose = f"{layout.folder}:"
        running = [f"{pid}: {said}" for pid, said in marked(MARK).items() if said.startswith(whose)]
        return [str(path) for path in paths if path.exists()] + running

    def disturb(name):
        wanted = Layout(folder / name).wanted
        said = json.loads(wanted.read_text())
        said["shares"][0]["replicas"] += 1
        wanted.write_text(json.dumps(said))

    return TargetCase(
        kind=LocalTarget,
        settings={},
        folder=folder,
        port=free_port(),
        second_port=free_port(),
        revise=lambda name, number, model, spec: Revision(name, number, spec, model),
        leftovers=leftovers,
        disturb=disturb,
        certificate=(pair.certificate, pair.key),
    )
