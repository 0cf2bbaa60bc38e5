"""Bundled engines."""

import os

# onnxruntime 1.31 keeps a session file in the temporary folder, and an identity in it, for reports
# to its maker. It looks once, as it is imported; who wants the reports sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
