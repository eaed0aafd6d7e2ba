"""Other people's files as a stream of records: kind of file, encoding, format, and the row that a record becomes."""
