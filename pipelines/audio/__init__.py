"""Audio as the conversation handles it: formats, codecs, resampling and recent history."""
