"""From evidence to a verdict: `terms`, `rules`, `checks`, `decide`; and the settings of the gate, `gate_policy`.

No file of images is read here, and no report is written.
"""
