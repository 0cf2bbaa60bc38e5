"""Hostile tree files: XGBoost and LightGBM, whose parsers are written in C++."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from corpus.kinds import Hostile, of_bytes
from modelworks.core.errors import InvalidError, UnsupportedError

TREES = "Tree files"


def _booster() -> dict:
    import xgboost

    rows = np.random.default_rng(0).normal(size=(60, 3))
    booster = xgboost.train(
        {"max_depth": 2}, xgboost.DMatrix(rows, label=rows[:, 0]), num_boost_round=2
    )
    return json.loads(booster.save_raw("json"))


def _xgboost(change: Callable[[dict], None]) -> Callable[[Path], bytes]:
    def make(canary: Path) -> bytes:
        model = _booster()
        change(model)
        return json.dumps(model).encode()

    return make


def _first(**values: object) -> Callable[[dict], None]:
    """Change lists or parameters of the first tree."""

    def change(model: dict) -> None:
        tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
        for key, value in values.items():
            if key in tree["tree_param"]:
                tree["tree_param"][key] = value
            else:
                tree[key] = [value, *tree[key][1:]]

    return change


def _deep_json(canary: Path) -> bytes:
    return b'{"learner":{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}}"


def _giant_ubj(canary: Path) -> bytes:
    """A typed array of 2**60 numbers in UBJSON."""
    return (
        b"{L"
        + struct.pack(">q", 7)
        + b"learner{L"
        + struct.pack(">q", 1)
        + (b"a[$d#L" + struct.pack(">q", 1 << 60) + b"}}")
    )


def _lightgbm(*changes: tuple[str, str]) -> Callable[[Path], bytes]:
    def make(canary: Path) -> bytes:
        import lightgbm

        rows = np.random.default_rng(0).normal(size=(80, 3))
        model = lightgbm.LGBMRegressor(n_estimators=2, num_leaves=5, verbose=-1)
        text = model.fit(rows, rows[:, 0]).booster_.model_to_string()
        for pattern, replacement in changes:
            text, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
            assert count, pattern
        return re.sub("^tree_sizes=.*\n", "", text, flags=re.MULTILINE).encode()

    return make


def _forest(
    title: str, tries: str, data: Callable[[Path], bytes], suffix: str, says: str = ""
) -> Hostile:
    needs = "lightgbm" if suffix == ".txt" else "xgboost"
    return Hostile(title, TREES, tries, of_bytes(f"{title}{suffix}", data), says,
                   error=(InvalidError, UnsupportedError), needs=needs)  # fmt: skip


def forests() -> tuple[Hostile, ...]:
    """Trees whose numbers lead nowhere, for parsers written in C++."""
    big = 2**31 - 2
    return (
        _forest("xgb-child", "a child that is not there",
                _xgboost(_first(left_children=999_999)), ".json"),
        _forest("xgb-cycle", "a tree that leads into itself",
                _xgboost(_first(left_children=0)), ".json"),
        _forest("xgb-negative-child", "a child before the first",
                _xgboost(_first(left_children=-5)), ".json"),
        _forest("xgb-feature", "a feature that is not there",
                _xgboost(_first(split_indices=big)), ".json"),
        _forest("xgb-nodes", "2**31 nodes announced",
                _xgboost(_first(num_nodes=str(big))), ".json"),
        _forest("xgb-deep", "JSON 200,000 deep", _deep_json, ".json"),
        _forest("xgb-ubj-giant", "2**60 numbers announced in UBJSON", _giant_ubj, ".ubj"),
        _forest("xgb-cut", "JSON cut in the middle",
                lambda c: json.dumps(_booster()).encode()[:1500], ".json"),
        _forest("lgb-child", "a child that is not there",
                _lightgbm((r"^left_child=\S+", "left_child=999999")), ".txt"),
        _forest("lgb-cycle", "a tree that leads into itself",
                _lightgbm((r"^left_child=\S+", "left_child=0"),
                          (r"^right_child=\S+", "right_child=0")), ".txt"),
        _forest("lgb-feature", "a feature that is not there",
                _lightgbm((r"^split_feature=\d+", f"split_feature={big}")), ".txt"),
        _forest("lgb-leaves", "2**31 leaves announced",
                _lightgbm((r"^num_leaves=\d+", f"num_leaves={big}")), ".txt"),
        _forest("lgb-negative-leaves", "fewer leaves than none",
                _lightgbm((r"^num_leaves=\d+", "num_leaves=-1")), ".txt"),
        _forest("lgb-features", "2**31 features announced",
                _lightgbm((r"^max_feature_idx=\d+", f"max_feature_idx={big}")), ".txt"),
        _forest("lgb-text-number", "a threshold that is no number",
                _lightgbm((r"^threshold=\S+", "threshold=__import__('os')")), ".txt"),
        _forest("lgb-cut", "cut in the middle",
                lambda c: _lightgbm()(c)[:700], ".txt"),
    )  # fmt: skip
