"""The detection panel: many attacks on several kinds of network, and what this tool and others make of them."""
