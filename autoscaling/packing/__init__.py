"""Which replicas share a device: exact when small, within a shown gap when big. See `packer`."""
