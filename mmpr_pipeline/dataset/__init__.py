"""The dataset on disk: shards of pairs, images, rollouts and questions, their manifests, and what reads them."""
