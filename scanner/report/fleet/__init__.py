"""What the reports of many models say together: the document, and a writer for each of its formats."""
