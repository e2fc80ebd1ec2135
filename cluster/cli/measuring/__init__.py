"""`voxray bench`, `eval`, `retrieve` and `asr`: measure how good and how fast the product is."""
