"""The handler as a user of TorchServe writes it: one entry a request, JSON objects or bytes."""

from onnx_model import OnnxModel, lists, octets


class Handler:
    """A batch is a list of bodies."""

    def initialize(self, context):
        """Called once in the worker."""
        folder = context.system_properties["model_dir"]
        name = context.manifest["model"]["serializedFile"]
        self.model = OnnxModel(f"{folder}/{name}")

    def handle(self, data, context):
        """One answer a body, in its own form."""
        del context
        bodies = [each.get("body", each.get("data")) for each in data]
        rows = [
            self.model.row(body["inputs"])
            if isinstance(body, dict)
            else self.model.row_of_bytes(bytes(body))
            for body in bodies
        ]
        found = self.model.run_rows(rows)
        return [
            lists(answer) if isinstance(body, dict) else octets(answer)
            for body, answer in zip(bodies, found, strict=True)
        ]
