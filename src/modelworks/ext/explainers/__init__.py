"""Why a model answered as it did: explainers of any model, and of forms that are known."""
