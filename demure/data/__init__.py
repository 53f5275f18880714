"""The dataset folder at rest: users, items, histories, splits; read, described and exported."""
