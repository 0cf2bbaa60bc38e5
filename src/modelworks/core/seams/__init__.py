"""Where the house is open: one Protocol a seam, found by entry point, with a contract suite each.

Entry-point groups: `modelworks.importers`, `modelworks.engines`, `modelworks.loaders`,
`modelworks.steps`, `modelworks.targets`, `modelworks.records`, `modelworks.sinks`,
`modelworks.notifiers`, `modelworks.explainers`, `modelworks.passes`, `modelworks.viewers`,
`modelworks.events`. The suites are in `modelworks.testing`.
"""

from modelworks.core.seams.events import Event, EventBus, OpenEvents
from modelworks.core.seams.importing import Importer, NeedsEnvironment, Sniffed
from modelworks.core.seams.optimizing import Pass, Seconds, View, Viewer
from modelworks.core.seams.running import (
    Concurrent,
    Conversing,
    Counting,
    Distant,
    Elsewhere,
    Engine,
    EngineOptions,
    Generating,
    Inside,
    Loader,
    OpenStep,
    Reusable,
    Session,
    StepRunner,
    Watchable,
)
from modelworks.core.seams.targets import OpenTarget, Routing, TakesImages, Target
from modelworks.core.seams.watching import (
    Explainer,
    Explanation,
    FeedbackStore,
    Notifier,
    OpenSink,
    RecordSink,
    RecordStore,
)

__all__ = [
    "Concurrent",
    "Conversing",
    "Counting",
    "Distant",
    "Elsewhere",
    "Engine",
    "EngineOptions",
    "Event",
    "EventBus",
    "Explainer",
    "Explanation",
    "FeedbackStore",
    "Generating",
    "Importer",
    "Inside",
    "Loader",
    "NeedsEnvironment",
    "Notifier",
    "OpenEvents",
    "OpenSink",
    "OpenStep",
    "OpenTarget",
    "Pass",
    "RecordSink",
    "RecordStore",
    "Reusable",
    "Routing",
    "Seconds",
    "Session",
    "Sniffed",
    "StepRunner",
    "TakesImages",
    "Target",
    "View",
    "Viewer",
    "Watchable",
]
