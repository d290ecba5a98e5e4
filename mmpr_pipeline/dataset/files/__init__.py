"""An output's files: their layout, the writer, the readers, the manifests and the summary."""
