"""File formats: prose (Markdown, HTML, text), office files (PDF, DOCX), and tables (CSV, TSV, JSON Lines, Parquet)."""
