"""Foreign files as a stream of records: file type, encoding, format, and the row that each record becomes."""
