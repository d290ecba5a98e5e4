"""The export formats of pairs and step labels, one file each."""
