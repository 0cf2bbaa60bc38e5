"""A small convolutional network in use: the camera or what it sees changes, and the watch says so.

The pictures themselves are not recorded, only a description of each, and what the network answers.
"""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from desk import Desk, until
from watch_station import MINUTE, Station, next_minute, station, worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402 - after the check that it is there

ROWS = 600
DIGITS, NUMBERS = load_digits(return_X_y=True)
IMAGES = (DIGITS.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
TRAINED, HELD = IMAGES[:900], IMAGES[900:]
RULES = [
    {
        "name": "CameraMoved",
        "threshold": {
            "series": "drift",
            "where": {"feature": "pixels.*", "method": "js"},
            "above": 0.3,
        },
    },
    {
        "name": "SubjectMoved",
        "threshold": {
            "series": "drift",
            "where": {"feature": "out.embedding.*", "method": "js"},
            "above": 0.3,
        },
    },
]


class Network(nn.Module):
    """Digits: a score each, and what the last layer but one says of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(96, 32), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(32, 10)

    def forward(self, pixels: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        embedding = self.body(pixels)
        return {"scores": self.head(embedding), "embedding": embedding}


def trained() -> Network:
    """In two seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Network()
    images, numbers = torch.from_numpy(TRAINED), torch.from_numpy(NUMBERS[:900])
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        with torch.enable_grad():  # another test's library may have left it off in this thread
            nn.functional.cross_entropy(model(images)["scores"], numbers).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("digits"))
    batch = torch.export.Dim("batch", min=1, max=1024)
    exported = torch.export.export(
        trained(), (torch.from_numpy(TRAINED[:2]),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(exported, desk.folder / "digits.pt2")
    desk.mw("import", "digits.pt2", "--name", "digits")
    return desk


def pictures(seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Of those that the network was not trained on."""
    return HELD[np.random.default_rng(seed).choice(len(HELD), ROWS)]


def rows(images: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> list[dict[str, object]]:
    return [{"pixels": image.tolist()} for image in images]


def looked(found: Station, seed: int, change: object) -> tuple[float, dict[str, float]]:
    """A minute of pictures: its end, and the evidence afterwards."""
    end = next_minute()
    found.ask(rows(change(pictures(seed))))
    found.stored()
    return end, found.evidence(end - MINUTE)


def test_images_drift_when_the_camera_or_the_subject_does(desk: Desk) -> None:
    fields = [{"field": "pixels", "act": "describe"}]
    with station(desk, "digits", {"sample": 1.0, "fields": fields}, RULES) as found:
        found.ask(rows(pictures(1)))
        found.stored()
        [line] = desk.mw(
            *("records", "query", "SELECT * FROM records LIMIT 1", "--model", "digits", "--json")
        ).json
        assert 0 < line["in.pixels.brightness"] < 1
        assert len(line["out.embedding"]) == 32
        assert "in.pixels" not in line
        desk.mw("reference", "build", "--records", "digits:1.0.0", "-o", "ref.npz")
        desk.mw("reference", "set", "digits:1.0.0", "ref.npz")
        with worker(found):
            first, calm = looked(found, 2, lambda images: images)
            assert {"pixels.sharpness", "out.embedding.cluster", "out.scores[3]"} <= set(calm)
            assert max(calm.values()) < 0, calm
            second, turned = looked(found, 3, lambda images: np.rot90(images, 1, (2, 3)))
            assert turned["out.embedding.cluster"] > 0, turned
            assert turned["pixels.brightness"] < 0, turned
            third, dark = looked(found, 4, lambda images: images * np.float32(0.6))
            assert dark["pixels.brightness"] > 0, dark
            the_minutes_tell_them_apart(found, first, second, third)


def the_minutes_tell_them_apart(found: Station, first: float, second: float, third: float) -> None:
    """No alert at first; then of the subject; then of the light."""
    seen, said = "pixels.brightness", "out.embedding.cluster"
    assert found.window(first, seen) < 0.2
    assert found.window(first, said) < 0.2
    assert not found.alerts()
    assert found.window(second, said) > 0.3
    assert found.window(second, seen) < 0.2  # a picture that is turned is as bright as before
    found.clock.passed += 50
    until("the subject is told of", lambda: said in found.alerts(), 60)
    told = found.alerts()
    assert seen not in told or third in found.windows(seen)  # where we waited long
    assert found.window(third, seen) > 0.3
    until("the light is told of", lambda: seen in found.alerts(), 60)
    assert not [one.error for one in found.factory.watching.duties() if one.error]
