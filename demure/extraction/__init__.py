"""From item texts and images to vectors: encoders, their inputs, shards that survive a kill."""
