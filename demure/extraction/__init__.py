"""From the items' texts, images and attributes to vectors: encoders, their inputs, and shards that survive a kill."""
