"""What a scan says: the schema of the JSON report, findings and their triage, and a writer for every format.

Nothing is decided here.
"""
