"""Reports of audits: their schema, and a writer for every format that they have."""
