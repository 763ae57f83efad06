"""The `scan` pipeline, one module a step: `scan` is the list of steps, `stages` what is known after each.

It needs neither torch nor the model's file.
"""
