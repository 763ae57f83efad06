"""The `fit` pipeline, one module a step: `fit` is the list of steps, `stages` what is known after each.

It knows neither verdicts nor reports.
"""
