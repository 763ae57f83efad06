"""Pictures for people: thumbnails of suspicious inputs, each beside the clean image that the network finds nearest."""
