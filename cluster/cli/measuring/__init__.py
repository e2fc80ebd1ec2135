"""`voxray bench`, `eval`, `retrieve` and `asr`: how good and how fast the product is."""
