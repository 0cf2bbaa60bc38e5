"""Records on their way to a store: the segment format, and what a policy does to fields."""

from modelworks.protocol.records.segments import (
    OPEN,
    SEALED,
    SegmentWriter,
    read_segment,
    sealed_segments,
)

__all__ = ["OPEN", "SEALED", "SegmentWriter", "read_segment", "sealed_segments"]
