"""The `audit` pipeline, one module a step: what can be said of a model when nobody holds a triggered input.

It opens models and finds preprocessing as `fit` does, and needs no profile.
"""
