"""Opens a snapshot's weights with transformers: offline, checked first, no code of the folder's."""

import logging
import os
import warnings
from typing import Any

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import torch
import transformers
from transformers.utils import logging as chatter

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.ext.importers.huggingface.snapshot import Snapshot, Weights
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.torch.container import (
    DAMAGE,
    check_archive,
    check_safetensors,
    look,
    pickled_names,
    whole_module,
)

_POOLER = "pooler."


class Opened:
    """A model of transformers.

    Attributes:
        model: in float32, ready to infer.
        pooler: its pooled output has weights.
        names: what a pickle of its weights named.
        notes: choices made.
    """

    def __init__(
        self, model: Any, names: tuple[str, ...], notes: list[str], *, pooler: bool
    ) -> None:
        self.model = model
        self.names = names
        self.notes = notes
        self.pooler = pooler


def open_weights(snapshot: Snapshot, *, trust: bool) -> Opened:
    """Load the model.

    Raises:
        RefusedError: it needs code of the folder's, or its weights may run some.
        UnsupportedError: an architecture that is not served.
        InvalidError: damaged, or weights are missing.
    """
    names = _checked(snapshot)
    if snapshot.own_code and not trust:
        raise RefusedError(
            f"config.json wants code of the folder's own ({snapshot.own_code[0][:80]}): --trust, "
            "by which you vouch for it, runs it in the sandbox",
            field="trust",
        )
    if snapshot.config.get("is_encoder_decoder"):
        raise UnsupportedError(
            f"{snapshot.architecture or 'this model'} writes texts step by step: not served"
        )
    model, missing = _loaded(snapshot, trust=trust)
    wanted = [key for key in missing if _POOLER not in key]
    if wanted:
        raise InvalidError(
            f"the weights lack {len(wanted)} tensors of {snapshot.architecture}, which would be "
            f"random: {', '.join(wanted[:3])}",
            field="file",
        )
    notes = []
    if snapshot.own_code:
        notes.append("code of the folder's own ran in the sandbox, by the owner's word")
    return Opened(model, names, notes, pooler=not missing)


def _checked(snapshot: Snapshot) -> tuple[str, ...]:
    """Headers and names of the weights, before anything loads them."""
    names: list[str] = []
    for file in snapshot.files:
        if snapshot.weights is Weights.SAFETENSORS:
            check_safetensors(file)
            continue
        try:
            found = look(file)
        except DAMAGE as error:
            raise InvalidError(f"{file.name}: damaged ({reason(error)})", field="file") from error
        if found is None:
            raise InvalidError(f"{file.name}: no file of PyTorch", field="file")
        if found.names:
            check_archive(file)
        inside = pickled_names(file, found)
        if pickled := whole_module(inside):
            raise RefusedError(
                f"{file.name} names {pickled}, which weights have no need of: save the model again "
                "with save_pretrained, as safetensors",
                field="file",
            )
        names += inside
    return tuple(dict.fromkeys(names))


def _loaded(snapshot: Snapshot, *, trust: bool) -> tuple[Any, list[str]]:
    chatter.disable_progress_bar()  # type: ignore[no-untyped-call]
    chatter.set_verbosity(logging.CRITICAL)
    kind = getattr(transformers, snapshot.architecture, None) if snapshot.architecture else None
    if kind is None and not (trust and snapshot.own_code):
        if snapshot.architecture:
            raise UnsupportedError(
                f"transformers {transformers.__version__} has no {snapshot.architecture}"
            )
        kind = transformers.AutoModel
    own = kind is None or bool(snapshot.own_code)
    told: dict[str, Any] = {"trust_remote_code": True} if own else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, info = (kind or transformers.AutoModel).from_pretrained(
                str(snapshot.folder),
                local_files_only=True,
                use_safetensors=snapshot.weights is Weights.SAFETENSORS,
                dtype=torch.float32,
                attn_implementation="eager",
                output_loading_info=True,
                **told,
            )
    except MemoryError:
        raise
    except Exception as error:
        refused = "weights_only" in str(error) or "Unsupported" in str(error)
        raise (RefusedError if refused else InvalidError)(
            f"transformers {transformers.__version__} cannot open the model: {reason(error, 300)}",
            field="file",
        ) from error
    return model.eval(), sorted(str(key) for key in info["missing_keys"])
