"""Tables of rows in files: csv, tsv, jsonl and parquet, read whole or row by row."""
