"""What every other package stands on: errors, safe text, files, canonical JSON, temporary files.

Nothing here knows what a model, an image or a report is.
"""
