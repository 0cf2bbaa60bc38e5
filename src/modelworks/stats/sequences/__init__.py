"""Intervals that stay valid however often one looks: of rates, means, quantiles, ratios, splits."""

from modelworks.stats.sequences.between import Between

__all__ = ["Between"]
