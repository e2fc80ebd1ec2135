"""NeMo's cache-aware FastConformer as a recogniser that streams."""
