"""What every other package stands on: errors, safe text, files, canonical JSON; it knows none of them."""
