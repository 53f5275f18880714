"""Audio and video files: opened without harm, and decoded in the parts that are used."""
