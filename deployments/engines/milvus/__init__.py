"""Business data in Milvus: collections, their versions, and the searches in them."""
